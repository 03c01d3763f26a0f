"""Nodes and programs of this package in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

_STOP_TIMEOUT_S = 10.0


def child_environment() -> dict[str, str]:
    """Return the environment for a program beside others on one machine, whose own variables go first."""
    # Where torch shares the cores with other processes, threads that spin while they wait cost them dearly.
    defaults = {"OMP_WAIT_POLICY": "passive", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return {**defaults, **os.environ}


@contextmanager
def running(
    module: str, arguments: Sequence[str], domain_id: int | None = None, output: BinaryIO | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node until the block ends, then stop it as Ctrl-C does, and by force where that takes too long.

    Args:
        module: what `python -m` runs.
        arguments: its command line.
        domain_id: the ROS domain; None for the environment's.
        output: takes what it prints; None for this process's own streams.
    """
    environment = child_environment()
    if domain_id is not None:
        environment["ROS_DOMAIN_ID"] = str(domain_id)
    errors = None if output is None else subprocess.STDOUT
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=errors)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
