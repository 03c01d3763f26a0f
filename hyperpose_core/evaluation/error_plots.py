"""Plots of the errors: their distribution, what they depend on, and whether covariances foretell them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.condition_drop import ConditionDrop
from hyperpose_core.evaluation.consistency import PARTS, chi_square_3_cdf, frame_consistency
from hyperpose_core.evaluation.metrics import (
    HEADING_BIN_DEG,
    RECALL_THRESHOLDS,
    FrameErrors,
    Scores,
    quantile,
)
from hyperpose_core.evaluation.plot_style import (
    ERROR_NAMES,
    FAILURE,
    GROUPS,
    INK,
    MUTED,
    ORIENTATION,
    POSITION,
    REFINED,
    error_bars,
    finite_limit,
    group_labels,
    new_figure,
    style_axes,
)
from hyperpose_core.evaluation.tum import has_usable_stamps
from hyperpose_core.evaluation.viewpoint import plan_view

_LOGARITHMIC_ABOVE = 30.0
_CLOCK_GAP = 0.25
_COLOUR = (POSITION, ORIENTATION)
_UNIT = ("m", "deg")
_PROMISED = np.linspace(0.0, 1.0, 101)
_MARKED = (0.68, 0.95)


def cumulative_figure(comparison: Comparison, errors: FrameErrors) -> Figure:
    """Share of frames with at most a given error; unanswered frames keep a curve below 100%."""
    figure = new_figure(10.0, 4.2)
    groups = _groups(comparison)
    for index, axes in enumerate(figure.subplots(1, 2)):
        values = (errors.position_m, errors.orientation_deg)[index]
        limit = 1.05 * finite_limit(values, 0.98)
        if len(groups) > 1:
            for (label, rows), colour in zip(groups, _colours(len(groups)), strict=True):
                _draw_cumulative(axes, values[rows], limit, label, colour, 1.4)
        _draw_cumulative(axes, values, limit, "all frames", INK if len(groups) > 1 else _COLOUR[index], 2.2)
        for threshold in sorted({pair[index] for pair in RECALL_THRESHOLDS}):
            if threshold < limit:
                axes.axvline(threshold, color=MUTED, linestyle=":", linewidth=1.0)
        median = quantile(values, 0.5)
        if median <= limit:
            axes.plot(
                [median], [50.0], "o", color=INK, markersize=6, label=f"median {median:.3g} {_UNIT[index]}"
            )
        axes.set(xlim=(0.0, limit), ylim=(0.0, 101.0), xlabel=ERROR_NAMES[index], ylabel="frames (%)")
        axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
        style_axes(axes)
    return figure


def timeline_figure(comparison: Comparison, errors: FrameErrors) -> Figure:
    """Errors frame after frame; against time where the stamps are one recording's, else by frame number."""
    figure = new_figure(10.0, 5.4)
    order, place, label = _timeline(comparison)
    groups = _groups(comparison)
    colours = _colours(len(groups))
    panels = figure.subplots(2, 1, sharex=True)
    for index, axes in enumerate(panels):
        values = (errors.position_m, errors.orientation_deg)[index]
        for (name, rows), colour in zip(groups, colours, strict=True):
            shade = colour if len(groups) > 1 else _COLOUR[index]
            axes.plot(place[rows], values[rows], ".", color=shade, markersize=4, label=name or "frames")
        median = quantile(values, 0.5)
        if np.isfinite(median):
            axes.axhline(
                median, color=INK, linestyle="--", linewidth=1.0, label=f"median {median:.3g} {_UNIT[index]}"
            )
        _scale_errors(axes, values)
        lost = np.isinf(values)
        if lost.any():
            top = np.full(int(lost.sum()), 0.98)
            axes.plot(
                place[lost],
                top,
                "x",
                color=FAILURE,
                transform=axes.get_xaxis_transform(),
                label="no estimate",
            )
        axes.set_ylabel(ERROR_NAMES[index])
        style_axes(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
    panels[-1].set_xlabel(label)
    margin = max(0.01 * (place[order[-1]] - place[order[0]]), 1e-3)
    panels[-1].set_xlim(place[order[0]] - margin, place[order[-1]] + margin)
    return figure


def heading_figure(comparison: Comparison, scores: Scores) -> Figure:
    """Median errors by heading of the camera about the vertical, with the number of frames in each sector."""
    figure = new_figure(10.0, 5.4)
    centres = np.array([(sector.from_deg + sector.to_deg) / 2.0 for sector in scores.headings])
    panels = figure.subplots(2, 1, sharex=True)
    for index, axes in enumerate(panels):
        heights = np.array(
            [(sector.position_median_m, sector.orientation_median_deg)[index] for sector in scores.headings]
        )
        shown = np.where(np.isfinite(heights), heights, 0.0)
        axes.bar(centres, shown, width=0.86 * HEADING_BIN_DEG, color=_COLOUR[index])
        median = (scores.overall.position_m, scores.overall.orientation_deg)[index].median
        if np.isfinite(median):
            axes.axhline(
                median,
                color=INK,
                linestyle="--",
                linewidth=1.0,
                label=f"all frames {median:.3g} {_UNIT[index]}",
            )
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
        axes.set_ylabel(f"median {ERROR_NAMES[index]}")
        style_axes(axes)
    counts = panels[0].secondary_xaxis("top")
    counts.set_xticks(centres, [str(sector.frames) for sector in scores.headings])
    counts.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    counts.set_xlabel("frames in each sector", fontsize=9, color=MUTED)
    counts.spines["top"].set_visible(False)
    panels[-1].set(xlim=(0.0, 360.0), xticks=np.arange(0.0, 361.0, HEADING_BIN_DEG))
    axis = plan_view(comparison, np.arange(len(comparison))).labels[0]
    panels[-1].set_xlabel(f"heading of the camera (deg), counter-clockwise seen from above, 0 along +{axis}")
    return figure


def group_figure(comparison: Comparison, errors: FrameErrors) -> Figure:
    """Box plots of the errors by condition, or by scene where there is one condition only."""
    groups = _groups(comparison)
    figure = new_figure(10.0, 4.0)
    for index, axes in enumerate(figure.subplots(1, 2)):
        values = (errors.position_m, errors.orientation_deg)[index]
        estimated = [values[rows][np.isfinite(values[rows])] for _, rows in groups]
        boxes = axes.boxplot(estimated, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.5)
        for box in boxes["boxes"]:
            box.set(facecolor=_COLOUR[index], alpha=0.45, edgecolor=_COLOUR[index])
        for median in boxes["medians"]:
            median.set(color=INK, linewidth=1.8)
        names = [f"{label or 'unnamed'}\n{len(rows)} frames" for label, rows in groups]
        axes.set_xticks(range(1, len(groups) + 1), names, rotation=0 if len(groups) < 6 else 45)
        axes.set_ylabel(ERROR_NAMES[index])
        axes.set_ylim(bottom=0.0)
        style_axes(axes)
    return figure


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


def reliability_figure(comparison: Comparison | None, refined: Comparison | None = None) -> Figure:
    """Share of frames inside each region against the share that it promises, position and rotation apart.

    Args:
        comparison: frames with covariances; None where none was measured.
        refined: the frames that a landmark map verified, with its covariances; None draws none.
    """
    figure = new_figure(10.0, 4.4)
    for axes, (name, part), colour in zip(
        figure.subplots(1, 2), PARTS.items(), (POSITION, ORIENTATION), strict=True
    ):
        axes.plot([0, 100], [0, 100], ":", color=MUTED, linewidth=1.2, label="right")
        if comparison is not None:
            _draw_reliability(axes, comparison, part, colour)
        if refined is not None and refined.covariances is not None:
            held = _held(frame_consistency(refined, part).nees)
            axes.plot(100 * _PROMISED, 100 * held, linewidth=2.2, label="verified by the map", color=REFINED)
        axes.set(xlim=(0, 100), ylim=(0, 101), xlabel="promised (%)", ylabel="frames inside (%)")
        axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
        style_axes(axes, name)
    return figure


def _draw_reliability(axes: Axes, comparison: Comparison, part: slice, colour: str) -> None:
    held = _held(frame_consistency(comparison, part).nees)
    axes.plot(100 * _PROMISED, 100 * held, linewidth=2.2, label="each image's own", color=colour)
    marked = np.interp(_MARKED, _PROMISED, held)
    axes.plot(100 * np.array(_MARKED), 100 * marked, "o", color=INK, markersize=5)
    if comparison.constant_covariance is not None:
        held = _held(frame_consistency(comparison, part, constant=True).nees)
        label = "one for all images"
        axes.plot(100 * _PROMISED, 100 * held, "--", color=MUTED, linewidth=1.6, label=label)


def _groups(comparison: Comparison) -> list[tuple[str, NDArray[np.intp]]]:
    labels = group_labels(comparison.scenes, comparison.conditions)
    column = np.asarray(labels)
    return [(label, np.flatnonzero(column == label)) for label in dict.fromkeys(labels)]


def _colours(count: int) -> Sequence[str]:
    return [GROUPS[index % len(GROUPS)] for index in range(count)]


def _draw_cumulative(
    axes: Axes, values: NDArray[np.float64], limit: float, label: str, colour: str, width: float
) -> None:
    ordered = np.sort(values[np.isfinite(values)])
    share = 100.0 * np.arange(1, len(ordered) + 1) / len(values)
    end = share[-1] if len(share) else 0.0
    steps = np.r_[0.0, ordered, max(limit, ordered[-1] if len(ordered) else 0.0)]
    axes.step(steps, np.r_[0.0, share, end], where="post", color=colour, linewidth=width, label=label)


def _timeline(comparison: Comparison) -> tuple[NDArray[np.intp], NDArray[np.float64], str]:
    frames = np.arange(len(comparison))
    if comparison.stamps_ns is not None and has_usable_stamps(comparison):
        order = np.argsort(comparison.stamps_ns)
        seconds = (comparison.stamps_ns - comparison.stamps_ns[order[0]]) / 1e9
        steps = np.diff(seconds[order])
        # Recordings of different days side by side would leave nothing but a gap to see.
        if len(steps) == 0 or steps.max() <= _CLOCK_GAP * seconds[order[-1]]:
            return order, seconds, "time since the first frame (s)"
    return frames, frames.astype(np.float64), "frame number"


def _scale_errors(axes: Axes, values: NDArray[np.float64]) -> None:
    finite = values[np.isfinite(values) & (values > 0.0)]
    if len(finite) and finite.max() > _LOGARITHMIC_ABOVE * np.median(finite):
        axes.set_yscale("log")
        return
    axes.set_ylim(0.0, 1.08 * float(finite.max()) if len(finite) else 1.0)


def _held(nees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of frames inside the region that promises each share of `_PROMISED`."""
    ordered = np.sort([chi_square_3_cdf(value) if np.isfinite(value) else 2.0 for value in nees])
    return np.searchsorted(ordered, _PROMISED, side="right") / len(ordered)
