"""ROS domains for tests, none of which two processes of one machine use at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def claimed_domain() -> Iterator[int]:
    """Hold a ROS domain that no other test run on this machine uses meanwhile."""
    for domain_id in range(1, 101):
        with open(Path(tempfile.gettempdir()) / f"hyperpose_ros_test_domain_{domain_id}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain_id
            return
    raise RuntimeError("all 100 ROS domains for tests are in use")
