"""Plots of a network's errors and a landmark map's, side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.metrics import FrameErrors, frame_errors
from hyperpose_core.evaluation.plot_style import (
    ERROR_NAMES,
    MUTED,
    ORIENTATION,
    POSITION,
    REFINED,
    new_figure,
    style_axes,
)

# Errors of nothing, which a logarithmic axis has no place for.
_LEAST = 1e-6


def sources_cumulative_figure(comparison: Comparison, refined: Comparison) -> Figure:
    """Share of all frames with at most a given error, on a logarithmic axis: centimetres beside metres.

    Args:
        comparison: the network's answers.
        refined: the map's, unanswered where it did not verify a pose; there its curve ends below 100%.
    """
    figure = new_figure(10.0, 4.2)
    both = [_kinds(frame_errors(comparison)), _kinds(frame_errors(refined))]
    for index, axes in enumerate(figure.subplots(1, 2)):
        for kinds, name, colour in zip(
            both, ("network", "map, where verified"), ((POSITION, ORIENTATION)[index], REFINED), strict=True
        ):
            values = np.sort(np.maximum(kinds[index][np.isfinite(kinds[index])], _LEAST))
            share = 100.0 * np.arange(1, len(values) + 1) / len(comparison)
            axes.step(values, share, where="post", color=colour, linewidth=2.2, label=name)
        axes.set(xscale="log", ylim=(0.0, 101.0), xlabel=ERROR_NAMES[index], ylabel="frames (%)")
        axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
        style_axes(axes)
    return figure


def sources_timeline_figure(comparison: Comparison, refined: Comparison) -> Figure:
    """Errors frame after frame, in the order of recording; marks at the top are frames not verified."""
    figure = new_figure(10.0, 5.4)
    both = [_kinds(frame_errors(comparison)), _kinds(frame_errors(refined))]
    frames = np.arange(len(comparison))
    lost = ~refined.estimated
    panels = figure.subplots(2, 1, sharex=True)
    for index, axes in enumerate(panels):
        for kinds, name, colour in zip(
            both, ("network", "map"), ((POSITION, ORIENTATION)[index], REFINED), strict=True
        ):
            shown = np.where(np.isfinite(kinds[index]), np.maximum(kinds[index], _LEAST), np.nan)
            axes.plot(frames, shown, ".", color=colour, markersize=4, label=name)
        if lost.any():
            top = np.full(int(lost.sum()), 0.98)
            axes.plot(
                frames[lost],
                top,
                "|",
                color=MUTED,
                transform=axes.get_xaxis_transform(),
                label="not verified",
            )
        axes.set(yscale="log", ylabel=ERROR_NAMES[index])
        style_axes(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    panels[-1].set_xlabel("frame number")
    return figure


def _kinds(errors: FrameErrors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return errors.position_m, errors.orientation_deg
