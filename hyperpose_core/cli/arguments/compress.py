"""Arguments of `hyperpose compress`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument
from hyperpose_core.compression.plans import DEFAULT_ENERGY, METHODS


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "compress",
        help="make a checkpoint smaller",
        description="Hold weights in fewer bytes: int8 with one scale an output row for the hypernetworks' "
        "generators (and for further layers where the budget asks for it) with bfloat16 for the rest, "
        "bfloat16 for all, or generators split into two factors. The file is an ordinary checkpoint that "
        "documents what was done and its effect. A compressed network cannot be trained.",
    )
    parser.add_argument("checkpoint", type=Path, help="a .safetensors checkpoint")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="how (default: the gentlest that fits --budget); low_rank+... holds the factors so",
    )
    parser.add_argument(
        "--budget",
        metavar="SIZE",
        help="the file's largest size: 150MB (10^6 bytes each), 143MiB, 0.5GB, 150000000; the method then "
        "takes in as many layers as it must",
    )
    parser.add_argument(
        "--energy",
        type=float,
        default=DEFAULT_ENERGY,
        help="share of the squared singular values that low_rank keeps (default: %(default)s)",
    )
    add_dataset_arguments(parser, split="test", required=False)
    add_device_argument(parser)
