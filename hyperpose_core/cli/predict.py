"""`hyperpose predict`: photographs in, poses out."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from hyperpose_core.cli.common import add_device_argument, add_engine_arguments
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import read_image
from hyperpose_core.inference.estimator import (
    PoseEstimate,
    PoseEstimator,
)

_COLUMNS = ("image", "x", "y", "z", "qw", "qx", "qy", "qz", "scene", "scene_probability")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "predict",
        description="Estimate the camera pose of each image: position in metres in the checkpoint's world, "
        "orientation as the quaternion that rotates the camera's optical frame (x right, y down, z forward) "
        "to it.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint, or an exported .onnx file")
    parser.add_argument("images", type=Path, nargs="+", help="image files")
    parser.add_argument("--csv", type=Path, help="write the poses to this file as well")
    add_device_argument(parser)
    add_engine_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Predict as the arguments say.

    Raises:
        HyperPoseError: the checkpoint, an image or the device is wrong.
    """
    estimator = PoseEstimator.load(
        arguments.checkpoint, arguments.device, engine=arguments.engine, precision=arguments.precision
    )
    rows = []
    for path in arguments.images:
        estimate = estimator.estimate([read_image(path)])[0]
        print(_line(path, estimate))
        rows.append(_row(path, estimate))
    if arguments.csv is not None:
        _write(arguments.csv, rows)
    return 0 if all(row["x"] != "" for row in rows) else 1


def _line(path: Path, estimate: PoseEstimate) -> str:
    if estimate.pose is None:
        return f"{path}: the network's output is not finite"
    position = ", ".join(f"{value:.3f}" for value in estimate.pose.position)
    orientation = ", ".join(f"{value:.4f}" for value in estimate.pose.orientation)
    deviation = estimate.covariance.diagonal() ** 0.5
    scene = "" if estimate.scene is None else f"  scene {estimate.scene} ({estimate.scene_probability:.2f})"
    return (
        f"{path}: position [{position}] m +- {max(deviation[:3]):.2f}, "
        f"orientation wxyz [{orientation}] +- {max(deviation[3:]):.3f} rad{scene}"
    )


def _row(path: Path, estimate: PoseEstimate) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(_COLUMNS, "")
    row["image"] = path
    if estimate.pose is not None:
        row.update(zip(_COLUMNS[1:4], estimate.pose.position.tolist(), strict=True))
        row.update(zip(_COLUMNS[4:8], estimate.pose.orientation.tolist(), strict=True))
    if estimate.scene is not None:
        row.update(scene=estimate.scene, scene_probability=estimate.scene_probability)
    return row


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, fieldnames=_COLUMNS)
            table.writeheader()
            table.writerows(rows)
    except OSError as error:
        raise HyperPoseError(f"{path}: cannot write: {error.strerror}") from error
    print(f"{len(rows)} poses written to {path}", file=sys.stderr)
