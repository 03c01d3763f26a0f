"""When the next message of a replay is due: a drift-free schedule, and answers that hold it back."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field

_NANOSECONDS = 1_000_000_000


class Schedule:
    """Maps recording time to the machine's monotonic clock.

    Every message's due time is counted from the start, never from the message before it, so that delays
    do not add up.

    Args:
        first_ns: recording time that the replay starts with, nanoseconds.
        rate: how many recorded seconds pass in one second.
    """

    def __init__(self, first_ns: int, rate: float) -> None:
        self._first_ns = first_ns
        self._rate = rate
        self._origin_ns = time.monotonic_ns()

    def remaining_s(self, stamp_ns: int) -> float:
        """Return the seconds until a recording time is due; negative when it is overdue."""
        due_ns = self._origin_ns + (stamp_ns - self._first_ns) / self._rate
        return (due_ns - time.monotonic_ns()) / _NANOSECONDS

    def recording_time_ns(self) -> int:
        """Return the recording time that is due now, nanoseconds."""
        return self._first_ns + round((time.monotonic_ns() - self._origin_ns) * self._rate)

    def resume_at(self, stamp_ns: int) -> None:
        """Make an overdue recording time due now: the schedule goes on from here, without catching up."""
        overdue_ns = -round(self.remaining_s(stamp_ns) * _NANOSECONDS)
        self._origin_ns += max(0, overdue_ns)


class Ticker:
    """Says when something that happens at a fixed frequency is due.

    Args:
        hertz: the frequency; 0 for never.
    """

    def __init__(self, hertz: float) -> None:
        self._period_ns = round(_NANOSECONDS / hertz) if hertz > 0 else 0
        self._next_ns = time.monotonic_ns()

    def remaining_s(self) -> float:
        """Return the seconds until the next tick; infinite without a frequency."""
        if not self._period_ns:
            return float("inf")
        return (self._next_ns - time.monotonic_ns()) / _NANOSECONDS

    def take(self) -> bool:
        """Tell whether a tick is due, and if so move on to the next one; missed ticks are not made up for."""
        if self.remaining_s() > 0:
            return False
        late = time.monotonic_ns() - self._next_ns
        self._next_ns += self._period_ns * (late // self._period_ns + 1)
        return True


@dataclass
class AnswerGate:
    """Counts the images that are out and not answered yet.

    An answer is a message whose header has the image's stamp, or the last of several such messages. It also
    settles every earlier image: those were left out on the way.

    Attributes:
        in_flight: how many images may be out at once.
        timeout_s: how long an answer is waited for, seconds.
        messages: how many messages answer one image.
        unanswered: images that got no answer in time, so far.
    """

    in_flight: int
    timeout_s: float
    messages: int = 1
    unanswered: int = 0
    _out: deque[int] = field(default_factory=deque)
    _come: Counter[int] = field(default_factory=Counter)
    _waiting_since: float | None = None

    def sent(self, stamp_ns: int) -> None:
        """Note that the image with this stamp went out."""
        self._out.append(stamp_ns)

    def answered(self, stamp_ns: int) -> None:
        """Note a message with this stamp; one that belongs to no image on the way changes nothing."""
        if stamp_ns not in self._out:
            return
        self._come[stamp_ns] += 1
        if self._come[stamp_ns] < self.messages:
            return
        while self._settle_oldest() != stamp_ns:
            self.unanswered += 1

    def is_open(self) -> bool:
        """Tell whether another image may go out; after `timeout_s` of asking in vain, give up the oldest."""
        if len(self._out) < self.in_flight:
            self._waiting_since = None
            return True
        now = time.monotonic()
        if self._waiting_since is None:
            self._waiting_since = now
        if now - self._waiting_since < self.timeout_s:
            return False
        self._settle_oldest()
        self.unanswered += 1
        self._waiting_since = None
        return True

    def _settle_oldest(self) -> int:
        stamp_ns = self._out.popleft()
        self._come.pop(stamp_ns, None)
        return stamp_ns
