"""The report of a training run: loss curves, held-out errors and the recipe on one page."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation import tables
from hyperpose_core.evaluation.plot_style import (
    INK,
    MUTED,
    ORIENTATION,
    POSITION,
    new_figure,
    save_figure,
    style_axes,
)
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.poses import Array
from hyperpose_core.training.recommendation import Recommendation
from hyperpose_core.training.run_folder import EpochResult, RunFolder, read_identity
from hyperpose_core.untrusted import reading

REPORT_FILE = "report.html"
LOSS_PLOT = "loss.png"
HELD_OUT_PLOT = "held_out_errors.png"

_DOTS_PER_INCH = 120


def write_training_report(run_folder: Path) -> Path:
    """Write `report.html`, which holds its plots itself, and the plots as PNG files beside it.

    Args:
        run_folder: a folder that a training run wrote: `history.csv` and `recipe.yaml`.

    Returns:
        path of `report.html`.

    Raises:
        HyperPoseError: the folder holds no finished epoch, or cannot be written.
    """
    history = RunFolder(run_folder).history()
    if not history:
        raise HyperPoseError(f"{run_folder}: no finished epoch to report (history.csv is missing or empty)")
    try:
        identity = read_identity(run_folder)
        choice = RunFolder(run_folder).choice()
        plots = {LOSS_PLOT: loss_figure(history)}
        if _held_out(history):
            plots[HELD_OUT_PLOT] = held_out_figure(history, None if choice is None else choice.epoch)
        for name, figure in plots.items():
            save_figure(figure, run_folder / name, _DOTS_PER_INCH)
        report = run_folder / REPORT_FILE
        with reading(run_folder, "run"):
            page = _render(run_folder, history, identity, list(plots), choice)
            replace_text(report, page, "report")
    except OSError as error:
        raise HyperPoseError(f"{run_folder}: cannot write the report: {error.strerror or error}") from error
    return report


def loss_figure(history: Sequence[EpochResult]) -> Figure:
    """Mean training loss of each epoch; stages have losses of their own, so a panel a stage."""
    stages = sorted({result.stage for result in history})
    figure = new_figure(10.0, 3.6)
    for axes, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        results = [result for result in history if result.stage == stage]
        epochs = [result.epoch for result in results]
        axes.plot(epochs, [result.training_loss for result in results], ".-", color=INK)
        axes.set(xlabel="epoch", ylabel="training loss")
        _whole_epochs(axes, epochs)
        style_axes(axes, f"stage {stage}" if len(stages) > 1 else "")
    return figure


def held_out_figure(history: Sequence[EpochResult], recommended: int | None = None) -> Figure:
    """Median errors on held-out blocks after each epoch, with the least and the recommended one marked."""
    figure = new_figure(10.0, 3.6)
    epochs = [result.epoch for result in history]
    starts = [
        after.epoch - 0.5 for before, after in itertools.pairwise(history) if after.stage != before.stage
    ]
    columns = (
        ([result.position_median_m for result in history], POSITION, "position error (m)", tables.metres),
        (
            [result.orientation_median_deg for result in history],
            ORIENTATION,
            "orientation error (deg)",
            tables.degrees,
        ),
    )
    for axes, (values, colour, name, form) in zip(figure.subplots(1, 2), columns, strict=True):
        finite = np.where(np.isfinite(values), values, np.nan)
        axes.plot(epochs, finite, ".-", color=colour)
        if recommended in epochs:
            place = epochs.index(recommended)
            axes.plot(
                recommended, finite[place], "D", color=colour, label=f"recommended: epoch {recommended}"
            )
        _mark_least(axes, epochs, finite, form)
        for start in starts:
            axes.axvline(start, color=MUTED, linestyle=":", linewidth=1.0)
        axes.set(xlabel="epoch", ylabel=f"median {name}")
        _whole_epochs(axes, epochs)
        style_axes(axes)
    return figure


def _mark_least(axes: Axes, epochs: Sequence[int], values: Array, form: Callable[[float], str]) -> None:
    if np.isnan(values).all():
        return
    least = int(np.nanargmin(values))
    label = f"least: {form(values[least])}, epoch {epochs[least]}"
    axes.plot([epochs[least]], [values[least]], "o", color=INK, label=label)
    if np.nanmax(values) > 10 * np.nanmin(values) > 0:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0.0, 1.1 * float(np.nanmax(values)))
    axes.legend(fontsize=8, frameon=False)


def _whole_epochs(axes: Axes, epochs: Sequence[int]) -> None:
    step = max(1, -(-len(epochs) // 10))
    axes.set_xticks(list(epochs)[::step])


def _held_out(history: Sequence[EpochResult]) -> list[EpochResult]:
    return [result for result in history if np.isfinite(result.position_median_m)]


def _render(
    run_folder: Path,
    history: Sequence[EpochResult],
    identity: Mapping[str, Any],
    plots: Sequence[str],
    choice: Recommendation | None,
) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(metres=tables.metres, degrees=tables.degrees, number=tables.number)
    template = files("hyperpose_core.training").joinpath("report_template.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        title=f"Training of {identity['recipe']['model']} on {identity['data']}",
        data="; ".join([identity["data"], *([identity["unit"]] if "unit" in identity else [])]),
        seed=identity["seed"],
        history=history,
        last=history[-1],
        choice=choice,
        held_out=bool(_held_out(history)),
        stages=len({result.stage for result in history}),
        images_per_second=float(np.median([result.images_per_second for result in history])),
        recipe=yaml.safe_dump(identity["recipe"], sort_keys=False, default_flow_style=False),
        plots=[base64.b64encode((run_folder / name).read_bytes()).decode("ascii") for name in plots],
    )
