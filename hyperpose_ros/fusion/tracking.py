"""Whether the robot knows where it is: tracking, uncertain or lost."""

from __future__ import annotations

import threading
from enum import Enum

BLIND_ANSWERS = 3
"""So many images in a row in which there is nothing to see, and the robot is lost: the camera is covered."""

CONTRADICTIONS = 2
"""So many fixes in a row that contradict odometry, and the robot was carried elsewhere."""


class Tracking(str, Enum):
    """What is known of where the robot is.

    TRACKING: the latest answer is a trusted fix. UNCERTAIN: it is not, but one was trusted a moment ago.
    LOST: nothing was trusted for too long, or the camera sees nothing, or the robot was carried; and from the
    start, or such a loss, on until the robot is found.
    """

    TRACKING = "tracking"
    UNCERTAIN = "uncertain"
    LOST = "lost"


class TrackingMonitor:
    """Takes what came of one image after the other; safe to use from any thread.

    It follows the landmark map's verification or, without a map, the validity of the network's poses.
    """

    def __init__(self) -> None:
        """Start lost."""
        self._lock = threading.Lock()
        self.begin_anew()

    @property
    def state(self) -> Tracking:
        """What is known now."""
        with self._lock:
            return self._state

    def begin_anew(self) -> None:
        """Know nothing: the robot starts, or what was known says nothing of what comes."""
        with self._lock:
            self._state = Tracking.LOST
            self._trusted_ns = 0
            self._blind = 0
            self._contradictions = 0

    def trust(self, stamp_ns: int, is_found: bool) -> None:
        """Take a fix that is trusted.

        Args:
            stamp_ns: the image's, nanoseconds.
            is_found: whether enough speaks for it to believe a robot found that was lost.
        """
        with self._lock:
            if is_found or self._state is not Tracking.LOST:
                self._state = Tracking.TRACKING
            self._trusted_ns = stamp_ns
            self._blind = self._contradictions = 0

    def contradict(self) -> None:
        """Take a fix that odometry contradicts and that nothing else speaks against."""
        with self._lock:
            self._contradictions += 1
            self._blind = 0
            self._doubt(is_lost=self._contradictions >= CONTRADICTIONS)

    def fail(self, stamp_ns: int, sees_nothing: bool, lost_after_ns: int) -> None:
        """Take an image that gave no fix to be trusted.

        Args:
            stamp_ns: the image's.
            sees_nothing: whether there is nothing to be seen in it.
            lost_after_ns: for how long a trusted fix stands, nanoseconds.
        """
        with self._lock:
            self._blind = self._blind + 1 if sees_nothing else 0
            is_old = stamp_ns - self._trusted_ns >= lost_after_ns
            self._doubt(is_lost=is_old or self._blind >= BLIND_ANSWERS)

    def _doubt(self, is_lost: bool) -> None:
        if is_lost or self._state is Tracking.LOST:
            self._state = Tracking.LOST
        else:
            self._state = Tracking.UNCERTAIN
