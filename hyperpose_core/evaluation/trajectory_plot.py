"""The trajectory from straight above, each estimate coloured by its position error."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, sqrt

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.metrics import FrameErrors
from hyperpose_core.evaluation.plot_style import (
    ERROR_COLOURS,
    FAILURE,
    MUTED,
    TRAINING,
    TRUTH,
    finite_limit,
    new_figure,
    style_axes,
)
from hyperpose_core.evaluation.viewpoint import plan_view
from hyperpose_core.geometry.poses import Array

_LARGEST_SIDE = 8.0
_SMALLEST_SIDE = 4.0


def trajectory_figure(
    comparison: Comparison, errors: FrameErrors, training_positions: Mapping[str, Array] | None = None
) -> Figure:
    """Draw one panel a scene, with equal scales along both axes.

    The view is fitted to the truth and to 95% of the estimates; how many lie outside is written on it.

    Args:
        comparison: the estimates.
        errors: theirs.
        training_positions: where the network was trained, of each scene, [M, 3] metres; None draws none.
    """
    scenes = sorted(set(comparison.scenes))
    labels = np.asarray(comparison.scenes)
    panels = [_Panel(comparison, errors, np.flatnonzero(labels == scene)) for scene in scenes]
    columns = min(ceil(sqrt(len(scenes))), 3)
    rows = ceil(len(scenes) / columns)
    if len(panels) > 1:
        for panel in panels:
            panel.make_square()
    width, height = panels[0].size() if len(panels) == 1 else (3.7 * columns, 3.9 * rows)
    figure = new_figure(width + 1.2, height + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    norm = Normalize(0.0, finite_limit(errors.position_m, 0.95))
    handles: dict[str, Artist] = {}
    for axes, panel, scene in zip(grid, panels, scenes, strict=False):
        panel.draw_training(axes, (training_positions or {}).get(scene))
        dots = panel.draw(axes, norm)
        style_axes(axes, scene if len(panels) > 1 else "")
        artists, names = axes.get_legend_handles_labels()
        handles |= dict(zip(names, artists, strict=True))
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    colour_bar = figure.colorbar(dots, ax=list(grid), extend="max", shrink=0.85, pad=0.02, aspect=30)
    colour_bar.set_label("position error (m)", fontsize=10)
    colour_bar.ax.tick_params(labelsize=9)
    colour_bar.outline.set_visible(False)
    figure.legend(
        handles=list(handles.values()),
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
    )
    return figure


class _Panel:
    """One scene's share of the picture: plane coordinates [M, 2] m of truth and estimates."""

    def __init__(self, comparison: Comparison, errors: FrameErrors, rows: NDArray[np.intp]) -> None:
        self.view = plan_view(comparison, rows)
        self.estimated = comparison.estimated[rows]
        self.errors = errors.position_m[rows]
        self.truth = self.view.project(comparison.true_positions[rows])
        self.estimates = self.view.project(comparison.estimated_positions[rows])
        self.low, self.high = self._limits()

    def size(self) -> tuple[float, float]:
        """Width and height in inches that suit the shape of the trajectory."""
        extent = self.high - self.low
        scale = _LARGEST_SIDE / extent.max()
        width, height = np.maximum(extent * scale, _SMALLEST_SIDE)
        return float(width), float(height)

    def make_square(self) -> None:
        """Widen the shorter side of the view, so that panels of different shapes line up."""
        middle, half = (self.low + self.high) / 2.0, float((self.high - self.low).max()) / 2.0
        self.low, self.high = middle - half, middle + half

    def draw_training(self, axes: Axes, positions: Array | None) -> None:
        """Draw where the network was trained, under everything else."""
        if positions is None or not len(positions):
            return
        places = self.view.project(positions)
        axes.scatter(
            places[:, 0], places[:, 1], s=26, color=TRAINING, label="training", zorder=0.5, linewidths=0
        )

    def draw(self, axes: Axes, norm: Normalize) -> PathCollection:
        """Draw the panel; returns what the colour bar belongs to."""
        truth, estimates = self.truth[self.estimated], self.estimates[self.estimated]
        colours = ERROR_COLOURS(norm(self.errors[self.estimated]))
        lines = LineCollection(
            np.stack([truth, estimates], axis=1).tolist(), colors=colours, linewidths=0.7, alpha=0.45
        )
        axes.add_collection(lines)
        axes.scatter(
            self.truth[:, 0], self.truth[:, 1], s=7, color=TRUTH, label="ground truth", zorder=2, linewidths=0
        )
        values = self.errors[self.estimated]
        dots = axes.scatter(
            estimates[:, 0],
            estimates[:, 1],
            s=13,
            c=values,
            cmap=ERROR_COLOURS,
            norm=norm,
            label="estimate",
            zorder=3,
            linewidths=0,
        )
        lost = self.truth[~self.estimated]
        if len(lost):
            axes.scatter(
                lost[:, 0],
                lost[:, 1],
                s=30,
                marker="x",
                color=FAILURE,
                label="no estimate",
                zorder=4,
                linewidths=1.2,
            )
        self._set_view(axes, estimates)
        return dots

    def _set_view(self, axes: Axes, estimates: NDArray[np.float64]) -> None:
        axes.set_xlim(self.low[0], self.high[0])
        axes.set_ylim(self.low[1], self.high[1])
        axes.set_aspect("equal")
        axes.set_xlabel(f"{self.view.labels[0]} (m)")
        axes.set_ylabel(f"{self.view.labels[1]} (m)")
        outside = int(((estimates < self.low) | (estimates > self.high)).any(axis=1).sum())
        if outside:
            text = f"{outside} estimate{'s' if outside > 1 else ''} outside this view"
            axes.text(0.01, 0.99, text, transform=axes.transAxes, va="top", fontsize=8, color=MUTED)

    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        low, high = self.truth.min(axis=0), self.truth.max(axis=0)
        reach = max(float((high - low).max()), 0.1)
        near = self.estimated & (self.errors <= finite_limit(self.errors, 0.95))
        shown = self.estimates[near] if near.any() else self.truth
        low = np.maximum(np.minimum(low, shown.min(axis=0)), low - 3.0 * reach)
        high = np.minimum(np.maximum(high, shown.max(axis=0)), high + 3.0 * reach)
        margin = 0.05 * max(float((high - low).max()), 0.1)
        return low - margin, high + margin
