"""`hyperpose export`: a checkpoint in, an ONNX file that needs no other file out."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.export.export import Export, draw_inputs, export_checkpoint
from hyperpose_core.files import read_bytes, replace_bytes
from hyperpose_core.inference.engines.engine import EXPORTED_SUFFIX
from hyperpose_core.inference.estimator import known_input_size
from hyperpose_core.models.base import SMALLEST_SIDE
from hyperpose_core.refinement.checkpoint_map import load_map, map_beside


def run(arguments: argparse.Namespace) -> int:
    """Export as the arguments say.

    Raises:
        HyperPoseError: the checkpoint or an argument is wrong, or the file differs from the network.
    """
    output: Path = arguments.output
    if output.suffix.lower() != EXPORTED_SUFFIX:
        raise HyperPoseError(f"--output {output}: the file's name must end in {EXPORTED_SUFFIX}")
    if output.exists() and not arguments.force:
        raise HyperPoseError(f"{output} exists; give --force to replace it")
    if arguments.images < 1:
        raise HyperPoseError(f"--images is {arguments.images}; it must be at least 1")
    checkpoint = load_checkpoint(arguments.checkpoint)
    content = _map_to_copy(arguments, checkpoint)
    size = _input_size(arguments.size, checkpoint)
    if arguments.data is None:
        inputs, source = draw_inputs(checkpoint, size, arguments.images), "drawn images"
    else:
        inputs = _dataset_inputs(arguments, checkpoint, size)
        source = f"images of {arguments.data.name}"
    export = export_checkpoint(checkpoint, output, inputs, source, arguments.largest_difference)
    _tell(export, size, f"{len(inputs)} {source}")
    if content is not None:
        replace_bytes(map_beside(output), content, "map")
        print(f"{map_beside(output)}: {len(content):,} bytes, the landmark map")
    return 0


def _map_to_copy(arguments: argparse.Namespace, checkpoint: Checkpoint) -> bytes | None:
    """Read the map that is to go beside the exported file; None where none is asked for.

    Raises:
        HyperPoseError: it is missing, damaged or not the checkpoint's, or another one is there already.
    """
    if arguments.map is None:
        return None
    source = map_beside(arguments.checkpoint) if arguments.map == Path() else arguments.map
    target = map_beside(arguments.output)
    if target.exists() and not arguments.force and not target.samefile(source):
        raise HyperPoseError(f"{target} exists; give --force to replace it")
    load_map(source, checkpoint, lambda note: print(f"note: {note}"))
    return read_bytes(source, "map")


def _input_size(asked: str | None, checkpoint: Checkpoint) -> tuple[int, int]:
    """Give (height, width) of the network's input."""
    if asked is None:
        known = known_input_size(checkpoint)
        if known is None:
            raise HyperPoseError(
                "the checkpoint does not tell the size of the network's input: give it with "
                "--size HEIGHTxWIDTH"
            )
        return known
    height, separator, width = asked.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise HyperPoseError(f"--size {asked!r}: expected HEIGHTxWIDTH in pixels, such as 256x341")
    size = int(height), int(width)
    if min(size) < SMALLEST_SIDE:
        raise HyperPoseError(f"--size {asked!r}: both sides must have at least {SMALLEST_SIDE} pixels")
    if checkpoint.preprocessing.input_size(*size) != size:
        made = "x".join(str(side) for side in checkpoint.preprocessing.input_size(*size))
        raise HyperPoseError(f"--size {asked!r}: the checkpoint's preprocessing makes {made} of such images")
    return size


def _dataset_inputs(arguments: argparse.Namespace, checkpoint: Checkpoint, size: tuple[int, int]) -> Tensor:
    """Preprocess images of the dataset, spread evenly over it."""
    images = open_dataset_from(arguments).images
    chosen = np.linspace(0, len(images) - 1, min(arguments.images, len(images))).round().astype(int)
    inputs = [checkpoint.preprocessing(images[index].read()) for index in chosen]
    for index, tensor in zip(chosen, inputs, strict=True):
        if tuple(tensor.shape[1:]) != size:
            raise HyperPoseError(
                f"{images[index].path}: becomes {tensor.shape[1]}x{tensor.shape[2]} pixels, not the "
                f"{size[0]}x{size[1]} that the network is exported for"
            )
    return torch.stack(inputs)


def _tell(export: Export, size: tuple[int, int], source: str) -> None:
    print(
        f"{export.path}: {export.path.stat().st_size:,} bytes, takes {size[1]}x{size[0]} pixels; differences "
        f"from the network on {source}:"
    )
    for precision, differences in export.differences.items():
        for name, difference in differences.items():
            unit = " m" if name == "position" else ""
            print(
                f"  {precision:<9} {name.replace('_', ' '):<24} {difference.absolute}{unit} "
                f"({difference.relative} of the largest)"
            )
