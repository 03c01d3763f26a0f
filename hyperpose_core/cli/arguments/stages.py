"""Arguments of `hyperpose stages`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "stages",
        description="Score the checkpoint of each stage of a training (stage-1.safetensors, "
        "stage-2.safetensors and so on in the run's folder) on the same images: a row a "
        "stage, for each scene and for all images, with confidence intervals and the "
        "difference to the stage before, paired by frame. Also reports which parts of the "
        "network each stage changed. Writes results.md, results.json and stages.png.",
    )
    parser.add_argument(
        "folder", metavar="RUN", type=Path, help="folder of a training whose recipe has several stages"
    )
    add_dataset_arguments(parser, split="test")
    parser.add_argument("--output", type=Path, help="folder of the results (default: stages in the run's)")
    add_device_argument(parser)
