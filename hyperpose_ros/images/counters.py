"""What became of every frame, and how long it took: numbers that diagnostics and tests read.

Every frame that the subscription delivers is counted as received once and then settled once, so that always
received = published + withheld + refused + dropped + in flight.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from hyperpose_ros.common.throttled_warnings import ThrottledWarnings

DROPPED_SUPERSEDED = "superseded"
DROPPED_RATE_LIMITED = "rate_limited"
DROPPED_DEACTIVATED = "deactivated"
DROPPED_DISABLED = "disabled"
_ASKED_FOR = (DROPPED_RATE_LIMITED, DROPPED_DEACTIVATED, DROPPED_DISABLED)

_RECENT = 50
_FEWEST = 10
_LATENCY_WINDOW = 256
_RATE_WINDOW_NS = 5_000_000_000


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


@dataclass(frozen=True)
class RecentFrames:
    """What became of the latest frames, but for those that somebody wanted dropped.

    Attributes:
        frames: how many are remembered, at most 50.
        unanswered: how many of them, by what they ended as and for what.
    """

    frames: int
    unanswered: Mapping[tuple[Outcome, str], int]

    @property
    def problem(self) -> str:
        """A sentence where most of the latest frames were not answered; empty where they were, or are few."""
        count = sum(self.unanswered.values())
        if self.frames < _FEWEST or 2 * count <= self.frames:
            return ""
        outcome, cause = max(self.unanswered, key=lambda kind: self.unanswered[kind])
        remedy = "the log says more"
        if cause == DROPPED_SUPERSEDED:
            remedy = "they come faster than they are answered: set max_rate to what you need"
        return (
            f"{count} of the latest {self.frames} images were not answered, most of them {outcome.value} "
            f"for {cause}; {remedy}"
        )


class FrameLedger:
    """Counts frames; safe to use from any thread, and consistent at every instant."""

    def __init__(self) -> None:
        """Start with all counters at zero."""
        self._lock = threading.Lock()
        self._received = 0
        self._in_flight = 0
        self._time_jumps = 0
        self._settled: dict[Outcome, Counter[str]] = {outcome: Counter() for outcome in Outcome}
        self._recent: deque[tuple[Outcome, str]] = deque(maxlen=_RECENT)

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
            if outcome is not Outcome.DROPPED or cause not in _ASKED_FOR:
                self._recent.append((outcome, cause))

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

    def recent(self) -> RecentFrames:
        """Return what became of the latest frames."""
        with self._lock:
            kinds = list(self._recent)
        return RecentFrames(len(kinds), Counter(kind for kind in kinds if kind[0] is not Outcome.PUBLISHED))


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
    """How long each stage took over the latest answers, and how often one came; safe in any thread."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._durations_ns: dict[str, deque[int]] = {}
        self._first_ns: int | None = None
        self._recent_ns: deque[int] = deque()

    def record(self, durations_ns: Mapping[str, int], stamp_ns: int | None = None) -> None:
        """Add an answer that has just been given.

        Args:
            durations_ns: how long each stage took, nanoseconds.
            stamp_ns: the images' stamp, for a recorder that keeps answers apart.
        """
        now_ns = time.monotonic_ns()
        with self._lock:
            self._first_ns = now_ns if self._first_ns is None else self._first_ns
            self._recent_ns.append(now_ns)
            self._forget_before(now_ns - _RATE_WINDOW_NS)
            for stage, duration in durations_ns.items():
                self._durations_ns.setdefault(stage, deque(maxlen=_LATENCY_WINDOW)).append(duration)

    def rate_hz(self) -> float:
        """Return how many answers a second there were over the last five seconds."""
        now_ns = time.monotonic_ns()
        with self._lock:
            self._forget_before(now_ns - _RATE_WINDOW_NS)
            if self._first_ns is None:
                return 0.0
            window_ns = min(_RATE_WINDOW_NS, max(now_ns - self._first_ns, 1_000_000_000))
            return len(self._recent_ns) * 1e9 / window_ns

    def summary(self) -> tuple[StageLatency, ...]:
        """Return each stage's median and 95th percentile, in the order in which stages were first seen."""
        with self._lock:
            copies = {stage: list(durations) for stage, durations in self._durations_ns.items()}
        return tuple(
            StageLatency(stage, *(float(value) / 1e6 for value in np.percentile(durations, [50, 95])))
            for stage, durations in copies.items()
        )

    def _forget_before(self, begin_ns: int) -> None:
        while self._recent_ns and self._recent_ns[0] < begin_ns:
            self._recent_ns.popleft()


class StageClock:
    """Takes the times of one answer's stages, each of which begins where the one before it ended."""

    def __init__(self, begin_ns: int) -> None:
        """Begin the first stage; nanoseconds of the monotonic clock."""
        self._marks: list[tuple[str, int]] = [("", begin_ns)]

    def end(self, stage: str, now_ns: int | None = None) -> None:
        """End a stage, now or when it did; nanoseconds of the monotonic clock."""
        self._marks.append((stage, time.monotonic_ns() if now_ns is None else now_ns))

    def durations_ns(self) -> dict[str, int]:
        """Return how long each stage took that has ended, and "total", their sum; nanoseconds."""
        spans = zip(self._marks, self._marks[1:], strict=False)
        durations = {stage: end_ns - begin_ns for (_, begin_ns), (stage, end_ns) in spans}
        return {**durations, "total": self._marks[-1][1] - self._marks[0][1]}


@dataclass(frozen=True, eq=False)
class FrameAccounts:
    """Where it is counted, timed and told what becomes of frames; safe to use from any thread.

    Attributes:
        ledger: counts every frame.
        latencies: keeps how long answers took.
        warnings: tells what went wrong.
    """

    ledger: FrameLedger
    latencies: LatencyRecorder
    warnings: ThrottledWarnings

    def settle(self, outcome: Outcome, cause: str = "", warning: str = "", frames: int = 1) -> None:
        """Count what became of frames in flight, for a cause, and warn of it where there is a text."""
        for _ in range(frames):
            self.ledger.settle(outcome, cause)
        if warning:
            self.warnings.warn(cause, warning)
