"""Arguments of `hyperpose ablate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import ABLATION_PAIRS
from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument
from hyperpose_core.cli.arguments.experiments import add_recipe_override_arguments, add_test_data_arguments


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "ablate",
        description="Train a network with and without its hypernetwork from the same seeds, score all on the "
        "test data, and say by how much the median errors differ, with confidence intervals. Interrupted, "
        "the same command resumes; finished runs are kept. Writes results.md, "
        "results.json and ablation.png.",
    )
    add_dataset_arguments(parser, split="train")
    add_test_data_arguments(parser)
    parser.add_argument(
        "--recipe", default="small_data", help="a shipped recipe's name or a YAML file (default: %(default)s)"
    )
    parser.add_argument(
        "--pair",
        choices=list(ABLATION_PAIRS),
        help="the network with hypernetwork (default: told from the recipe's model); without it, it is "
        + ", ".join(f"{without} for {name}" for name, without in ABLATION_PAIRS.items()),
    )
    add_recipe_override_arguments(parser)
    parser.add_argument("--seeds", type=int, default=3, help="pairs of runs (default: %(default)s)")
    parser.add_argument(
        "--confidence", type=float, default=0.95, help="of the intervals (default: %(default)s)"
    )
    parser.add_argument(
        "--block",
        type=int,
        help="consecutive test frames that are drawn together (default: told from how errors hang together)",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs and the results")
    add_device_argument(parser)
