"""`hyperpose compress`: a checkpoint with smaller weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.cli.common import add_dataset_arguments, add_device_argument, open_dataset_from
from hyperpose_core.compression.accuracy import with_accuracy
from hyperpose_core.compression.compress import compress, compress_to_budget
from hyperpose_core.compression.plans import DEFAULT_ENERGY, METHODS, all_plans, parse_size, plans_of
from hyperpose_core.compression.report import accuracy_lines, compression_table
from hyperpose_core.errors import HyperPoseError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "compress",
        help="make a checkpoint smaller",
        description="Hold weights in fewer bytes: int8 with one scale an output row for the hypernetworks' "
        "generators (and for further layers where the budget asks for it) with bfloat16 for the rest, "
        "bfloat16 for all, or generators split into two factors. The file is an ordinary checkpoint; what "
        "was done, and what it changed, stands in it. A compressed network is not trained on.",
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
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compress as the arguments say.

    Raises:
        HyperPoseError: the checkpoint, the data or an argument is wrong, or the budget cannot be met.
    """
    source, target = arguments.checkpoint, arguments.output
    full = load_checkpoint(source)
    if target.exists() and target.samefile(source):
        raise HyperPoseError(f"{target}: would replace the checkpoint that it is made from")
    data = None if arguments.data is None else open_dataset_from(arguments)
    try:
        compressed = _compress(full, arguments.method, arguments.budget, arguments.energy)
    except HyperPoseError as error:
        raise HyperPoseError(f"{source}: {error}") from error
    if data is not None:
        compressed = with_accuracy(full, compressed, data, arguments.split, arguments.device)
    save_checkpoint(target, compressed)
    _print_report(source, target, compressed)
    return 0


def _compress(full: Checkpoint, method: str | None, budget: str | None, energy: float) -> Checkpoint:
    plans = all_plans() if method is None else plans_of(method, energy)
    if budget is not None:
        return compress_to_budget(full, plans, parse_size(budget))
    if method is None:
        raise HyperPoseError("say how small or how: give --budget, --method or both")
    return compress(full, plans[0])


def _print_report(source: Path, target: Path, compressed: Checkpoint) -> None:
    compression = compressed.compression or {}
    print(compression_table(compression))
    for name, text in accuracy_lines(compression):
        print(f"{name}: {text}")
    before, after = source.stat().st_size, target.stat().st_size
    print(f"{target}: {after:,} bytes, {after / before:.1%} of {source.name} ({compression['method']})")
