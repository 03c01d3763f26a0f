"""`hyperpose reproduce`: the experiments behind the paper's tables, from datasets on disk."""

from __future__ import annotations

import argparse

from hyperpose_core.cli.experiment_data import recipe_overrides_from
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.experiments.paper_tables import PAPER_TABLES
from hyperpose_core.experiments.reproduction import plan_table, reproduce_table
from hyperpose_core.experiments.reproduction_report import (
    format_reproduction,
    format_skipped,
    write_reproduction,
)

NOTHING_MADE = 1


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
