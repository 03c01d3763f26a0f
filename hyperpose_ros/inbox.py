"""The newest-frame slot between the subscription's callback and the worker.

A frame that arrives while another waits replaces it: a localizer that falls behind must answer for now, not
for then. What is dropped is counted by cause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image

from hyperpose_ros.counters import FrameLedger, Outcome

DROPPED_SUPERSEDED = "superseded"
DROPPED_TOO_OLD = "too_old"
DROPPED_TIME_JUMP = "time_jump"
DROPPED_DEACTIVATED = "deactivated"


@dataclass(frozen=True, eq=False)
class Frame:
    """An image message on its way.

    Attributes:
        message: as it was received.
        stamp_ns: its header's stamp, nanoseconds.
        received_ns: when it was received, nanoseconds of the monotonic clock.
        epoch: counts activations and jumps back in time; state of one epoch says nothing about another.
    """

    message: Image | CompressedImage
    stamp_ns: int
    received_ns: int
    epoch: int


class Inbox:
    """Holds at most one frame; closed until it is opened."""

    def __init__(self, ledger: FrameLedger, max_age_ns: Callable[[], int], now_ns: Callable[[], int]) -> None:
        """Build a closed inbox.

        Args:
            ledger: where drops are counted.
            max_age_ns: the age limit now in nanoseconds, 0 for none.
            now_ns: the time now, on the clock of the stamps, in nanoseconds.
        """
        self._ledger = ledger
        self._max_age_ns = max_age_ns
        self._now_ns = now_ns
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._is_open = False
        self._epoch = 0
        self._newest_stamp_ns: int | None = None

    def open(self) -> None:
        """Let frames in; a new epoch begins."""
        with self._changed:
            self._is_open = True
            self._begin_epoch()

    def close(self) -> None:
        """Let no frame in any more, drop the one that waits, and wake whoever waits for one."""
        with self._changed:
            self._is_open = False
            self._drop_waiting(DROPPED_DEACTIVATED)
            self._changed.notify_all()

    def put(self, message: Image | CompressedImage, stamp_ns: int, received_ns: int) -> bool:
        """Put in a frame that the ledger has counted as received, in place of one that waits.

        Args:
            message: the image message.
            stamp_ns: its stamp in nanoseconds.
            received_ns: when it was received, nanoseconds of the monotonic clock.

        Returns:
            False where the stamp lies before an earlier frame's: time has jumped back (a bag that loops, a
            simulation that starts again), and a new epoch has begun with this frame.
        """
        with self._changed:
            if not self._is_open:
                self._ledger.settle(Outcome.DROPPED, DROPPED_DEACTIVATED)
                return True
            jumped = self._newest_stamp_ns is not None and stamp_ns < self._newest_stamp_ns
            self._drop_waiting(DROPPED_TIME_JUMP if jumped else DROPPED_SUPERSEDED)
            if jumped:
                self._begin_epoch()
                self._ledger.jump()
            self._newest_stamp_ns = stamp_ns
            self._frame = Frame(message, stamp_ns, received_ns, self._epoch)
            self._changed.notify_all()
            return not jumped

    def take(self) -> Frame | None:
        """Wait for a frame that is not too old and take it out; None once the inbox is closed."""
        with self._changed:
            while self._is_open:
                frame, self._frame = self._frame, None
                if frame is None:
                    self._changed.wait()
                elif self._is_too_old(frame):
                    self._ledger.settle(Outcome.DROPPED, DROPPED_TOO_OLD)
                else:
                    return frame
            return None

    def has_waiting(self) -> bool:
        """Tell whether a frame waits to be taken."""
        with self._changed:
            return self._frame is not None

    def _is_too_old(self, frame: Frame) -> bool:
        limit = self._max_age_ns()
        return limit > 0 and self._now_ns() - frame.stamp_ns > limit

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._newest_stamp_ns = None

    def _drop_waiting(self, cause: str) -> None:
        if self._frame is not None:
            self._frame = None
            self._ledger.settle(Outcome.DROPPED, cause)
