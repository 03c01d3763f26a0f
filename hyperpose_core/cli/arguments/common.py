"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import DATASET_FORMAT_NAMES


def add_dataset_arguments(parser: argparse.ArgumentParser, split: str | None, required: bool = True) -> None:
    """Add --data, --format, --split and --data-option.

    Args:
        parser: the verb's parser.
        split: what --split is where it isn't given; None means all of the data.
        required: whether --data must be given.
    """
    group = parser.add_argument_group("data")
    group.add_argument("--data", type=Path, required=required, help="label CSV or dataset folder")
    group.add_argument(
        "--split", default=split, help=f"part of the dataset to use (default: {split or 'all of it'})"
    )
    add_layout_arguments(group)


def add_layout_arguments(group: argparse._ActionsContainer) -> None:
    """Add --format and --data-option to a parser or a group of its arguments."""
    group.add_argument(
        "--format",
        default="auto",
        choices=["auto", *DATASET_FORMAT_NAMES],
        help="dataset format (default: detected)",
    )
    group.add_argument(
        "--data-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the dataset's adapter, such as camera=640,480,525.5,525.5,320,240 for a label CSV "
        "or sdk=FOLDER for RobotCar; repeatable",
    )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --engine and --precision."""
    parser.add_argument(
        "--engine",
        default="auto",
        help="inference engine: eager or exported (default: auto, exported for a .onnx file; for a "
        "checkpoint eager, or what a localizer found to be faster on this machine)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        help="arithmetic of the network: float32, bfloat16 or float16 (default: auto, float32, or what an "
        "exported file has)",
    )


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda or cuda:N (default: auto, the first CUDA device if there is one)",
    )


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --map and --no-map."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--map",
        type=Path,
        metavar="FILE",
        help="landmark map that refines and verifies the network's poses (default: the checkpoint's, of the "
        "same name with the ending .map, if there is one)",
    )
    group.add_argument("--no-map", action="store_true", help="ignore a map beside the checkpoint")
