"""Arguments of `hyperpose evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.common import (
    add_dataset_arguments,
    add_device_argument,
    add_engine_arguments,
    add_map_arguments,
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "evaluate",
        description="Estimate the pose of every image and compare it with the true one, without any "
        "alignment. Prints median, mean, 95th percentile and maximum of the position and orientation errors, "
        "recalls and the time an image takes; writes results.json, TUM trajectories for evo, plots and "
        "report.html. With a landmark map, what the map makes of the network's poses, too, and how many it "
        "confirms.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint, or an exported .onnx file")
    add_dataset_arguments(parser, split="test")
    parser.add_argument(
        "--output", type=Path, help="folder of the report (default: evaluation/<name of the data>)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        help="images that go through the network together (default: %(default)s, which times a robot's case)",
    )
    parser.add_argument(
        "--turns",
        type=float,
        default=0.0,
        metavar="DEGREES",
        help="average the predictions for the image and six virtually rotated views: more accurate if the "
        "network was trained with rotation augmentation, and seven times as slow (default: the image alone)",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="set the result beside the paper's tables (7Scenes, Cambridge, RobotCar)",
    )
    add_map_arguments(parser)
    add_device_argument(parser)
    add_engine_arguments(parser)
