"""`hyperpose stages`: what each stage of a training brings."""

from __future__ import annotations

import argparse

from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.experiments.stage_report import format_stage_table, write_stage_table
from hyperpose_core.experiments.stage_table import score_stages


def run(arguments: argparse.Namespace) -> int:
    """Score the stages of the run that the arguments name.

    Raises:
        HyperPoseError: the run, the data or the device is wrong.
    """
    table = score_stages(arguments.folder, open_dataset_from(arguments), arguments.device)
    path = write_stage_table(arguments.output or arguments.folder / "stages", table)
    print(f"\n{format_stage_table(table)}\n\nresults: {path}")
    return 0
