"""`hyperpose info`: what a checkpoint holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint
from hyperpose_core.compression.report import accuracy_lines, compression_table
from hyperpose_core.errors import named
from hyperpose_core.inference.estimator import is_exported
from hyperpose_core.large_imports import import_large
from hyperpose_core.untrusted import reading


def run(arguments: argparse.Namespace) -> int:
    """Print what the checkpoint or the exported file holds.

    Raises:
        HyperPoseError: the file is no checkpoint, or its tensors do not fit its architecture.
    """
    path: Path = arguments.checkpoint
    content: Iterable[str]
    if is_exported(path):
        from hyperpose_core.export.onnx_engine import read_exported

        file = read_exported(path)
        checkpoint, content = file.checkpoint, _section("exported", _flatten(file.export))
    else:
        import_large("hyperpose_core.cli.network_sizes")
        from hyperpose_core.cli.network_sizes import size_table

        checkpoint = load_checkpoint(path)
        with named(path):
            content = size_table(checkpoint)
    with reading(path, "checkpoint's description"):
        lines = [f"{path} ({path.stat().st_size:,} bytes)", *describe(checkpoint, content)]
    print(*lines, sep="\n")
    return 0


def describe(checkpoint: Checkpoint, content: Iterable[str]) -> Iterator[str]:
    """Give the lines that `hyperpose info` prints.

    Args:
        checkpoint: what the file says of itself.
        content: lines about the tensors or the graph that it holds.
    """
    yield f"architecture  {checkpoint.architecture}"
    yield from _section("options", _flatten(checkpoint.options))
    yield ""
    yield from content
    yield ""
    if checkpoint.compression is not None:
        yield from _compression(checkpoint.compression)
        yield ""
    yield from _section("scenes", enumerate(checkpoint.scenes))
    yield from _section("frames", _frames(checkpoint))
    yield from _section("preprocessing", _preprocessing(checkpoint))
    yield from _section("training", _flatten(checkpoint.training))
    yield from _section("validation", _flatten(checkpoint.validation))
    yield from _section("uncertainty", _uncertainty(checkpoint))
    yield from _section("trained region", _region(checkpoint))


def _compression(compression: Mapping[str, Any]) -> Iterator[str]:
    energy = compression["energy"]
    kept = "" if energy is None else f", which keeps {energy:.4g} of the squared singular values"
    yield f"compressed by {compression['method']}{kept}"
    yield compression_table(compression)
    yield from (f"{name}: {text}" for name, text in accuracy_lines(compression))


def _frames(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    world = checkpoint.world
    yield "world", world.description or "not described"
    origin = ", ".join(f"{value:.3f}" for value in world.origin)
    yield "origin", f"[{origin}] m" + (f" in UTM zone {world.utm_zone}" if world.utm_zone else "")
    if world.up is not None:
        yield "up", f"[{', '.join(f'{value:.3f}' for value in world.up)}]"
    unit = "metres" if world.is_metric else "UNITS THAT ARE NOT METRES"
    yield "poses", f"the camera's optical frame (x right, y down, z forward) in the world, position in {unit}"
    convention = checkpoint.orientation_convention
    yield (
        "network's quaternion",
        convention + ("" if convention == "camera_to_world" else ", inverted by the estimator"),
    )
    yield from _normalisation(checkpoint)
    camera = checkpoint.camera
    if camera is not None:
        yield (
            "camera",
            f"{camera.width}x{camera.height}, focal length {camera.fx:.1f}, {camera.fy:.1f} pixels",
        )


def _normalisation(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    means = checkpoint.normalisation.mean
    for index, row in enumerate(means):
        scene = f" in {checkpoint.scenes[index]}" if len(means) > 1 else ""
        mean = ", ".join(f"{value:.3f}" for value in row)
        yield f"network's position{scene}", f"(position - [{mean}]) / {checkpoint.normalisation.scale:.3f}"


def _preprocessing(checkpoint: Checkpoint) -> Iterator[tuple[str, object]]:
    preprocessing = checkpoint.preprocessing
    if isinstance(preprocessing.resize, int):
        yield "resize", f"shorter side to {preprocessing.resize} pixels"
    else:
        yield "resize", f"to {preprocessing.resize[1]}x{preprocessing.resize[0]} pixels"
    yield "crop", "none" if preprocessing.crop is None else f"centred square of {preprocessing.crop} pixels"
    yield "mean", ", ".join(f"{value:.4f}" for value in preprocessing.mean)
    yield "standard deviation", ", ".join(f"{value:.4f}" for value in preprocessing.std)


def _uncertainty(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    yield "source", checkpoint.uncertainty.source
    if not checkpoint.uncertainty.is_measured:
        yield "deviations", "not measured: no frames, or too few, were held out of training"
        return
    deviation = np.sqrt(checkpoint.uncertainty.covariance.diagonal())
    degrees = np.degrees(max(deviation[3:]))
    yield "position", f"standard deviation {max(deviation[:3]):.3g} m along the worst axis"
    yield "orientation", f"standard deviation {degrees:.3g} degrees about the worst axis"
    per_image = checkpoint.uncertainty.per_image
    if per_image is None:
        yield "each image", "the same for all"
    else:
        yield "each image", f"its own, by its distance from {len(per_image.memory.scenes)} training images"


def _region(checkpoint: Checkpoint) -> Iterator[tuple[str, object]]:
    region = checkpoint.region
    if region is None:
        yield "positions", None
        return
    for index, positions in enumerate(region.positions):
        extent = ", ".join(
            f"{low:.2f} to {high:.2f}" for low, high in zip(positions.min(0), positions.max(0), strict=True)
        )
        yield (
            f"positions in {checkpoint.scenes[index]}" if len(region.positions) > 1 else "positions",
            f"{len(positions)} kept, {region.spacing[index]:.3g} m apart; x, y, z from {extent} m",
        )


def _flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _section(title: str, rows: Iterable[tuple[object, object]]) -> Iterator[str]:
    lines = [f"  {name}: {'not known' if value is None else value}" for name, value in rows]
    yield title
    yield from lines or ["  none told"]
