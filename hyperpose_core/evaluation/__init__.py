"""Scores estimates against ground truth, the same way offline and for a live or replayed run.

Make a `Comparison`, then `score` it, or let `write_report` score it and write everything about it.
"""

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.metrics import FrameErrors, Scores, frame_errors, score
from hyperpose_core.evaluation.published import (
    PublishedComparison,
    compare_with_published,
    published_results,
    require_published,
)
from hyperpose_core.evaluation.report import Picture, PictureRow, write_report
from hyperpose_core.evaluation.tables import format_table, print_table

__all__ = [
    "Comparison",
    "FrameErrors",
    "Picture",
    "PictureRow",
    "PublishedComparison",
    "Scores",
    "compare_with_published",
    "format_table",
    "frame_errors",
    "print_table",
    "published_results",
    "require_published",
    "score",
    "write_report",
]
