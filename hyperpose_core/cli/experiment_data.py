"""What arguments of verbs that train on one dataset and score on others name, opened."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.experiments.datasets import join_datasets


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
