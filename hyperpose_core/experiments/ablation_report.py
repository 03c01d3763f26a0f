"""An ablation as a table, a plot, Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperpose_core.evaluation import tables
from hyperpose_core.evaluation.documents import markdown_table, write_results
from hyperpose_core.evaluation.plot_style import GROUPS, INK, MUTED, error_bars, new_figure, style_axes
from hyperpose_core.evaluation.statistics import Interval, PairedComparison
from hyperpose_core.evaluation.tables import interval_text
from hyperpose_core.experiments.ablation import Ablation, Group

PLOT_FILE = "ablation.png"

_Form = Callable[[float], str]

_KINDS = (("position_m", "median position error (m)"), ("orientation_deg", "median orientation error (deg)"))


def write_ablation(directory: Path, ablation: Ablation) -> Path:
    """Write `results.json`, `ablation.png` and `results.md` into a folder.

    Returns:
        path of `results.md`.

    Raises:
        HyperPoseError: the folder cannot be written.
    """
    return write_results(
        directory, asdict(ablation), _markdown(ablation), {PLOT_FILE: ablation_figure(ablation)}
    )


def format_ablation(ablation: Ablation) -> str:
    """Return the table of medians and differences, the table of seeds, and what they say."""
    blocks = [_medians_table(ablation), _seeds_table(ablation), *_drops(ablation), *_sentences(ablation)]
    return "\n\n".join(blocks)


def ablation_figure(ablation: Ablation) -> Figure:
    """Medians of both networks, every seed and the intervals; below, the differences."""
    figure = new_figure(max(8.0, 2.5 + 2.2 * len(ablation.groups)), 6.4)
    panels = figure.subplots(2, 2, sharex=True, height_ratios=(3, 2))
    for column, (kind, title) in enumerate(_KINDS):
        comparisons = [getattr(group, kind) for group in ablation.groups]
        seeds = [getattr(group, kind.rpartition("_")[0] + "_by_seed") for group in ablation.groups]
        names = (ablation.without, ablation.with_hypernetwork)
        for side, name in enumerate(names):
            intervals = [(comparison.first, comparison.second)[side] for comparison in comparisons]
            by_seed = [[pair[side] for pair in pairs] for pairs in seeds]
            _draw_medians(panels[0, column], intervals, by_seed, side, name)
        _draw_differences(panels[1, column], [comparison.difference for comparison in comparisons])
        style_axes(panels[0, column], title)
        style_axes(panels[1, column], "with minus without hypernetwork")
        panels[0, column].set_ylim(bottom=0.0)
        panels[0, column].legend(fontsize=8, frameon=False)
        labels = [f"{group.label}\n{group.frames} frames" for group in ablation.groups]
        panels[1, column].set_xticks(range(len(labels)), labels)
        panels[1, column].set_xlim(-0.6, len(labels) - 0.4)
    return figure


def _draw_medians(
    axes: Axes, intervals: list[Interval], by_seed: list[list[float]], side: int, name: str
) -> None:
    places = np.arange(len(intervals)) + (side - 0.5) * 0.3
    axes.errorbar(places, *error_bars(intervals), fmt="o", color=GROUPS[side], capsize=4, label=name)
    for place, values in zip(places, by_seed, strict=True):
        axes.plot([place + 0.08] * len(values), values, ".", color=GROUPS[side], alpha=0.5, markersize=6)


def _draw_differences(axes: Axes, intervals: list[Interval]) -> None:
    axes.errorbar(
        np.arange(len(intervals)), *error_bars(intervals), fmt="D", color=INK, capsize=4, markersize=5
    )
    axes.axhline(0.0, color=MUTED, linewidth=1.2)


def _markdown(ablation: Ablation) -> list[str]:
    title = f"# {ablation.with_hypernetwork} against {ablation.without}: does the hypernetwork help?"
    data = (
        f"Trained on {ablation.training}, scored on {ablation.test}, seeds "
        f"{', '.join(map(str, ablation.seeds))}. Medians of the errors, averaged over the seeds; in brackets "
        f"{_confidence(ablation)} intervals, from draws of blocks of frames and the spread of the seeds."
    )
    if ablation.conditions_made_by:
        data += f" Conditions of the test images: {ablation.conditions_made_by}."
    return [title, data, format_ablation(ablation)]


def _medians_table(ablation: Ablation) -> str:
    rows = [["frames", "", "without", "with", "with - without", "change"]]
    for group in ablation.groups:
        for name, comparison, form in _comparisons(group):
            change = 100 * (comparison.second.estimate / comparison.first.estimate - 1)
            rows.append(
                [
                    f"{group.label} ({group.frames})",
                    name,
                    interval_text(comparison.first, form),
                    interval_text(comparison.second, form),
                    interval_text(comparison.difference, form, sign=True),
                    f"{change:+.0f} %" if math.isfinite(change) else "-",
                ]
            )
    return markdown_table(rows)


def _seeds_table(ablation: Ablation) -> str:
    columns = [f"{name} ({unit})" for unit in ("m", "deg") for name in ("without", "with")]
    rows = [["frames", "seed", *columns]]
    for group in ablation.groups:
        for place, seed in enumerate(ablation.seeds):
            metres, degrees = group.position_by_seed[place], group.orientation_by_seed[place]
            figures = [*map(tables.metres, metres), *map(tables.degrees, degrees)]
            rows.append([group.label, str(seed), *figures])
    return markdown_table(rows)


def _drops(ablation: Ablation) -> list[str]:
    """Return the table of what each condition costs each network, where there are conditions."""
    if not ablation.drops_with:
        return []
    rows = [["against original", "network", "more m", "ratio", "more deg", "ratio"]]
    for pair in zip(ablation.drops_without, ablation.drops_with, strict=True):
        for name, drop in zip(("without", "with"), pair, strict=True):
            rows.append(
                [
                    f"{drop.condition} ({drop.frames})",
                    name,
                    interval_text(drop.position_m.difference, tables.metres, sign=True),
                    tables.number(drop.position_ratio, 2),
                    interval_text(drop.orientation_deg.difference, tables.degrees, sign=True),
                    tables.number(drop.orientation_ratio, 2),
                ]
            )
    return [markdown_table(rows)]


def _sentences(ablation: Ablation) -> list[str]:
    lines = [
        f"{group.label}: {name} {_conclusion(comparison)}."
        for group in ablation.groups
        for name, comparison in (
            ("position", group.position_m),
            ("orientation", group.orientation_deg),
        )
    ]
    text = "With hypernetwork, against without:\n\n" + "\n".join(f"- {line}" for line in lines)
    if len(ablation.seeds) == 1:
        note = "One seed: the intervals do not say how much another run of the same training would differ."
        return [text, note]
    return [text]


def _conclusion(comparison: PairedComparison) -> str:
    difference = comparison.difference
    confidence = f"{100 * difference.confidence:g} %"
    if not difference.excludes(0.0):
        return f"not decided (0 lies within the {confidence} interval of the difference)"
    return f"{'better' if difference.estimate < 0 else 'worse'} with {confidence} confidence"


def _comparisons(group: Group) -> list[tuple[str, PairedComparison, _Form]]:
    return [("m", group.position_m, tables.metres), ("deg", group.orientation_deg, tables.degrees)]


def _confidence(ablation: Ablation) -> str:
    return f"{100 * ablation.groups[0].position_m.first.confidence:g} %"
