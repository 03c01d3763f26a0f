"""Arguments of `hyperpose predict`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.common import (
    add_device_argument,
    add_engine_arguments,
    add_map_arguments,
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "predict",
        description="Estimate the camera pose of each image: position in metres in the checkpoint's world, "
        "orientation as the quaternion that rotates the camera's optical frame (x right, y down, z forward) "
        "to it. With a landmark map, verified poses are the map's, accurate to centimetres, and the "
        "others the network's.",
        epilog="Images that cannot be read are named and have an empty row in the table. Exit code: 0 if "
        "every image has a pose, 1 if some have none, 2 if none has.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint, or an exported .onnx file")
    parser.add_argument("images", type=Path, nargs="+", help="image files")
    parser.add_argument("--csv", type=Path, help="write the poses to this file as well")
    add_map_arguments(parser)
    add_device_argument(parser)
    add_engine_arguments(parser)
