"""Arguments of `hyperpose reproduce`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.common import add_device_argument
from hyperpose_core.cli.arguments.experiments import add_recipe_override_arguments
from hyperpose_core.experiments.paper_tables import PAPER_TABLES


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "reproduce",
        description="Train and score every network of one of the paper's tables, and compare the figures "
        "with the published ones. What is missing is skipped and reported. An interrupted run resumes "
        "with the same command; finished runs are kept. Writes results.md, results.json and a plot.",
        epilog="; ".join(f"{table.name}: {table.title}" for table in PAPER_TABLES.values())
        + ". Exit code: 0, or 1 if nothing of the table could be made.",
    )
    parser.add_argument("table", choices=list(PAPER_TABLES), help="which experiment")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="ROOT",
        help="folder that holds the datasets, directly or one or two levels below",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("reproduction"),
        help="folder of the runs, which tables share, and of each table's results (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=1, help="networks a figure (default: %(default)s)")
    parser.add_argument(
        "--maps",
        action="store_true",
        help="also build the landmark map of the training images where the camera is known, and score the "
        "poses that it verifies",
    )
    parser.add_argument("--plan", action="store_true", help="list what would be run and what is missing")
    add_recipe_override_arguments(parser)
    add_device_argument(parser)
