"""The programs of this package, each of which can be interrupted from its first moment on.

Importing what a program needs takes a second or two, in which Ctrl-C would end it with a traceback. Here
nothing is imported before the signal is provided for.
"""

from __future__ import annotations

import importlib
import os
import signal

_INTERRUPTED = 130


def localizer() -> int:
    """Run the localizer; returns its exit code, as all programs here."""
    return _run("hyperpose_ros.localizer.node")


def evaluator() -> int:
    """Run the evaluator."""
    return _run("hyperpose_ros.evaluator.node")


def viewer() -> int:
    """Run the viewer."""
    return _run("hyperpose_ros.viewer.node")


def bag_player() -> int:
    """Run the player of bags."""
    return _run("hyperpose_ros.bags.player")


def dataset_to_bag() -> int:
    """Turn a dataset into a bag."""
    return _run("hyperpose_ros.bags.dataset_to_bag")


def robotcar_to_bag() -> int:
    """Turn runs of RobotCar into bags."""
    return _run("hyperpose_ros.bags.robotcar_to_bag")


def camera_extrinsics() -> int:
    """Print where a bag's camera is on the robot."""
    return _run("hyperpose_ros.bags.camera_extrinsics")


def wait_until_active() -> int:
    """Wait until a lifecycle node is active."""
    return _run("hyperpose_ros.bags.wait_until_active")


def _run(module: str) -> int:
    handled = signal.getsignal(signal.SIGINT)
    # Also where it is ignored, as in a shell's background: `ros2 launch` ends what it started there by it.
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    main = importlib.import_module(module).main
    signal.signal(signal.SIGINT, handled)
    return int(main())
