"""Arguments of verbs that train on one dataset and score on others."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.datasets import DATASET_FORMATS
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.experiments.datasets import join_datasets


def add_test_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --test-data, --test-format, --test-split and --test-data-option."""
    group = parser.add_argument_group("test data")
    group.add_argument(
        "--test-data",
        type=Path,
        action="append",
        help="label CSV or dataset folder to score on; may be repeated, each then has a row of its own "
        "(default: the test split of --data)",
    )
    group.add_argument(
        "--test-format", default="auto", choices=["auto", *DATASET_FORMATS], help="as --format, for it"
    )
    group.add_argument("--test-split", default="test", help="part of it to use (default: %(default)s)")
    group.add_argument(
        "--test-data-option",
        action="append",
        metavar="NAME=VALUE",
        help="as --data-option, for it (default: the --data-option given); may be repeated",
    )


def open_test_data_from(arguments: argparse.Namespace) -> PosedImageSet:
    """Open what the arguments of `add_test_data_arguments` name, as one dataset.

    Raises:
        HyperPoseError: the data or an option is wrong.
    """
    options = arguments.test_data_option
    paths = arguments.test_data or [arguments.data]
    parts = [
        open_dataset_from(
            argparse.Namespace(
                data=path,
                format=arguments.test_format if arguments.test_data else arguments.format,
                split=arguments.test_split,
                data_option=arguments.data_option if options is None else options,
            )
        )
        for path in paths
    ]
    if len(parts) == 1:
        return parts[0]
    if len({part.name for part in parts}) < len(parts):
        parts = [dataclasses.replace(part, name=str(path)) for part, path in zip(parts, paths, strict=True)]
    return join_datasets(parts, ", ".join(part.name for part in parts), by_part=True)


def add_recipe_override_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --epochs, --batch-size, --backbone and --no-pretrained, for trials of a recipe."""
    group = parser.add_argument_group("keys of the recipe to replace")
    group.add_argument("--epochs", type=int, help="passes over the training images in a stage")
    group.add_argument("--batch-size", type=int, help="images a step")
    group.add_argument("--backbone", help="efficientnet_b0, efficientnet_lite0 or resnet34")
    group.add_argument(
        "--no-pretrained",
        action="store_true",
        help="start the backbone from random weights, not from ImageNet's",
    )


def recipe_overrides_from(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Return what the arguments of `add_recipe_override_arguments` replace."""
    values: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("epochs", "batch_size")
        if getattr(arguments, name) is not None
    }
    if arguments.backbone is not None:
        values["model_options"] = {"backbone": arguments.backbone}
    if arguments.no_pretrained:
        values["pretrained"] = False
    return values
