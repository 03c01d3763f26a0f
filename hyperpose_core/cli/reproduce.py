"""`hyperpose reproduce`: the experiments behind the paper's tables, from datasets on disk."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.common import add_device_argument
from hyperpose_core.cli.experiment_arguments import add_recipe_override_arguments, recipe_overrides_from
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.experiments.paper_tables import PAPER_TABLES
from hyperpose_core.experiments.reproduction import plan_table, reproduce_table
from hyperpose_core.experiments.reproduction_report import (
    format_reproduction,
    format_skipped,
    write_reproduction,
)

NOTHING_MADE = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "reproduce",
        description="Train and score every network that a table of the paper needs, and set the figures "
        "beside the published ones. What is missing is left out, and said. Interrupted, the same command "
        "goes on where it was; finished runs are not made again. Writes results.md, results.json and a plot.",
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
    parser.add_argument("--plan", action="store_true", help="say what would be made and what is missing")
    add_recipe_override_arguments(parser)
    add_device_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the table that the arguments name.

    Raises:
        HyperPoseError: the folder, the device or another argument is wrong.
    """
    if arguments.seeds < 1:
        raise HyperPoseError(f"--seeds is {arguments.seeds}; it must be at least 1")
    table = PAPER_TABLES[arguments.table]
    changes = recipe_overrides_from(arguments)
    if arguments.plan:
        return _print_plan(arguments)
    reproduction = reproduce_table(
        table,
        arguments.data,
        arguments.output,
        seeds=range(arguments.seeds),
        changes=changes,
        device=arguments.device,
        with_maps=arguments.maps,
    )
    path = write_reproduction(arguments.output / table.name, reproduction)
    print(f"\n{table.title}\n\n{format_reproduction(reproduction)}\n\nresults: {path}")
    return 0 if reproduction.cells else NOTHING_MADE


def _print_plan(arguments: argparse.Namespace) -> int:
    jobs, skipped = plan_table(
        PAPER_TABLES[arguments.table], arguments.data, recipe_overrides_from(arguments)
    )
    for job in jobs:
        print(
            f"{job.method.name}, {job.unit.name}: recipe {job.method.recipe}, "
            f"{sum(job.recipe.stage_epochs())} epochs on {len(job.training.images)} images, scored on "
            f"{len(job.test.images)}, seeds: {arguments.seeds}"
        )
    if skipped:
        print(format_skipped(skipped))
    return 0 if jobs else NOTHING_MADE
