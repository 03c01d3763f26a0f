"""The figures that the HyperPose paper publishes (Tables 1 to 4), to hold a result beside."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import Scores, Summary

_TEST_FRAMES = {
    "chess": 2000,
    "fire": 2000,
    "heads": 1000,
    "office": 4000,
    "pumpkin": 2000,
    "redkitchen": 5000,
    "stairs": 1000,
    "KingsCollege": 343,
    "OldHospital": 182,
    "ShopFacade": 103,
    "StMarysChurch": 530,
}
_ROBOTCAR_RUNS = {
    "2014-06-23-15-36-04": "LOOP1",
    "2014-06-23-15-41-25": "LOOP2",
    "2014-12-12-10-45-15": "FULL1",
    "2014-12-09-13-21-02": "FULL2",
}


@dataclass(frozen=True)
class PublishedResult:
    """One cell of the paper's tables.

    Attributes:
        table: the table's number.
        dataset: "7scenes", "cambridge" or "robotcar".
        scene: the scene's name, or the test run's ("LOOP1").
        family: kind of method: APR, SCR, Seq, IR, RPR.
        method: name of the method.
        statistic: "median" or "mean" over the test frames.
        position_m: position error, m.
        orientation_deg: orientation error, deg.
    """

    table: int
    dataset: str
    scene: str
    family: str
    method: str
    statistic: str
    position_m: float
    orientation_deg: float


@dataclass(frozen=True)
class PublishedComparison:
    """A result beside what is published for the same scene.

    Attributes:
        scene: the scene as the paper calls it.
        summary: the result's figures.
        results: published figures, by statistic and position error.
        note: why the figures are not quite comparable, or "".
    """

    scene: str
    summary: Summary
    results: tuple[PublishedResult, ...]
    note: str


def published_results() -> tuple[PublishedResult, ...]:
    """All published figures, in the paper's order."""
    text = files("hyperpose_core.evaluation").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedResult(
            table=int(row["table"]),
            dataset=row["dataset"],
            scene=row["scene"],
            family=row["family"],
            method=row["method"],
            statistic=row["statistic"],
            position_m=float(row["position_m"]),
            orientation_deg=float(row["orientation_deg"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def published_scene(scene: str, sequence: str) -> str:
    """The name under which the paper has a scene: RobotCar's test runs have names of their own there."""
    return _ROBOTCAR_RUNS.get(sequence, scene)


def require_published(scenes: Iterable[str]) -> None:
    """Check that at least one of the scenes has published figures.

    Raises:
        HyperPoseError: if none has; it names the scenes that have.
    """
    wanted = sorted(set(scenes))
    known = {result.scene: None for result in published_results()}
    if not {_key(scene) for scene in wanted} & {_key(scene) for scene in known}:
        named = ", ".join(repr(scene) for scene in wanted)
        raise HyperPoseError(
            f"no published figures for scene {named}; there are figures for {', '.join(known)}"
        )


def compare_with_published(scores: Scores) -> tuple[PublishedComparison, ...]:
    """Set each scene of a result beside its published figures; scenes without any are left out.

    Raises:
        HyperPoseError: if no scene has published figures.
    """
    require_published(summary.label for summary in scores.scenes)
    everything = published_results()
    comparisons = []
    for summary in scores.scenes:
        results = [result for result in everything if _key(result.scene) == _key(summary.label)]
        if results:
            scene = results[0].scene
            ordered = sorted(results, key=lambda result: (result.statistic != "median", result.position_m))
            note = _note(results[0], summary)
            comparisons.append(PublishedComparison(scene, summary, tuple(ordered), note))
    return tuple(comparisons)


def _note(result: PublishedResult, summary: Summary) -> str:
    official = _TEST_FRAMES.get(result.scene)
    if result.dataset == "robotcar":
        return "Published RobotCar figures are errors of the INS body's pose, not of the camera's."
    if official is not None and summary.frames != official:
        return f"Scored on {summary.frames} frames, not on the {official} of the official test split."
    return ""


def _key(scene: str) -> str:
    return "".join(character for character in scene.lower() if character.isalnum())
