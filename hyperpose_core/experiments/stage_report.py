"""What the stages of a training brought, as tables, a plot, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from hyperpose_core.evaluation import tables
from hyperpose_core.evaluation.documents import markdown_table, write_results
from hyperpose_core.evaluation.plot_style import interval_figure
from hyperpose_core.evaluation.statistics import Interval
from hyperpose_core.evaluation.tables import interval_text
from hyperpose_core.experiments.stage_table import Progress, StageTable

PLOT_FILE = "stages.png"


def write_stage_table(directory: Path, table: StageTable) -> Path:
    """Write `results.json`, `stages.png` and `results.md` into a folder.

    Returns:
        path of `results.md`.

    Raises:
        HyperPoseError: the folder cannot be written.
    """
    confidence = table.groups[0].position_m.medians[0].confidence
    blocks = [
        f"# What each stage of {table.network} brings",
        f"Trained on {table.training}, scored on {table.test}. Medians of the errors; in brackets "
        f"{100 * confidence:g} % intervals from draws of blocks of frames, differences paired by frame. They "
        "do not say how much another run of the same training would differ.",
        format_stage_table(table),
    ]
    return write_results(directory, asdict(table), blocks, {PLOT_FILE: stage_figure(table)})


def format_stage_table(table: StageTable) -> str:
    """Return what each stage changed, and a row a stage for each group of frames."""
    blocks = [_stages(table), _errors(table)]
    if len(table.stages) < table.planned:
        blocks.append(f"The run has finished {len(table.stages)} of {table.planned} stages.")
    return "\n\n".join(blocks)


def stage_figure(table: StageTable) -> Figure:
    """Median errors after each stage, group by group."""
    labels = [
        f"{group.label}, stage {place + 1}" for group in table.groups for place in range(len(table.stages))
    ]
    position, orientation = (
        [median for group in table.groups for median in getattr(group, kind).medians]
        for kind in ("position_m", "orientation_deg")
    )
    return interval_figure(
        labels, position, orientation, ("median position error (m)", "median orientation error (deg)")
    )


def _stages(table: StageTable) -> str:
    rows = [["stage", "trains", "epochs", "parts changed"]]
    for place, stage in enumerate(table.stages):
        changed = "-" if stage.changed is None else ", ".join(stage.changed) or "none"
        rows.append([str(place + 1), stage.trains, str(stage.epochs), changed])
    return markdown_table(rows)


def _errors(table: StageTable) -> str:
    rows = [
        ["frames", "after stage", "median m", "against stage before", "median deg", "against stage before"]
    ]
    for group in table.groups:
        for place in range(len(table.stages)):
            rows.append(
                [
                    f"{group.label} ({group.frames})",
                    f"{place + 1}: {table.stages[place].trains}",
                    *_cells(group.position_m, place, tables.metres),
                    *_cells(group.orientation_deg, place, tables.degrees),
                ]
            )
    return markdown_table(rows)


def _cells(progress: Progress, place: int, form: Callable[[float], str]) -> tuple[str, str]:
    median = interval_text(progress.medians[place], form)
    return median, _change(progress.changes[place - 1], form) if place else "-"


def _change(change: Interval, form: Callable[[float], str]) -> str:
    if change.low == change.high == 0.0:
        return "the same"
    return interval_text(change, form, sign=True)
