"""The plot of what each condition costs against the original images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from hyperpose_core.evaluation.condition_drop import ConditionDrop
from hyperpose_core.evaluation.plot_style import (
    ERROR_NAMES,
    INK,
    ORIENTATION,
    POSITION,
    error_bars,
    new_figure,
    style_axes,
)


def drop_figure(drops: Sequence[ConditionDrop]) -> Figure:
    """Median errors of each condition and of the same frames as they were taken, with their intervals."""
    figure = new_figure(10.0, 3.8)
    for axes, colour, name, kind in zip(
        figure.subplots(1, 2),
        (POSITION, ORIENTATION),
        ERROR_NAMES,
        ("position_m", "orientation_deg"),
        strict=True,
    ):
        comparisons = [getattr(drop, kind) for drop in drops]
        places = np.arange(len(drops))
        originals, variants = [item.first for item in comparisons], [item.second for item in comparisons]
        axes.errorbar(
            places - 0.1,
            *error_bars(originals),
            fmt="s",
            color=INK,
            capsize=4,
            label="original images",
        )
        axes.errorbar(
            places + 0.1, *error_bars(variants), fmt="o", color=colour, capsize=4, label="the condition"
        )
        axes.set_xticks(places, [f"{drop.condition}\n{drop.frames} frames" for drop in drops])
        axes.set_xlim(-0.6, len(drops) - 0.4)
        axes.set_ylim(bottom=0.0)
        axes.set_ylabel(f"median {name}")
        axes.legend(fontsize=8, frameon=False)
        style_axes(axes)
    return figure
