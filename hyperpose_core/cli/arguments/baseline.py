"""Arguments of `hyperpose baseline`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import BACKBONE_NAMES, BEST_POSSIBLE_FOLDER
from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument
from hyperpose_core.cli.arguments.experiments import add_test_data_arguments


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "baseline",
        description="Give each test frame the pose of the training frame that looks most alike, by pooled "
        "features of an ImageNet backbone, and score it as `hyperpose evaluate` scores a network; then the "
        "same for the training frame whose pose is nearest, which no retrieval can beat "
        f"({BEST_POSSIBLE_FOLDER}/).",
    )
    add_dataset_arguments(parser, split="train")
    add_test_data_arguments(parser)
    parser.add_argument(
        "--backbone",
        default="efficientnet_lite0",
        choices=BACKBONE_NAMES,
        help="whose features to compare (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, help="folder of the reports (default: baseline/<name of the data>)"
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="set the result beside the paper's tables (7Scenes, Cambridge, RobotCar)",
    )
    add_device_argument(parser)
