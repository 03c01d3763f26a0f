"""A node as a process: signals, a clean end, and an exit code.

The node lives in a thread of its own while the main thread waits: Python runs signal handlers in the main
thread only, and not while that is inside a call to C, such as the wait of an executor.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import rclpy
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from hyperpose_core.errors import HyperPoseError

_LONGEST_SHUTDOWN_S = 1.5
_LOG_PERIOD_S = 5.0


class SelfStartingNode(Protocol):
    """A node that is started and released from outside."""

    @property
    def node(self) -> Node:
        """What the executor spins."""
        ...

    def start(self) -> bool:
        """Begin; False where it cannot, with the reason logged."""
        ...

    def release(self) -> None:
        """Let go of everything; called in the thread that spun the node."""
        ...


def run_node(
    command_line: ArgumentParser, create: Callable[[], SelfStartingNode], arguments: Sequence[str]
) -> int:
    """Run a node until SIGINT or SIGTERM, which end it in less than two seconds whatever it is doing.

    Args:
        command_line: reads what is not for ROS; its name of the program is used in errors.
        create: builds the node; called with rclpy initialised.
        arguments: the program's name and its arguments, those for ROS included.

    Returns:
        the exit code: 0 after a signal, 1 where the node could not be created or started, or had not let go
        of everything in time after the signal; one line says why.
    """
    name = command_line.prog
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        # rclpy's own handlers would end the context under a node that has yet to be released.
        rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy declares no type for arguments that it cannot read
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    command_line.parse_args(remove_ros_args(list(arguments))[1:])
    life = _NodeLife(name, create, stop)
    life.start()
    stop.wait()
    life.wake()
    life.join(_LONGEST_SHUTDOWN_S)
    if life.is_alive():
        # While it starts, which takes seconds, there is nothing yet that ending it could damage.
        doing, code = ("starting", 0) if life.is_starting else ("letting go of what it holds", 1)
        print(
            f"{name}: still {doing} {_LONGEST_SHUTDOWN_S} s after the signal, ended anyway", file=sys.stderr
        )
        end_process(code)
    rclpy.shutdown()
    return life.exit_code


def spin_once(executor: Executor, node: Node, timeout_s: float | None = None) -> None:
    """Serve one thing that waits, and go on where it raises: what others send must not end a node.

    rclpy itself raises on a parameter of an unknown type, say, or on a negative second on /clock.

    Args:
        executor: what spins the node.
        node: whose log is told.
        timeout_s: how long to wait for something; None for ever.

    Raises:
        HyperPoseError: what a callback of the node's own says to whoever runs it.
    """
    try:
        executor.spin_once(timeout_sec=timeout_s)
    except (HyperPoseError, ExternalShutdownException, ShutdownException, TimeoutException):
        raise
    except Exception as error:
        node.get_logger().error(
            f"what came in could not be dealt with and is left out: {type(error).__name__}: {error}",
            throttle_duration_sec=_LOG_PERIOD_S,
        )


def end_process(exit_code: int) -> NoReturn:
    """End the process at once, when all that matters is released.

    Taking torch down with the interpreter can take longer than the two seconds in which a node is to end.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def process_age_s() -> float:
    """Return for how many seconds this process has been there, Python's own start included."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), seconds since boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s


class _NodeLife(threading.Thread):
    """Creates, starts, spins and releases a node."""

    def __init__(self, name: str, create: Callable[[], SelfStartingNode], stop: threading.Event) -> None:
        super().__init__(name="node", daemon=True)
        self.exit_code = 1
        self.is_starting = True
        self._program = name
        self._create = create
        self._stop_requested = stop
        self._executor = SingleThreadedExecutor()

    def wake(self) -> None:
        # The executor's own wake() lets it look around and wait on.
        self._executor.create_task(lambda: None)

    def run(self) -> None:
        try:
            self._live()
        except HyperPoseError as error:
            rclpy.logging.get_logger(self._program).fatal(str(error))
        finally:
            self._stop_requested.set()

    def _live(self) -> None:
        running = self._create()
        try:
            if not running.start():
                return
            self.is_starting = False
            self._executor.add_node(running.node)
            while not self._stop_requested.is_set():
                spin_once(self._executor, running.node)
            self._executor.remove_node(running.node)
            self.exit_code = 0
        finally:
            running.release()
            running.node.destroy_node()
