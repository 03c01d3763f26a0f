"""Figures with their intervals, one below the other: positions on the left, orientations on the right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from hyperpose_core.evaluation.plot_style import (
    MUTED,
    ORIENTATION,
    POSITION,
    error_bars,
    new_figure,
    style_axes,
)
from hyperpose_core.evaluation.statistics import Interval


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
