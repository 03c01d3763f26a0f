"""Arguments of verbs that train on one dataset and score on others."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import DATASET_FORMAT_NAMES


def add_test_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --test-data, --test-format, --test-split and --test-data-option."""
    group = parser.add_argument_group("test data")
    group.add_argument(
        "--test-data",
        type=Path,
        action="append",
        help="label CSV or dataset folder to score on; repeatable, each then has a row of its own "
        "(default: the test split of --data)",
    )
    group.add_argument(
        "--test-format", default="auto", choices=["auto", *DATASET_FORMAT_NAMES], help="as --format, for it"
    )
    group.add_argument("--test-split", default="test", help="part of it to use (default: %(default)s)")
    group.add_argument(
        "--test-data-option",
        action="append",
        metavar="NAME=VALUE",
        help="as --data-option, for it (default: the --data-option given); repeatable",
    )


def add_recipe_override_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --epochs, --batch-size, --backbone and --no-pretrained, for trials of a recipe."""
    group = parser.add_argument_group("overrides of the recipe")
    group.add_argument("--epochs", type=int, help="passes over the training images in a stage")
    group.add_argument("--batch-size", type=int, help="images a step")
    group.add_argument("--backbone", help="efficientnet_b0, efficientnet_lite0 or resnet34")
    group.add_argument(
        "--no-pretrained",
        action="store_true",
        help="start the backbone from random instead of ImageNet weights",
    )
