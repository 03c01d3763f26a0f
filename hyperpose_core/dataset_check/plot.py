"""Plots of a dataset check: where test frames lie among training frames, and how far from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hyperpose_core.dataset_check.coverage import Coverage
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.plot_style import (
    ERROR_COLOURS,
    INK,
    ORIENTATION,
    POSITION,
    TRUTH,
    finite_limit,
    new_figure,
    style_axes,
)
from hyperpose_core.evaluation.viewpoint import PlanView, plan_view
from hyperpose_core.geometry.poses import Array

_ROW_INCHES = 3.6


def coverage_figure(coverage: Sequence[Coverage]) -> Figure:
    """Draw a row a scene: the plan seen from above, and how distances and angles are distributed."""
    figure = new_figure(13.0, _ROW_INCHES * len(coverage) + 0.4)
    grid = figure.subplots(len(coverage), 3, squeeze=False, width_ratios=(1.5, 1.0, 1.0))
    for row, item in zip(grid, coverage, strict=True):
        _draw_plan(row[0], item)
        _draw_distribution(row[1], item.distance_m, "distance to the nearest training frame (m)", POSITION)
        _draw_distribution(row[2], item.angle_deg, "angle to that training frame (deg)", ORIENTATION)
    return figure


def _draw_plan(axes: Axes, item: Coverage) -> None:
    view = _view(item)
    training = view.project(item.training_positions)
    test = view.project(np.array([image.pose.position for image in item.test]))
    axes.scatter(training[:, 0], training[:, 1], s=6, color=TRUTH, linewidths=0, label="training")
    dots = axes.scatter(
        test[:, 0],
        test[:, 1],
        s=12,
        c=item.distance_m,
        cmap=ERROR_COLOURS,
        norm=Normalize(0.0, finite_limit(item.distance_m, 0.95)),
        linewidths=0,
        label="test",
    )
    bar = axes.figure.colorbar(dots, ax=axes, extend="max", pad=0.02)
    bar.set_label("distance (m)", fontsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=9)
    style_axes(axes, f"{item.scene}: {len(item.training_positions)} training, {len(item.test)} test frames")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"{view.labels[0]} (m)")
    axes.set_ylabel(f"{view.labels[1]} (m)")
    axes.legend(loc="best", fontsize=8, frameon=False)


def _draw_distribution(axes: Axes, values: Array, label: str, colour: str) -> None:
    ordered = np.sort(values)
    median = float(np.median(ordered))
    share = np.arange(1, len(ordered) + 1) / len(ordered)
    # Starting at zero shows a distribution of one value, too.
    axes.step(np.concatenate([[0.0], ordered]), np.concatenate([[0.0], share]), where="post", color=colour)
    axes.axvline(median, color=INK, linewidth=0.8, linestyle="--")
    axes.text(median, 0.03, f" median {median:.3g}", fontsize=9, color=INK)
    style_axes(axes)
    axes.set_xlim(left=0.0)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel(label)
    axes.set_ylabel("share of test frames")


def _view(item: Coverage) -> PlanView:
    poses = [image.pose for image in (*item.test, *item.nearest)]
    # A comparison of the poses with themselves: what a plan view is taken from.
    comparison = Comparison.from_poses(poses, poses, up=item.up)
    return plan_view(comparison, np.arange(len(poses)))
