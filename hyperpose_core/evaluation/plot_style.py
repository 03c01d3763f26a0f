"""What plots share: their look, and figures with intervals; without matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperpose_core.evaluation.statistics import Interval
from hyperpose_core.files import replacing

INK = "#1f2933"
MUTED = "#7b8794"
TRUTH = "#9aa5b1"
TRAINING = "#d3dae1"
FAILURE = "#d00000"
POSITION = "#1d6fa5"
ORIENTATION = "#c8553d"
REFINED = "#3a8c5f"
GROUPS = (
    "#1d6fa5",
    "#c8553d",
    "#3a8c5f",
    "#8e5ea2",
    "#d4a017",
    "#3aa6a6",
    "#b5517f",
    "#6b705c",
    "#5562c9",
    "#8d6346",
)

ERROR_COLOURS = LinearSegmentedColormap.from_list(
    "error", ("#0b7a75", "#7fb069", "#f2b134", "#e4572e", "#7a0f2b")
)
"""From small to large error; no end of it vanishes on white."""

ERROR_NAMES = ("position error (m)", "orientation error (deg)")


def new_figure(width: float, height: float) -> Figure:
    """A white figure of width x height inches that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def style_axes(axes: Axes, title: str = "") -> None:
    """Give axes the common look: light grid, no box, left title."""
    axes.grid(True, color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    if title:
        axes.set_title(title, loc="left", fontsize=11, color=INK)


def finite_limit(values: NDArray[np.float64], fraction: float) -> float:
    """A positive upper limit for an axis or a colour scale: a quantile of the finite values."""
    finite = values[np.isfinite(values)]
    limit = float(np.quantile(finite, fraction)) if len(finite) else 0.0
    return limit if limit > 0.0 else 1.0


def error_bars(intervals: Sequence[Interval]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return estimates [N] and the lengths of their bars, down and up [2, N], for matplotlib."""
    centres = np.array([interval.estimate for interval in intervals])
    ends = np.array([[interval.low, interval.high] for interval in intervals]).T
    lengths = np.abs(ends - centres)
    return centres, np.where(np.isfinite(lengths), lengths, 0.0)


def group_labels(scenes: tuple[str, ...], conditions: tuple[str, ...]) -> tuple[str, ...]:
    """The labels [N] that curves are split by: conditions where there are several, else scenes."""
    return conditions if len(set(conditions)) > 1 else scenes


def interval_figure(
    labels: Sequence[str],
    position: Sequence[Interval],
    orientation: Sequence[Interval],
    titles: tuple[str, str],
    reference: tuple[float, float] | None = None,
) -> Figure:
    """Draw a row a label.

    Args:
        labels: what the rows are called, from the top.
        position: a figure a row, metres.
        orientation: a figure a row, degrees.
        titles: what the two panels show.
        reference: where to draw an upright line in each panel, such as at no difference.
    """
    figure = new_figure(11.0, 1.2 + 0.32 * len(labels))
    panels = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(labels))
    for column, (intervals, colour) in enumerate(((position, POSITION), (orientation, ORIENTATION))):
        axes = panels[column]
        centres, lengths = error_bars(intervals)
        axes.errorbar(centres, places, xerr=lengths, fmt="o", color=colour, capsize=3, markersize=5)
        if reference is not None:
            axes.axvline(reference[column], color=MUTED, linewidth=1.2)
        axes.set_xlabel(titles[column])
        style_axes(axes)
    panels[0].set_yticks(places, labels)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    return figure


def save_figure(figure: Figure, path: Path, dots_per_inch: int) -> None:
    """Write a figure as a PNG file, whole or not at all.

    Raises:
        HyperPoseError: it cannot be written.
    """
    with replacing(path, "plot") as stream:
        figure.savefig(stream, dpi=dots_per_inch, format="png")
