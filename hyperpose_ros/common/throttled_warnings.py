"""Warnings that a stream of images repeats: one a cause now and then, with how many were left out."""

from __future__ import annotations

import threading
import time

from rclpy.impl.rcutils_logger import RcutilsLogger

from hyperpose_core.errors import one_line

_PERIOD_NS = 10_000_000_000


class ThrottledWarnings:
    """Logs a cause's first warning at once and then at most one every ten seconds; safe in any thread.

    The logger's own throttling goes by the line of code, so that one cause would silence the others.
    """

    def __init__(self, logger: RcutilsLogger) -> None:
        """Write to a node's logger."""
        self._logger = logger
        self._lock = threading.Lock()
        self._next_ns: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def warn(self, cause: str, text: str) -> None:
        """Warn with a text, which may quote messages, unless this cause's last warning is too recent."""
        now_ns = time.monotonic_ns()
        with self._lock:
            if now_ns < self._next_ns.get(cause, 0):
                self._left_out[cause] = self._left_out.get(cause, 0) + 1
                return
            self._next_ns[cause] = now_ns + _PERIOD_NS
            left_out = self._left_out.pop(cause, 0)
        text = one_line(text)
        self._logger.warning(f"{text} ({left_out} more like it before)" if left_out else text)
