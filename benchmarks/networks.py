"""Each network, one image at a time: the engines against the plain implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.measuring import Array, Interval, measure, median_of, times_faster
from benchmarks.plain import plain_network
from benchmarks.results import Section, Target
from benchmarks.subjects import COMPRESSED_WAYS, WAYS, Subject, Way, random_images
from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.inference.engines.build_network import build_network
from hyperpose_core.models.output import PoseArrays, PoseOutput

PLAIN = "plain"
EQUAL = 1e-4


@dataclass(frozen=True)
class Case:
    """A network and what is wanted of it: times faster than the plain one."""

    architecture: str
    scenes: int
    wanted_equal: float | None
    wanted_lowered: float | None
    ways: tuple[Way, ...] = WAYS


CASES = (
    Case("mshyperpose", 7, 3.0, 5.0, WAYS + COMPRESSED_WAYS),
    Case("hyperpose", 1, 1.4, 2.0),
    Case("posenet", 1, 1.4, 2.0),
    Case("atloc", 1, 1.2, 2.0),
    Case("hyperatloc", 1, 1.2, 2.0),
    Case("mstransformer", 7, None, None),
)


@dataclass
class Outcome:
    """What was found for one network.

    Attributes:
        turns: milliseconds of each turn, by way.
        differences: largest difference of an output from the plain one's, relative to that output's largest
            value, by way.
        missing: why a way could not be had.
    """

    turns: Mapping[str, Array]
    differences: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def faster(self, way: str) -> Interval:
        """Say how many times faster than the plain network a way is."""
        return times_faster(self.turns[PLAIN], self.turns[way])

    def best(self, equal: bool) -> str | None:
        """Name the fastest way whose outputs are equal to the plain ones, or the fastest of the others."""
        ways = [way for way, difference in self.differences.items() if (difference <= EQUAL) == equal]
        return max(ways, key=lambda way: self.faster(way).median, default=None)


def measure_networks(context: Context) -> Section:
    """Measure all networks."""
    section = Section(
        "One image",
        [
            "Batch 1, 224x224 pixels, random weights; `plain` is `benchmarks/plain/`: stock torch and "
            "torchvision modules in float32, as the paper describes the networks and the released code runs "
            "them. `difference` is the largest one of any output from the plain network's, relative to that "
            "output's largest value. What lowered precision does to a trained network's errors is measured "
            "under Accuracy."
        ],
        [[["network", "way", "median", "times faster", "difference"]]],
    )
    for case in tqdm(CASES, unit="network", disable=None):
        outcome = _measure(context, case)
        section.tables[0].extend(_rows(case, outcome))
        section.targets.extend(_targets(case, outcome))
        section.notes.extend(
            f"{case.architecture}, {way}: {reason}" for way, reason in outcome.missing.items()
        )
    return section


def _measure(context: Context, case: Case) -> Outcome:
    subject = context.untrained(case.architecture, case.scenes)
    images = random_images(1)
    tasks = plain_and_ways(subject, case.ways, images)
    with torch.inference_mode():
        expected = tasks[PLAIN]()
        differences = {name: difference(expected, task()) for name, task in tasks.items() if name != PLAIN}
        turns = measure(tasks, context.effort(25.0 if case.scenes > 1 else 12.0))
    return Outcome(turns, differences, subject.missing)


def plain_and_ways(
    subject: Subject, ways: tuple[Way, ...], images: torch.Tensor
) -> dict[str, Callable[[], PoseOutput | PoseArrays]]:
    """Give what runs a network on images, plainly and in each way that can be had, by name."""
    plain = plain_network(build_network(load_checkpoint(subject.checkpoint)))
    tasks: dict[str, Callable[[], PoseOutput | PoseArrays]] = {PLAIN: partial(plain, images)}
    for way in ways:
        engine = subject.engine(way, (images.shape[-2], images.shape[-1]))
        if engine is not None:
            tasks[way.name] = partial(engine, images)
    return tasks


def difference(expected: PoseOutput, output: PoseArrays) -> float:
    """Give the largest difference of an output, relative to the largest value expected of it."""
    names = ("position", "orientation", "scene_log_probabilities")
    right = expected.arrays()
    pairs = [(getattr(right, name), getattr(output, name)) for name in names]
    return max(
        float(np.abs(value - wanted).max() / np.abs(wanted).max())
        for wanted, value in pairs
        if wanted is not None
    )


def _rows(case: Case, outcome: Outcome) -> list[list[str]]:
    rows = []
    for way, turns in outcome.turns.items():
        median = f"{np.median(turns):.1f} ms"
        if way == PLAIN:
            rows.append([case.architecture, way, median, "", ""])
        else:
            faster = median_of(outcome.turns[PLAIN] / turns)
            rows.append([case.architecture, way, median, faster.text(), f"{outcome.differences[way]:.0e}"])
    return rows


def _targets(case: Case, outcome: Outcome) -> list[Target]:
    targets = []
    for equal, wanted in ((True, case.wanted_equal), (False, case.wanted_lowered)):
        if wanted is None:
            continue
        what = f"{case.architecture}, {'equal outputs (1e-4)' if equal else 'lowered precision'}"
        way = outcome.best(equal)
        if way is None:
            targets.append(Target(what, f"{wanted:g}x", "no such way here", None))
            continue
        faster = outcome.faster(way)
        targets.append(
            Target(what, f"{wanted:g}x", f"{faster.text()}x ({way})", bool(faster.median >= wanted))
        )
    return targets
