"""Reliability plot: do regions hold the share of the truth that they promise?"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.consistency import PARTS, chi_square_3_cdf, frame_consistency
from hyperpose_core.evaluation.plot_style import INK, MUTED, ORIENTATION, POSITION, new_figure, style_axes

_PROMISED = np.linspace(0.0, 1.0, 101)
_MARKED = (0.68, 0.95)


def reliability_figure(comparison: Comparison) -> Figure:
    """Share of frames inside each region against the share that it promises, position and rotation apart."""
    figure = new_figure(10.0, 4.4)
    kinds = [("each image's own", False)]
    if comparison.constant_covariance is not None:
        kinds.append(("one for all images", True))
    for axes, (name, part), colour in zip(
        figure.subplots(1, 2), PARTS.items(), (POSITION, ORIENTATION), strict=True
    ):
        axes.plot([0, 100], [0, 100], ":", color=MUTED, linewidth=1.2, label="right")
        for label, constant in kinds:
            held = _held(frame_consistency(comparison, part, constant).nees)
            style = {"color": MUTED, "linestyle": "--"} if constant else {"color": colour}
            axes.plot(100 * _PROMISED, 100 * held, linewidth=1.6 if constant else 2.2, label=label, **style)
            if not constant:
                marked = np.interp(_MARKED, _PROMISED, held)
                axes.plot(100 * np.array(_MARKED), 100 * marked, "o", color=INK, markersize=5)
        axes.set(xlim=(0, 100), ylim=(0, 101), xlabel="promised (%)", ylabel="frames inside (%)")
        axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
        style_axes(axes, name)
    return figure


def _held(nees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of frames inside the region that promises each share of `_PROMISED`."""
    ordered = np.sort([chi_square_3_cdf(value) if np.isfinite(value) else 2.0 for value in nees])
    return np.searchsorted(ordered, _PROMISED, side="right") / len(ordered)
