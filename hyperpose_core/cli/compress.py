"""`hyperpose compress`: a checkpoint with smaller weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.compression.accuracy import with_accuracy
from hyperpose_core.compression.compress import compress, compress_to_budget
from hyperpose_core.compression.plans import all_plans, parse_size, plans_of
from hyperpose_core.compression.report import accuracy_lines, compression_table
from hyperpose_core.errors import HyperPoseError


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
