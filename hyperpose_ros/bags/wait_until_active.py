"""`wait_until_active`: ends once a lifecycle node is active, so that a replay begins when it is listened to.

It asks for the state again and again. The event of the transition would not do: it is sent once, and whoever
is discovered a moment later never hears of it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence

import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.client import Client
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from hyperpose_core.command_line import run_command
from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.bags.tool import positive_number, split_ros_arguments

_NAME = "wait_until_active"
_ANSWER_TIMEOUT_S = 1.0
_PAUSE_S = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `wait_until_active` and return its exit code: 0 once the node is active, 2 where it never was.

    Args:
        arguments: the command line without the program's name; None for the process's own.
    """
    own, ros = split_ros_arguments(list(sys.argv[1:] if arguments is None else arguments))
    parser = argparse.ArgumentParser(prog=_NAME, description="Wait until a lifecycle node is active.")
    parser.add_argument("node", help="the node's name, as localizer or /robot1/localizer")
    parser.add_argument(
        "--timeout", type=positive_number, default=180.0, help="seconds to wait at most (default: 180)"
    )
    parsed = parser.parse_args(own)
    return run_command(_NAME, lambda: _run(parsed.node, parsed.timeout, ros))


def _run(name: str, timeout_s: float, ros_arguments: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(_NAME)
    try:
        _wait(node, name, timeout_s)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    return 0


def _wait(node: Node, name: str, timeout_s: float) -> None:
    client: Client = node.create_client(GetState, f"{name}/get_state")
    deadline = time.monotonic() + timeout_s
    state = ""
    while state != "active":
        if time.monotonic() > deadline:
            known = f"its state is {state!r}" if state else "nothing answers under that name"
            raise HyperPoseError(f"{name} was not active after {timeout_s:g} s: {known}")
        if not client.service_is_ready():
            rclpy.spin_once(node, timeout_sec=_PAUSE_S)
            continue
        answer = client.call_async(GetState.Request())
        rclpy.spin_until_future_complete(node, answer, timeout_sec=_ANSWER_TIMEOUT_S)
        response = answer.result() if answer.done() else None
        if response is None:
            client.remove_pending_request(answer)
            continue
        state = response.current_state.label
        if state != "active":
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
