"""Times things side by side: in turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

Array = npt.NDArray[np.float64]
Name = TypeVar("Name")

_RESAMPLES = 2000


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: turns that each candidate gets, at most.
        runs: timed runs a turn, after one that warms caches up and is not timed.
        seconds: no round begins later than this.
    """

    rounds: int = 15
    runs: int = 3
    seconds: float = 40.0

    @classmethod
    def chosen(cls, quick: bool, seconds: float = 40.0) -> Effort:
        """Give the usual effort, or that of a quick look."""
        return cls(rounds=4, runs=2, seconds=seconds / 5) if quick else cls(seconds=seconds)


@dataclass(frozen=True)
class Interval:
    """A median with its 95% bootstrap interval."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2, unit: str = "") -> str:
        """Write "1.50 (1.45 to 1.56)" with a unit after the first number."""
        return f"{self.median:.{digits}f}{unit} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def measure(tasks: Mapping[Name, Callable[[], object]], effort: Effort) -> dict[Name, Array]:
    """Run all tasks in turns, forwards and backwards.

    Args:
        tasks: what to time, by name; each is run a few times beforehand.
        effort: how often.

    Returns:
        milliseconds by name, the median of each turn; equal places belong to the same round.
    """
    for task in tasks.values():
        for _ in range(effort.runs):
            task()
    turns: dict[Name, list[float]] = {name: [] for name in tasks}
    order = list(tasks)
    deadline = time.monotonic() + effort.seconds
    for round_number in tqdm(range(effort.rounds), unit="round", leave=False, disable=None):
        if round_number >= 3 and time.monotonic() > deadline:
            break
        for name in order:
            turns[name].append(_turn(tasks[name], effort.runs))
        order.reverse()
    return {name: np.array(values) for name, values in turns.items()}


def median_of(values: Array) -> Interval:
    """Give the median of values [N] and its interval; seeded, so that a report can be made again."""
    generator = np.random.default_rng(0)
    resampled = np.median(generator.choice(values, (_RESAMPLES, len(values))), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(float(np.median(values)), float(low), float(high))


def times_faster(reference: Array, other: Array) -> Interval:
    """Say how many times faster the other is, from paired rounds."""
    return median_of(reference / other)


def _turn(task: Callable[[], object], runs: int) -> float:
    task()
    durations = []
    for _ in range(runs):
        begin = time.perf_counter()
        task()
        durations.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(durations)
