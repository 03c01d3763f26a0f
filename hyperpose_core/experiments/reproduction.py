"""The paper's tables, made again from whatever datasets are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.ecl.settings import describe_variants
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import FrameErrors
from hyperpose_core.evaluation.published import published_results, published_scene
from hyperpose_core.evaluation.statistics import Interval, confidence_interval
from hyperpose_core.experiments.paper_tables import Method, PaperTable, Unit
from hyperpose_core.experiments.refined_runs import refine_run
from hyperpose_core.experiments.runs import Run, make_run
from hyperpose_core.experiments.sources import Sources
from hyperpose_core.training.recipe import Recipe, load_recipe

_STATISTICS: Mapping[str, Callable[..., Any]] = {"median": np.median, "mean": np.mean}


@dataclass(frozen=True)
class RefinedCell:
    """The same figure of a landmark map's poses, over the frames that it verified, all seeds together.

    Attributes:
        verified_share: share of the frames that are verified.
        position_m: error in metres; infinite where no frame is verified.
        orientation_deg: error in degrees.
    """

    verified_share: float
    position_m: float
    orientation_deg: float


@dataclass(frozen=True)
class Cell:
    """One figure of a table, made here.

    Attributes:
        method: the row, as `published.csv` names it.
        column: the scene or test run.
        condition: of the test images; "" where they have none.
        statistic: "median" or "mean".
        frames: test frames.
        position_m: error in metres, averaged over the seeds.
        orientation_deg: error in degrees.
        published: the paper's figures (metres, degrees), or None.
        refined: what a landmark map of the training images makes of the same frames; None where none was
            asked, or the camera's intrinsics are not known.
    """

    method: str
    column: str
    condition: str
    statistic: str
    frames: int
    position_m: Interval
    orientation_deg: Interval
    published: tuple[float, float] | None
    refined: RefinedCell | None = None


@dataclass(frozen=True)
class Skipped:
    """What was not made, and why."""

    method: str
    unit: str
    reason: str


@dataclass(frozen=True)
class Reproduction:
    """A table, as far as it could be made.

    Attributes:
        table: which one.
        seeds: networks trained for each figure.
        changes: keys of the recipes that were replaced for a trial; then the figures are not the paper's
            experiment.
        cells: the figures.
        skipped: what is missing from the table.
        conditions_made_by: what made the conditions' images, where `hyperpose ecl generate` did.
    """

    table: PaperTable
    seeds: int
    changes: Mapping[str, Any]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]
    conditions_made_by: str = ""


@dataclass(frozen=True, eq=False)
class Job:
    """Networks to train for some columns of a row, one a seed."""

    method: Method
    unit: Unit
    recipe: Recipe
    training: PosedImageSet
    test: PosedImageSet


def plan_table(
    table: PaperTable, root: Path, changes: Mapping[str, Any] | None = None
) -> tuple[list[Job], list[Skipped]]:
    """Find out what can be made from the datasets below a folder, and why the rest cannot.

    Raises:
        HyperPoseError: there is no such folder, or the changes fit no recipe.
    """
    sources = Sources(root)
    jobs, skipped = [], []
    for method in table.methods:
        recipe = load_recipe(method.recipe, changes)
        for unit in table.units_of(method):
            try:
                job = Job(method, unit, recipe, *sources.open(table, unit))
            except HyperPoseError as error:
                skipped.append(Skipped(method.name, unit.name, str(error)))
                continue
            jobs.append(job)
            present = set(_columns(job.test))
            skipped += [
                Skipped(method.name, column, f"no test images of it in {job.test.name}")
                for column in unit.columns
                if column.casefold() not in present
            ]
    return jobs, skipped


def reproduce_table(
    table: PaperTable,
    root: Path,
    output: Path,
    *,
    seeds: Sequence[int] = (0,),
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    with_maps: bool = False,
) -> Reproduction:
    """Make every run of a table that is not made yet; a run that fails is skipped, and said.

    Args:
        table: what to make.
        root: the datasets lie in it, or one or two levels below.
        output: its folder `runs` gets a folder a run; tables that need the same run share it.
        seeds: of the networks trained for each figure.
        changes: keys of the recipes to replace, for trials.
        device: where to train.
        with_maps: also build the landmark map of each dataset whose camera is known, in the folder `maps`,
            and score what it makes of the networks' answers.

    Raises:
        HyperPoseError: there is no such folder, or the changes fit no recipe.
    """
    jobs, skipped = plan_table(table, root, changes)
    cells: list[Cell] = []
    for number, job in enumerate(jobs, start=1):
        print(f"network {number} of {len(jobs)}: {job.method.name}, {job.unit.name}", flush=True)
        try:
            planned = [_run_of(job, seed, output) for seed in seeds]
            runs = [make_run(run, device) for run in planned]
            refined = [refine_run(run, output / "maps", device) for run in planned] if with_maps else []
        except HyperPoseError as error:
            print(f"failed: {error}", flush=True)
            skipped.append(Skipped(job.method.name, job.unit.name, f"failed: {error}"))
            continue
        cells += _cells(table, job, runs, [errors for errors in refined if errors is not None])
    return Reproduction(
        table=table,
        seeds=len(seeds),
        changes=dict(changes or {}),
        cells=tuple(cells),
        skipped=tuple(skipped),
        conditions_made_by=describe_variants(image for job in jobs for image in job.test.images),
    )


def _run_of(job: Job, seed: int, output: Path) -> Run:
    folder = output / "runs" / f"{job.method.recipe}-{job.unit.name}-seed{seed}"
    return Run(folder, job.recipe, seed, job.training, job.test)


def _cells(
    table: PaperTable, job: Job, runs: Sequence[FrameErrors], refined: Sequence[FrameErrors]
) -> list[Cell]:
    columns = np.array(_columns(job.test))
    conditions = np.array([image.condition for image in job.test.images])
    cells = []
    for column in job.unit.columns:
        # RobotCar's conditions say what the weather was; only ECL's are columns of a table.
        wanted = dict.fromkeys(conditions.tolist()) if table.conditions else {"": None}
        for condition in wanted:
            inside = columns == column.casefold()
            rows = np.flatnonzero(inside & (conditions == condition) if condition else inside)
            if len(rows):
                cells += [
                    replace(
                        _cell(table, job.method, column, condition, statistic, rows, runs),
                        refined=_refined_cell(statistic, rows, refined),
                    )
                    for statistic in table.statistics
                ]
    return cells


def _cell(
    table: PaperTable,
    method: Method,
    column: str,
    condition: str,
    statistic: str,
    rows: np.ndarray,
    runs: Sequence[FrameErrors],
) -> Cell:
    figure = _STATISTICS[statistic]
    return Cell(
        method=method.name,
        column=column,
        condition=condition,
        statistic=statistic,
        frames=len(rows),
        position_m=confidence_interval([errors.position_m[rows] for errors in runs], figure),
        orientation_deg=confidence_interval([errors.orientation_deg[rows] for errors in runs], figure),
        published=published_figures(table, method.name, column, statistic),
    )


def _refined_cell(statistic: str, rows: np.ndarray, refined: Sequence[FrameErrors]) -> RefinedCell | None:
    if not refined:
        return None
    position = np.concatenate([errors.position_m[rows] for errors in refined])
    orientation = np.concatenate([errors.orientation_deg[rows] for errors in refined])
    verified = np.isfinite(position)
    if not verified.any():
        return RefinedCell(0.0, float("inf"), float("inf"))
    figure = _STATISTICS[statistic]
    return RefinedCell(
        float(verified.mean()), float(figure(position[verified])), float(figure(orientation[verified]))
    )


def published_figures(
    table: PaperTable, method: str, column: str, statistic: str
) -> tuple[float, float] | None:
    """Return the paper's figures (metres, degrees) for a cell, or None where it has none."""
    for result in published_results():
        if (result.table, result.method, result.scene, result.statistic) == (
            table.number,
            method,
            column,
            statistic,
        ):
            return result.position_m, result.orientation_deg
    return None


def _columns(test: PosedImageSet) -> list[str]:
    return [published_scene(image.scene, image.sequence).casefold() for image in test.images]
