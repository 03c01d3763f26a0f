"""`hyperpose dataset`: what a dataset holds, and what is wrong with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from tqdm import tqdm

from hyperpose_core.dataset_check.check import check_dataset
from hyperpose_core.dataset_check.report import format_report, write_report
from hyperpose_core.datasets.options import parse_assignments

PROBLEMS_FOUND = 1


def run_check(arguments: argparse.Namespace) -> int:
    """Check as the arguments say.

    Returns:
        0, or 1 where problems were found.

    Raises:
        HyperPoseError: the dataset cannot be opened, or the report cannot be written.
    """
    report = check_dataset(
        arguments.data,
        arguments.format,
        parse_assignments(arguments.data_option),
        test_path=arguments.test_data,
        read_images=not arguments.no_images,
        progress=_progress,
    )
    print(format_report(report))
    if arguments.output is not None:
        files = write_report(report, arguments.output)
        print("\nwritten: " + ", ".join(map(str, files)))
    return PROBLEMS_FOUND if report.problems else 0


def _progress(work: Iterable[object], total: int) -> Iterable[object]:
    return tqdm(work, total=total, desc="reading images", unit="image", file=sys.stderr, leave=False)
