"""A reproduced table as text, Markdown, JSON and a plot, beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperpose_core.evaluation import tables
from hyperpose_core.evaluation.documents import markdown_table, write_results
from hyperpose_core.evaluation.plot_style import ERROR_NAMES, GROUPS, error_bars, new_figure, style_axes
from hyperpose_core.evaluation.tables import interval_text
from hyperpose_core.experiments.reproduction import Cell, RefinedCell, Reproduction, Skipped


def write_reproduction(directory: Path, reproduction: Reproduction) -> Path:
    """Write `results.json`, `results.md` and `<table>.png` into a folder.

    Returns:
        path of `results.md`.

    Raises:
        HyperPoseError: the folder cannot be written.
    """
    table = reproduction.table
    document = {
        "table": table.name,
        "title": table.title,
        "seeds": reproduction.seeds,
        "recipe_changes": dict(reproduction.changes),
        "cells": [asdict(cell) for cell in reproduction.cells],
        "conditions_made_by": reproduction.conditions_made_by,
        "skipped": [asdict(item) for item in reproduction.skipped],
    }
    blocks = [f"# {table.title}", format_reproduction(reproduction)]
    figures = {f"{table.name}.png": reproduction_figure(reproduction)} if reproduction.cells else {}
    return write_results(directory, document, blocks, figures)


def format_reproduction(reproduction: Reproduction) -> str:
    """Return the overview, every figure with its interval, what was skipped, and what to know."""
    cells = reproduction.cells
    blocks = [
        _overview(reproduction, statistic)
        for statistic in reproduction.table.statistics
        if any(cell.statistic == statistic for cell in cells)
    ]
    if cells:
        blocks.append(_figures(cells))
    if reproduction.skipped:
        blocks.append(format_skipped(reproduction.skipped))
    return "\n\n".join(blocks + _notes(reproduction))


def format_skipped(skipped: Sequence[Skipped]) -> str:
    """Return a list of what was left out, methods with the same reason together."""
    methods: dict[tuple[str, str], list[str]] = {}
    for item in skipped:
        methods.setdefault((item.unit, item.reason), []).append(item.method)
    lines = [f"- {unit} ({', '.join(names)}): {reason}" for (unit, reason), names in methods.items()]
    return "Left out:\n\n" + "\n".join(lines)


def reproduction_figure(reproduction: Reproduction) -> Figure:
    """Each cell's figure with its interval (full) beside the paper's (hollow)."""
    statistic = reproduction.table.statistics[0]
    cells = [cell for cell in reproduction.cells if cell.statistic == statistic]
    places = list(dict.fromkeys((cell.column, cell.condition) for cell in cells))
    figure = new_figure(max(8.0, 2.0 + 1.3 * len(places)), 7.0)
    panels = figure.subplots(2, 1, sharex=True)
    for kind, axes in enumerate(panels):
        _draw_panel(axes, cells, places, kind)
        axes.set_ylabel(f"{statistic} {ERROR_NAMES[kind]}")
        axes.set_ylim(bottom=0.0)
        style_axes(axes)
    panels[1].set_xticks(range(len(places)), ["\n".join(filter(None, place)) for place in places])
    panels[1].set_xlim(-0.6, len(places) - 0.4)
    title = "full: here" + (", hollow: paper" if any(cell.published for cell in cells) else "")
    panels[0].legend(
        title=title, fontsize=8, title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False
    )
    return figure


def _draw_panel(axes: Axes, cells: Sequence[Cell], places: Sequence[tuple[str, str]], kind: int) -> None:
    """Draw positions (kind 0) or orientations (kind 1), the methods of a place beside each other."""
    methods = list(dict.fromkeys(cell.method for cell in cells))
    for number, method in enumerate(methods):
        own = [cell for cell in cells if cell.method == method]
        offset = (number - (len(methods) - 1) / 2) * min(0.2, 0.8 / len(methods))
        xs = [places.index((cell.column, cell.condition)) + offset for cell in own]
        colour = GROUPS[number % len(GROUPS)]
        intervals = [(cell.position_m, cell.orientation_deg)[kind] for cell in own]
        axes.errorbar(
            xs, *error_bars(intervals), fmt="o", color=colour, capsize=3, markersize=5, label=method
        )
        for x, cell in zip(xs, own, strict=True):
            if cell.published:
                axes.plot([x], [cell.published[kind]], "o", color=colour, fillstyle="none", markersize=10)


def _overview(reproduction: Reproduction, statistic: str) -> str:
    cells = [cell for cell in reproduction.cells if cell.statistic == statistic]
    columns = list(dict.fromkeys(cell.column for cell in cells))
    rows = [[f"{statistic} (m, deg)", *columns, "average"]]
    for method, condition in dict.fromkeys((cell.method, cell.condition) for cell in cells):
        own = {cell.column: cell for cell in cells if (cell.method, cell.condition) == (method, condition)}
        name = f"{method}, {condition}" if condition else method
        here = {
            column: (cell.position_m.estimate, cell.orientation_deg.estimate) for column, cell in own.items()
        }
        paper = {column: cell.published for column, cell in own.items() if cell.published}
        rows.append(_overview_row(f"{name}, here", columns, here))
        if paper:
            rows.append(_overview_row(f"{name}, paper", columns, paper))
    return markdown_table(rows)


def _overview_row(name: str, columns: Sequence[str], figures: dict[str, tuple[float, float]]) -> list[str]:
    cells = [_pair(figures[column]) if column in figures else "-" for column in columns]
    # An average over other scenes than the paper's would only mislead.
    is_whole = len(figures) == len(columns)
    mean = np.mean(list(figures.values()), axis=0)
    return [name, *cells, _pair((float(mean[0]), float(mean[1]))) if is_whole else "-"]


def _figures(cells: Sequence[Cell]) -> str:
    rows = [["figure", "frames", "position (m)", "paper", "orientation (deg)", "paper"]]
    originals = {
        (cell.method, cell.column, cell.statistic): cell for cell in cells if cell.condition == "original"
    }
    if originals:
        rows[0] += ["against original (m)", "(deg)"]
    with_maps = any(cell.refined is not None for cell in cells)
    if with_maps:
        rows[0] += ["verified by the map", "its poses (m)", "(deg)"]
    for cell in cells:
        place = ", ".join(filter(None, (cell.method, cell.column, cell.condition, cell.statistic)))
        paper = ("-", "-") if cell.published is None else tuple(f"{value:.2f}" for value in cell.published)
        row = [place, str(cell.frames), interval_text(cell.position_m, tables.metres), paper[0]]
        row += [interval_text(cell.orientation_deg, tables.degrees), paper[1]]
        if originals:
            original = originals.get((cell.method, cell.column, cell.statistic))
            row += ["-", "-"] if original in (None, cell) else _against(cell, original)  # type: ignore[arg-type]
        if with_maps:
            row += _refined_columns(cell.refined)
        rows.append(row)
    return markdown_table(rows)


def _refined_columns(refined: RefinedCell | None) -> list[str]:
    if refined is None:
        return ["-", "-", "-"]
    return [
        tables.percent(refined.verified_share),
        tables.metres(refined.position_m),
        tables.degrees(refined.orientation_deg),
    ]


def _against(cell: Cell, original: Cell) -> list[str]:
    pairs = ((cell.position_m, original.position_m), (cell.orientation_deg, original.orientation_deg))
    return [f"{100 * (own.estimate / other.estimate - 1):+.0f} %" for own, other in pairs]


def _notes(reproduction: Reproduction) -> list[str]:
    notes = []
    if reproduction.changes:
        changes = ", ".join(f"{key}: {value}" for key, value in reproduction.changes.items())
        notes.append(
            f"A trial with other recipes than the paper's ({changes}): its figures say nothing of it."
        )
    if reproduction.cells:
        notes.append(
            "In brackets: 95 % intervals, from draws of blocks of frames"
            + (" and the spread of the seeds." if reproduction.seeds > 1 else "; one seed.")
        )
    if reproduction.conditions_made_by:
        notes.append(f"Conditions of the test images: {reproduction.conditions_made_by}.")
    if reproduction.table.number is None:
        notes.append("The paper's figures for this experiment are not among the published ones shipped here.")
    return [*notes, reproduction.table.note] if reproduction.table.note else notes


def _pair(figures: tuple[float, float]) -> str:
    return f"{figures[0]:.2f}, {figures[1]:.2f}"
