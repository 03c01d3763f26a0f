"""`wait_until_active`: what a replay waits for before its first message."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from lifecycle_msgs.msg import Transition  # noqa: E402
from localizer_helpers import Conversation  # noqa: E402
from ros_helpers import TestPeer, ros_environment  # noqa: E402


def wait_until_active(domain_id: int, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hyperpose_ros.bags.wait_until_active", *arguments]
    return subprocess.Popen(command, env=ros_environment(domain_id), stderr=subprocess.PIPE, text=True)


def test_it_ends_when_the_localizer_is_active_and_at_once_where_it_is_already(
    start: Callable[..., Conversation], peer: TestPeer, domain_id: int, tiny_checkpoint: Path
) -> None:
    start("late", "autostart:=false", f"checkpoint:={tiny_checkpoint}")
    assert peer.state("/late") == "unconfigured"
    waiting = wait_until_active(domain_id, "/late")
    assert peer.change_state("/late", Transition.TRANSITION_CONFIGURE)
    assert waiting.poll() is None
    assert peer.change_state("/late", Transition.TRANSITION_ACTIVATE)
    waiting.wait(timeout=60)
    assert waiting.returncode == 0
    # Every event of a transition is long gone.
    again = wait_until_active(domain_id, "late", "--ros-args", "-r", "__ns:=/")
    assert again.wait(timeout=60) == 0


def test_it_says_what_it_waited_for_in_vain(
    start: Callable[..., Conversation], peer: TestPeer, domain_id: int, tiny_checkpoint: Path
) -> None:
    start("idle", "autostart:=false", f"checkpoint:={tiny_checkpoint}")
    assert peer.state("/idle") == "unconfigured"
    waiting = wait_until_active(domain_id, "/idle", "--timeout", "4")
    nobody = wait_until_active(domain_id, "/nobody", "--timeout", "1")
    assert "nobody was not active after 1 s: nothing answers under that name" in nobody.communicate()[1]
    assert "idle was not active after 4 s: its state is 'unconfigured'" in waiting.communicate()[1]
    assert (waiting.returncode, nobody.returncode) == (2, 2)
