"""What became of every frame, and how long it took: numbers that diagnostics and tests read.

Every frame that the subscription delivers is counted as received once and then settled once, so that always
received = published + withheld + refused + dropped + in flight.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

_LATENCY_WINDOW = 256


class Outcome(Enum):
    """What a frame ends as."""

    PUBLISHED = "published"
    WITHHELD = "withheld"
    """An estimate was made, or tried, and is not fit to be published."""
    REFUSED = "refused"
    """The message is no image that this node reads."""
    DROPPED = "dropped"
    """A good image that was not looked at."""


@dataclass(frozen=True)
class FrameCounts:
    """All counters at one instant.

    Attributes:
        received: frames that the subscription has delivered.
        published: frames answered with a pose.
        withheld: estimates kept back, by cause.
        refused: messages refused, by cause.
        dropped: frames not looked at, by cause.
        in_flight: frames waiting or being worked on.
        time_jumps: how often the images' stamps went back.
    """

    received: int
    published: int
    withheld: Mapping[str, int]
    refused: Mapping[str, int]
    dropped: Mapping[str, int]
    in_flight: int
    time_jumps: int


class FrameLedger:
    """Counts frames; safe to use from any thread, and consistent at every instant."""

    def __init__(self) -> None:
        """Start with all counters at zero."""
        self._lock = threading.Lock()
        self._received = 0
        self._in_flight = 0
        self._time_jumps = 0
        self._settled: dict[Outcome, Counter[str]] = {outcome: Counter() for outcome in Outcome}

    def receive(self) -> None:
        """Count a frame that the subscription delivered; it is in flight until it is settled."""
        with self._lock:
            self._received += 1
            self._in_flight += 1

    def settle(self, outcome: Outcome, cause: str = "") -> None:
        """Count what became of one frame in flight, for a cause where there are several."""
        with self._lock:
            self._in_flight -= 1
            self._settled[outcome][cause] += 1

    def jump(self) -> None:
        """Count a jump back in time."""
        with self._lock:
            self._time_jumps += 1

    def counts(self) -> FrameCounts:
        """Return all counters as they are at this instant."""
        with self._lock:
            return FrameCounts(
                received=self._received,
                published=self._settled[Outcome.PUBLISHED].total(),
                withheld=dict(self._settled[Outcome.WITHHELD]),
                refused=dict(self._settled[Outcome.REFUSED]),
                dropped=dict(self._settled[Outcome.DROPPED]),
                in_flight=self._in_flight,
                time_jumps=self._time_jumps,
            )


@dataclass(frozen=True)
class StageLatency:
    """How long one stage took over the latest frames.

    Attributes:
        stage: its name.
        median_ms: median in milliseconds.
        p95_ms: 95th percentile in milliseconds.
    """

    stage: str
    median_ms: float
    p95_ms: float


class LatencyRecorder:
    """Durations of each stage over the latest frames; safe to use from any thread."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._durations_ns: dict[str, deque[int]] = {}

    def record(self, durations_ns: Mapping[str, int]) -> None:
        """Add one frame's durations in nanoseconds by stage."""
        with self._lock:
            for stage, duration in durations_ns.items():
                self._durations_ns.setdefault(stage, deque(maxlen=_LATENCY_WINDOW)).append(duration)

    def summary(self) -> tuple[StageLatency, ...]:
        """Return each stage's median and 95th percentile, in the order in which stages were first seen."""
        with self._lock:
            copies = {stage: list(durations) for stage, durations in self._durations_ns.items()}
        return tuple(
            StageLatency(stage, *(float(value) / 1e6 for value in np.percentile(durations, [50, 95])))
            for stage, durations in copies.items()
        )
