"""The newest-frame slot between the subscriptions' callbacks and the worker.

Frames of several cameras whose stamps nearly agree make one set. A set that is there while another waits
replaces it: a localizer that falls behind must answer for now, not for then. What is dropped is counted by
cause.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image

from hyperpose_ros.common.time_jumps import LONGEST_DELAY_NS
from hyperpose_ros.images.counters import (
    DROPPED_DEACTIVATED,
    DROPPED_RATE_LIMITED,
    DROPPED_SUPERSEDED,
    FrameLedger,
    Outcome,
)

DROPPED_UNMATCHED = "unmatched"
DROPPED_OUT_OF_ORDER = "out_of_order"
DROPPED_TOO_OLD = "too_old"
DROPPED_TIME_JUMP = "time_jump"


@dataclass(frozen=True, eq=False)
class Frame:
    """An image message on its way.

    Attributes:
        message: as it was received.
        stamp_ns: its header's stamp, nanoseconds.
        received_ns: when it was received, nanoseconds of the monotonic clock.
        epoch: counts activations and jumps back in time; state of one epoch says nothing about another.
        camera: the camera's place in the node's list of cameras.
    """

    message: Image | CompressedImage
    stamp_ns: int
    received_ns: int
    epoch: int
    camera: int = 0


@dataclass(frozen=True, eq=False)
class FrameSet:
    """The frames that are answered together, one a camera.

    Attributes:
        frames: at least one.
        epoch: of all of them.
    """

    frames: tuple[Frame, ...]
    epoch: int

    @property
    def stamp_ns(self) -> int:
        """The newest frame's stamp, nanoseconds."""
        return max(frame.stamp_ns for frame in self.frames)


@dataclass(frozen=True)
class InboxLimits:
    """What the inbox lets through; zero is no limit.

    Attributes:
        max_age_ns: between a frame's stamp and now, nanoseconds.
        shortest_period_ns: from the receipt of one set let in to that of the next, in the long run; single
            ones may follow half as soon. Nanoseconds.
        sync_tolerance_ns: between the stamps in a set, and from its first frame's receipt until it no longer
            waits for the cameras that are missing; nanoseconds.
    """

    max_age_ns: int = 0
    shortest_period_ns: int = 0
    sync_tolerance_ns: int = 0


class Inbox:
    """Holds at most one set of frames that waits, and one that forms; closed until it is opened.

    A set is closed when every camera is in it, when a frame arrives that is too new for it, or when it has
    waited long enough: a camera that is silent holds nobody up. Sets go out in the order of their stamps; a
    frame that comes after its set is dropped.
    """

    def __init__(
        self,
        ledger: FrameLedger,
        limits: Callable[[], InboxLimits],
        now_ns: Callable[[], int],
        cameras: int = 1,
    ) -> None:
        """Build a closed inbox.

        Args:
            ledger: where drops are counted.
            limits: the limits now.
            now_ns: the time now, on the clock of the stamps, in nanoseconds.
            cameras: how many there are.
        """
        self._ledger = ledger
        self._limits = limits
        self._now_ns = now_ns
        self._cameras = cameras
        self._changed = threading.Condition()
        self._forming: dict[int, Frame] = {}
        self._forming_since_ns = 0
        self._ready: tuple[Frame, ...] = ()
        self._is_open = False
        self._epoch = 0
        self._newest_stamps_ns: dict[int, int] = {}
        self._closed_stamp_ns: int | None = None
        self._let_in_ns: int | None = None
        self._early_by_ns = 0

    def open(self) -> None:
        """Let frames in; a new epoch begins."""
        with self._changed:
            self._is_open = True
            self._let_in_ns = None
            self._begin_epoch()

    def close(self) -> None:
        """Let no frame in any more, drop those that wait, and wake whoever waits for one."""
        with self._changed:
            self._is_open = False
            self._drop_waiting(DROPPED_DEACTIVATED)
            self._changed.notify_all()

    def restart(self) -> None:
        """Begin a new epoch; what waits belongs to it."""
        with self._changed:
            self._begin_epoch()

    def put(self, message: Image | CompressedImage, stamp_ns: int, received_ns: int, camera: int = 0) -> bool:
        """Put in a frame that the ledger has counted as received.

        Args:
            message: the image message.
            stamp_ns: its stamp in nanoseconds.
            received_ns: when it was received, nanoseconds of the monotonic clock.
            camera: the camera's place in the node's list of cameras.

        Returns:
            False where the stamp lies more than `LONGEST_DELAY_NS` before that of an earlier frame of this
            camera: time has jumped back (a bag that loops, a simulation that starts again), and a new epoch
            has begun with this frame. One that lies before it by less is only late, and dropped.
        """
        with self._changed:
            if not self._is_open:
                self._ledger.settle(Outcome.DROPPED, DROPPED_DEACTIVATED)
                return True
            previous_ns = self._newest_stamps_ns.get(camera)
            behind_ns = 0 if previous_ns is None else previous_ns - stamp_ns
            jumped = behind_ns > LONGEST_DELAY_NS
            if 0 < behind_ns <= LONGEST_DELAY_NS:
                self._ledger.settle(Outcome.DROPPED, DROPPED_OUT_OF_ORDER)
                return True
            if jumped:
                self._drop_waiting(DROPPED_TIME_JUMP)
                self._begin_epoch()
                self._ledger.jump()
            self._newest_stamps_ns[camera] = stamp_ns
            frame = Frame(message, stamp_ns, received_ns, self._epoch, camera)
            if self._comes_late(frame, is_repeated=stamp_ns == previous_ns):
                self._drop([frame], DROPPED_UNMATCHED)
            else:
                self._join(frame)
                self._changed.notify_all()
            return not jumped

    def take(self) -> FrameSet | None:
        """Wait for frames that are not too old and take them out; None once the inbox is closed."""
        with self._changed:
            while self._is_open:
                patience_s = self._patience_s()
                if not self._ready and patience_s is not None and patience_s <= 0:
                    self._close_forming()
                frames, self._ready = self._without_old(self._ready), ()
                if frames:
                    return FrameSet(frames, self._epoch)
                self._changed.wait(self._patience_s())
            return None

    def has_waiting(self) -> bool:
        """Tell whether a frame waits to be taken, or for others of its set."""
        with self._changed:
            return bool(self._ready or self._forming)

    def _comes_late(self, frame: Frame, is_repeated: bool) -> bool:
        """Tell whether a set newer than a frame is closed, or one forms that the frame is too old for."""
        closed_ns, tolerance_ns = self._closed_stamp_ns, self._limits().sync_tolerance_ns
        # A camera may send one stamp for ever (zero): such frames are not late, only repeated.
        if closed_ns is not None and (frame.stamp_ns, is_repeated) <= (closed_ns, False):
            return True
        return any(other.stamp_ns - frame.stamp_ns > tolerance_ns for other in self._forming.values())

    def _join(self, frame: Frame) -> None:
        """Add a frame to the set that forms, or begin another set with it."""
        tolerance_ns = self._limits().sync_tolerance_ns
        if any(frame.stamp_ns - other.stamp_ns > tolerance_ns for other in self._forming.values()):
            self._close_forming()
        if frame.camera in self._forming:
            self._drop([self._forming[frame.camera]], DROPPED_SUPERSEDED)
        if not self._forming:
            self._forming_since_ns = frame.received_ns
        self._forming[frame.camera] = frame
        if len(self._forming) == self._cameras:
            self._close_forming()

    def _close_forming(self) -> None:
        """Let the set that forms wait in place of the one that waits; drop it where it comes too soon."""
        frames = tuple(self._forming[camera] for camera in sorted(self._forming))
        self._forming = {}
        self._closed_stamp_ns = max(frame.stamp_ns for frame in frames)
        if not self._is_due(self._forming_since_ns):
            self._drop(frames, DROPPED_RATE_LIMITED)
            return
        self._drop(self._ready, DROPPED_SUPERSEDED)
        self._ready = frames

    def _is_due(self, received_ns: int) -> bool:
        """Tell whether the rate limit lets a set in now, and if so, when the next one will be due.

        The virtual scheduling of ITU-T I.371 with a tolerance of half a period: a camera whose frames come
        now early and now late keeps its rate, and in the long run no more are let in.
        """
        period_ns = self._limits().shortest_period_ns
        tolerance_ns = period_ns // 2
        due_ns = received_ns
        if self._let_in_ns is not None:
            due_ns = self._let_in_ns + period_ns + min(self._early_by_ns, tolerance_ns)
        if received_ns < due_ns - tolerance_ns:
            return False
        self._let_in_ns, self._early_by_ns = received_ns, max(due_ns - received_ns, 0)
        return True

    def _patience_s(self) -> float | None:
        """Return how long the set that forms goes on waiting, in seconds; None where there is none."""
        if not self._forming:
            return None
        waited_ns = time.monotonic_ns() - self._forming_since_ns
        return (self._limits().sync_tolerance_ns - waited_ns) / 1e9

    def _without_old(self, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Return the frames that are not too old; the others are dropped."""
        limit = self._limits().max_age_ns
        oldest_ns = self._now_ns() - limit
        fresh = tuple(frame for frame in frames if limit == 0 or frame.stamp_ns >= oldest_ns)
        self._drop([frame for frame in frames if frame not in fresh], DROPPED_TOO_OLD)
        return fresh

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._newest_stamps_ns = {}
        self._closed_stamp_ns = None

    def _drop_waiting(self, cause: str) -> None:
        self._drop([*self._ready, *self._forming.values()], cause)
        self._ready, self._forming = (), {}

    def _drop(self, frames: Sequence[Frame], cause: str) -> None:
        for _ in frames:
            self._ledger.settle(Outcome.DROPPED, cause)
