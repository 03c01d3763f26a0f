"""All plots of an evaluation as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.consistency import score_consistency
from hyperpose_core.evaluation.error_plots import (
    cumulative_figure,
    drop_figure,
    group_figure,
    heading_figure,
    reliability_figure,
    timeline_figure,
)
from hyperpose_core.evaluation.metrics import Scores, frame_errors
from hyperpose_core.evaluation.plot_style import group_labels, save_figure
from hyperpose_core.evaluation.refined_plots import sources_cumulative_figure, sources_timeline_figure
from hyperpose_core.evaluation.trajectory_plot import trajectory_figure
from hyperpose_core.geometry.poses import Array

_DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Plot:
    """A picture on disk and the sentence that explains it."""

    path: Path
    title: str
    caption: str


def write_plots(
    directory: Path,
    comparison: Comparison,
    scores: Scores,
    refined: Comparison | None = None,
    training_positions: Mapping[str, Array] | None = None,
) -> tuple[Plot, ...]:
    """Draw every plot that the data has something for, as PNG files in an existing folder.

    Args:
        directory: the folder.
        comparison: the estimates.
        scores: their figures.
        training_positions: where the network was trained, of each scene, [M, 3] metres; None draws none.
        refined: what a landmark map made of the same frames, unanswered where it verified nothing; None
            where no map was asked.
    """
    errors = frame_errors(comparison)
    plots = [] if refined is None else _refined_plots(directory, comparison, refined)
    plots += [
        _save(
            trajectory_figure(comparison, errors, training_positions),
            directory / "trajectory.png",
            "Trajectory from above",
            "Each estimate is tied to its true position by a line and coloured by its position error.",
        ),
        _save(
            cumulative_figure(comparison, errors),
            directory / "cumulative_error.png",
            "Cumulative error",
            "Share of frames with at most this error. Dotted lines are the thresholds of the recalls.",
        ),
        _save(
            timeline_figure(comparison, errors),
            directory / "error_over_time.png",
            "Error over time",
            "Every frame's error, in the order of recording.",
        ),
    ]
    if len(scores.headings) > 1:
        plots.append(
            _save(
                heading_figure(comparison, scores),
                directory / "error_by_heading.png",
                "Error by heading",
                "Does the network know every direction equally well? Sectors without a frame are empty.",
            )
        )
    labels = group_labels(comparison.scenes, comparison.conditions)
    if len(set(labels)) > 1:
        kind = "condition" if labels is comparison.conditions else "scene"
        plots.append(
            _save(
                group_figure(comparison, errors),
                directory / f"error_by_{kind}.png",
                f"Error by {kind}",
                "Box: middle half of the frames with an estimate; line: median; whiskers: 5th and 95th "
                "percentile.",
            )
        )
    if scores.drops:
        plots.append(
            _save(
                drop_figure(scores.drops),
                directory / "drop_by_condition.png",
                "What each condition costs",
                "Median errors of a condition and of the same frames as they were taken, with confidence "
                "intervals from draws of blocks of frames.",
            )
        )
    verified = _verified(refined)
    measured = [item for item in (comparison, verified) if item is not None and score_consistency(item)]
    if measured:
        plots.append(
            _save(
                reliability_figure(comparison if scores.consistency else None, verified),
                directory / "reliability.png",
                "Reliability of the covariances",
                "Share of frames whose true pose is inside the region of their estimate, against the share "
                "that the region promises. Below the diagonal covariances promise too much.",
            )
        )
    return tuple(plots)


def _refined_plots(directory: Path, comparison: Comparison, refined: Comparison) -> list[Plot]:
    return [
        _save(
            sources_cumulative_figure(comparison, refined),
            directory / "network_and_map.png",
            "Network and map",
            "Share of all frames with at most this error. The map's curve ends at the share it verified.",
        ),
        _save(
            sources_timeline_figure(comparison, refined),
            directory / "network_and_map_over_time.png",
            "Network and map over time",
            "Every frame's error, in the order of recording; marks at the top: frames not verified.",
        ),
    ]


def _verified(refined: Comparison | None) -> Comparison | None:
    if refined is None or not refined.estimated.any():
        return None
    return refined.rows(refined.estimated)


def _save(figure: Figure, path: Path, title: str, caption: str) -> Plot:
    save_figure(figure, path, _DOTS_PER_INCH)
    return Plot(path, title, caption)
