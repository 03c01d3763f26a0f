"""Trajectories as TUM files, which evo and most other tools read: `timestamp x y z qx qy qz qw` a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.files import replace_text

ESTIMATE_FILE = "estimate.tum"
TRUTH_FILE = "ground_truth.tum"
REFINED_FILE = "refined.tum"

_NANOSECONDS = 1_000_000_000


def write_tum_files(directory: Path, comparison: Comparison) -> None:
    """Write `estimate.tum` and `ground_truth.tum`, ordered by stamp.

    Unanswered frames are left out of the estimate, as lost frames are in this format; the truth has all.
    Poses are camera-to-world; stamps are `tum_stamps_ns` in seconds.

    Args:
        directory: an existing folder.
        comparison: N frames.
    """
    stamps = tum_stamps_ns(comparison)
    order = np.argsort(stamps, kind="stable")
    write_estimates(directory / ESTIMATE_FILE, comparison)
    _write(
        directory / TRUTH_FILE,
        stamps[order],
        comparison.true_positions[order],
        comparison.true_orientations[order],
    )


def write_estimates(path: Path, comparison: Comparison) -> None:
    """Write the estimates of a comparison, ordered by stamp, without the frames without an estimate."""
    stamps = tum_stamps_ns(comparison)
    order = np.argsort(stamps, kind="stable")
    estimated = order[comparison.estimated[order]]
    _write(
        path,
        stamps[estimated],
        comparison.estimated_positions[estimated],
        comparison.estimated_orientations[estimated],
    )


def has_usable_stamps(comparison: Comparison) -> bool:
    """Whether every frame has a stamp of its own that is not negative."""
    stamps = comparison.stamps_ns
    return stamps is not None and len(np.unique(stamps)) == len(stamps) and bool((stamps >= 0).all())


def tum_stamps_ns(comparison: Comparison) -> NDArray[np.int64]:
    """Stamps [N] ns for TUM files: the frames' own, or frame numbers as seconds where those are not unique.

    Tools match the two files by stamp, so repeated stamps would pair an estimate with another frame's truth.
    """
    if comparison.stamps_ns is not None and has_usable_stamps(comparison):
        return comparison.stamps_ns
    return np.arange(len(comparison), dtype=np.int64) * _NANOSECONDS


def _write(
    path: Path,
    stamps_ns: NDArray[np.int64],
    positions: NDArray[np.float64],
    orientations: NDArray[np.float64],
) -> None:
    unit = orientations / np.linalg.norm(orientations, axis=1, keepdims=True)
    rows = np.hstack([positions, unit[:, [1, 2, 3, 0]]])
    lines = ["# timestamp x y z qx qy qz qw"]
    for stamp, row in zip(stamps_ns.tolist(), rows.tolist(), strict=True):
        seconds, nanoseconds = divmod(stamp, _NANOSECONDS)
        lines.append(f"{seconds}.{nanoseconds:09d} " + " ".join(f"{value:.12g}" for value in row))
    replace_text(path, "\n".join(lines) + "\n", "poses")
