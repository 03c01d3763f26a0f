"""Figures of an evaluation, always without alignment: the paper's medians and what robotics adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.condition_drop import ConditionDrop, condition_drops, pair_frames
from hyperpose_core.evaluation.consistency import (
    ConsistencyScores,
    lacks_measured_covariances,
    score_consistency,
)
from hyperpose_core.evaluation.viewpoint import headings_deg
from hyperpose_core.geometry.poses import orientation_errors_deg, position_errors

RECALL_THRESHOLDS: tuple[tuple[float, float], ...] = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
"""(m, deg) pairs of the long-term visual localization benchmark."""

HEADING_BIN_DEG = 30.0


@dataclass(frozen=True, eq=False)
class FrameErrors:
    """Errors of each frame, infinite without an estimate.

    Attributes:
        position_m: [N] distance between the estimated and the true camera centre, m.
        orientation_deg: [N] geodesic angle between the estimated and the true orientation, deg.
    """

    position_m: NDArray[np.float64]
    orientation_deg: NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Statistics of an error over all frames, unanswered ones included as infinite errors."""

    median: float
    mean: float
    p95: float
    maximum: float


@dataclass(frozen=True)
class Recall:
    """Share of all frames whose position error and orientation error are both within their thresholds."""

    position_m: float
    orientation_deg: float
    fraction: float


@dataclass(frozen=True)
class Timing:
    """Time an image took, ms, over the frames for which it was measured."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Summary:
    """Figures of a group of frames: all of them, a scene or a condition.

    Attributes:
        label: name of the group.
        frames: number of frames, the unanswered ones included.
        failed: number of unanswered frames.
        position_m: statistics of the position error, m.
        orientation_deg: statistics of the orientation error, deg.
        recalls: one for each pair of RECALL_THRESHOLDS.
        timing: None where nothing was measured.
    """

    label: str
    frames: int
    failed: int
    position_m: Statistics
    orientation_deg: Statistics
    recalls: tuple[Recall, ...]
    timing: Timing | None


@dataclass(frozen=True)
class HeadingBin:
    """Median errors (m, deg) of the frames whose true heading is in [from_deg, to_deg)."""

    from_deg: float
    to_deg: float
    frames: int
    position_median_m: float
    orientation_median_deg: float


@dataclass(frozen=True)
class Scores:
    """All figures of a comparison.

    Attributes:
        overall: all frames.
        scenes: a summary a scene, by name; a single one where there is a single scene.
        conditions: a summary a condition, in order of appearance.
        drops: each condition against the original images, where frames are there in both.
        headings: errors by heading of the camera about the vertical; empty sectors are left out.
        consistency: how well the covariances describe the errors, None without measured covariances.
        covariance_not_measured: whether there are covariances, and all stand for one that nobody measured.
    """

    overall: Summary
    scenes: tuple[Summary, ...]
    conditions: tuple[Summary, ...]
    drops: tuple[ConditionDrop, ...]
    headings: tuple[HeadingBin, ...]
    consistency: ConsistencyScores | None
    covariance_not_measured: bool


def score(comparison: Comparison) -> Scores:
    """Score estimates against the truth, frame by frame, in the world frame, without any alignment."""
    errors = frame_errors(comparison)
    return Scores(
        overall=_summary("all", comparison, errors, np.arange(len(comparison))),
        scenes=_summaries(comparison, errors, comparison.scenes, sorted(set(comparison.scenes))),
        conditions=_summaries(
            comparison, errors, comparison.conditions, list(dict.fromkeys(comparison.conditions))
        ),
        drops=_drops(comparison, errors),
        headings=_by_heading(comparison, errors),
        consistency=score_consistency(comparison),
        covariance_not_measured=lacks_measured_covariances(comparison),
    )


def frame_errors(comparison: Comparison) -> FrameErrors:
    """Errors of each frame; infinite, not NaN, without an estimate, so that no median hides it."""
    estimated = comparison.estimated
    position = np.full(len(comparison), np.inf)
    orientation = np.full(len(comparison), np.inf)
    position[estimated] = position_errors(
        comparison.estimated_positions[estimated], comparison.true_positions[estimated]
    )
    orientation[estimated] = orientation_errors_deg(
        comparison.estimated_orientations[estimated], comparison.true_orientations[estimated]
    )
    return FrameErrors(position, orientation)


def quantile(values: NDArray[np.float64], fraction: float) -> float:
    """Quantile of [N] values with linear interpolation, infinite ones allowed (NumPy's gives NaN there)."""
    ordered = np.sort(values)
    place = fraction * (len(ordered) - 1)
    below, above = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
    if np.isinf(above):
        return float(below) if place == np.floor(place) else float(above)
    return float(below + (above - below) * (place - np.floor(place)))


def recalls(errors: FrameErrors, thresholds: Sequence[tuple[float, float]]) -> tuple[Recall, ...]:
    """Share of frames within each (m, deg) pair; an error equal to its threshold is within."""
    return tuple(
        Recall(
            metres,
            degrees,
            float(np.mean((errors.position_m <= metres) & (errors.orientation_deg <= degrees))),
        )
        for metres, degrees in thresholds
    )


def _drops(comparison: Comparison, errors: FrameErrors) -> tuple[ConditionDrop, ...]:
    pairs = pair_frames(
        comparison.conditions,
        comparison.scenes,
        comparison.true_positions,
        comparison.true_orientations,
    )
    return condition_drops(pairs, errors.position_m, errors.orientation_deg)


def _summaries(
    comparison: Comparison, errors: FrameErrors, labels: tuple[str, ...], order: Sequence[str]
) -> tuple[Summary, ...]:
    column = np.asarray(labels)
    return tuple(_summary(label, comparison, errors, np.flatnonzero(column == label)) for label in order)


def _summary(label: str, comparison: Comparison, errors: FrameErrors, rows: NDArray[np.intp]) -> Summary:
    chosen = FrameErrors(errors.position_m[rows], errors.orientation_deg[rows])
    return Summary(
        label=label,
        frames=len(rows),
        failed=int(np.isinf(chosen.position_m).sum()),
        position_m=_statistics(chosen.position_m),
        orientation_deg=_statistics(chosen.orientation_deg),
        recalls=recalls(chosen, RECALL_THRESHOLDS),
        timing=_timing(comparison, rows),
    )


def _statistics(values: NDArray[np.float64]) -> Statistics:
    return Statistics(
        median=quantile(values, 0.5),
        mean=float(values.mean()),
        p95=quantile(values, 0.95),
        maximum=float(values.max()),
    )


def _timing(comparison: Comparison, rows: NDArray[np.intp]) -> Timing | None:
    if comparison.milliseconds is None:
        return None
    measured = comparison.milliseconds[rows]
    measured = measured[np.isfinite(measured)]
    return Timing(quantile(measured, 0.5), quantile(measured, 0.95)) if len(measured) else None


def _by_heading(comparison: Comparison, errors: FrameErrors) -> tuple[HeadingBin, ...]:
    heading = np.empty(len(comparison))
    scenes = np.asarray(comparison.scenes)
    for scene in set(comparison.scenes):
        rows = np.flatnonzero(scenes == scene)
        heading[rows] = headings_deg(comparison, rows)
    sector = np.floor(heading / HEADING_BIN_DEG).astype(int)
    bins = []
    for index in sorted(set(sector.tolist())):
        inside = sector == index
        bins.append(
            HeadingBin(
                from_deg=index * HEADING_BIN_DEG,
                to_deg=(index + 1) * HEADING_BIN_DEG,
                frames=int(inside.sum()),
                position_median_m=quantile(errors.position_m[inside], 0.5),
                orientation_median_deg=quantile(errors.orientation_deg[inside], 0.5),
            )
        )
    return tuple(bins)
