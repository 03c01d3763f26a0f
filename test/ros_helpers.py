"""Nodes in processes of their own, a node to talk to them with, and waiting for things to happen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

PROJECT_ROOT = Path(__file__).resolve().parents[1]
LONG_ENOUGH_S = 60.0

Result = TypeVar("Result")


def ros_environment(domain_id: int, **more: str) -> dict[str, str]:
    """The environment for a node's process: this one's, whole, in a domain of its own on this machine."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")])),
        **more,
    }


def wait_until(condition: Callable[[], Result], what: str, timeout: float = LONG_ENOUGH_S) -> Result:
    """Return the first true value of a condition; fail, saying what was waited for, after too long."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for {what}"
        time.sleep(0.01)
    return result


def send_until(publisher: Publisher, message: Any, condition: Callable[[], Result], what: str) -> Result:
    """Publish a message again and again until a condition is true, and return its value.

    For what may be lost: best effort, and a reliable message whose subscription is only just discovered.
    """
    next_time = 0.0

    def sent() -> Result:
        nonlocal next_time
        if time.monotonic() >= next_time:
            publisher.publish(message)
            next_time = time.monotonic() + 0.5
        return condition()

    return wait_until(sent, what)


class NodeProcess:
    """A module of the project that runs as a process; a context manager that leaves none behind."""

    def __init__(self, module: str, arguments: Sequence[str], domain_id: int, log: Path, **more: str) -> None:
        """Start `python -m module arguments`, its output going to a file.

        Args:
            module: for example hyperpose_ros.localizer.node.
            arguments: the command line behind it.
            domain_id: the ROS domain.
            log: file for its standard output and error.
            more: further environment variables.
        """
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=ros_environment(domain_id, **more),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def wait_for_output(self, text: str, timeout: float = LONG_ENOUGH_S) -> None:
        """Wait until it has written a text."""

        def has_written() -> bool:
            written = text in self.output
            assert written or self.process.poll() is None, f"the process ended:\n{self.output}"
            return written

        wait_until(has_written, f"{text!r} in the output of the process", timeout)

    def wait(self, timeout: float = LONG_ENOUGH_S) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(timeout)

    def stop(self, number: int = signal.SIGINT, timeout: float = LONG_ENOUGH_S) -> int:
        """Send a signal, wait for the end and return the exit code."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if error is not None:
            print(f"--- output of process {self.process.args}\n{self.output}")


class TestPeer:
    """A node in this process, spinning in the background, that plays the rest of the robot."""

    __test__ = False

    def __init__(self, domain_id: int, name: str = "peer") -> None:
        """Join a domain.

        Args:
            domain_id: the ROS domain.
            name: the node's name.
        """
        self._context = Context()
        self._context.init(args=[], domain_id=domain_id)
        self.node = Node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def collect(self, message_type: type, topic: str, qos: QoSProfile | int = 1000) -> list[Any]:
        """Subscribe, and return the list to which messages will be added."""
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        self._executor.wake()
        return messages

    def publisher(self, message_type: type, topic: str, qos: QoSProfile | int = 10) -> Publisher:
        """Create a publisher."""
        return self.node.create_publisher(message_type, topic, qos)

    def call(self, service_type: type, name: str, request: Any, timeout: float = LONG_ENOUGH_S) -> Any:
        """Call a service and return its answer."""
        client = self.client(service_type, name, timeout)
        try:
            future = client.call_async(request)
            wait_until(future.done, f"an answer of {name}", timeout)
            return future.result()
        finally:
            self.node.destroy_client(client)

    def client(self, service_type: type, name: str, timeout: float = LONG_ENOUGH_S) -> Client:
        """Create a client of a service and wait for the service."""
        client = self.node.create_client(service_type, name)
        self._executor.wake()
        wait_until(client.service_is_ready, f"service {name}", timeout)
        return client

    def set_parameter(self, node: str, name: str, value: object) -> SetParametersResult:
        """Set a parameter of another node."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]

    def change_state(self, node: str, transition: int) -> bool:
        """Send a lifecycle node through a transition; False where it failed."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str) -> str:
        """Ask a lifecycle node for its state's name."""
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def close(self) -> None:
        """Leave the domain."""
        self._ended.set()
        self._executor.wake()
        self._thread.join()
        self.node.destroy_node()
        self._context.shutdown()

    def __enter__(self) -> TestPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spin(self) -> None:
        while not self._ended.is_set():
            # What is destroyed while the executor gathers what to wait for.
            with contextlib.suppress(InvalidHandle):
                self._executor.spin_once(timeout_sec=1.0)


def diagnostic_values(array: DiagnosticArray) -> dict[str, str]:
    """The key-value pairs of the first status of a diagnostic message."""
    return {pair.key: pair.value for pair in array.status[0].values}
