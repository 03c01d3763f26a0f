"""`hyperpose stages`: what each stage of a training brings."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.common import add_dataset_arguments, add_device_argument, open_dataset_from
from hyperpose_core.experiments.stage_report import format_stage_table, write_stage_table
from hyperpose_core.experiments.stage_table import score_stages


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "stages",
        description="Score what each stage of a training left (stage-1.safetensors, stage-2.safetensors and "
        "so on in the run's folder) on the same images: a row a stage, for each scene and for all images, "
        "with confidence intervals and the difference to the stage before, paired by frame. Says, too, which "
        "parts of the network each stage changed. Writes results.md, results.json and stages.png.",
    )
    parser.add_argument(
        "folder", metavar="RUN", type=Path, help="folder of a training whose recipe has several stages"
    )
    add_dataset_arguments(parser, split="test")
    parser.add_argument("--output", type=Path, help="folder of the results (default: stages in the run's)")
    add_device_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Score the stages of the run that the arguments name.

    Raises:
        HyperPoseError: the run, the data or the device is wrong.
    """
    table = score_stages(arguments.folder, open_dataset_from(arguments), arguments.device)
    path = write_stage_table(arguments.output or arguments.folder / "stages", table)
    print(f"\n{format_stage_table(table)}\n\nresults: {path}")
    return 0
