"""What a localizer says of its own start."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from localizer_helpers import Conversation  # noqa: E402


def test_the_log_says_where_the_time_of_the_start_went(
    start: Callable[..., Conversation], tiny_checkpoint: Path
) -> None:
    localizer = start("starting", f"checkpoint:={tiny_checkpoint}", "device:=cpu")
    localizer.process.wait_for_output("after the process's start")
    output = localizer.process.output
    configured = re.search(
        r"configured in ([\d.]+) s: ([\d.]+) s importing, ([\d.]+) s loading the network, "
        r"([\d.]+) s warming it up",
        output,
    )
    ready = re.search(r"ready ([\d.]+) s after the process's start", output)
    assert configured is not None and ready is not None, output
    whole, *parts = (float(value) for value in configured.groups())
    assert sum(parts) <= whole + 0.2  # each is rounded
    assert whole <= float(ready[1]) + 0.1
    assert min(parts[0], whole) > 0
