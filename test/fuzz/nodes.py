"""Random input for a running localizer: images, transforms, odometry, time, parameters and calls."""

from __future__ import annotations

import array
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

_BURST = 20
_STRANGE_NUMBERS = (0.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
_STRANGE_TEXTS = ("", "map", "base_link", "/a//b", "x" * 3000, "\u202e", "\x1b[31m", "camera_frame", "..")


def fuzz_nodes(seconds: float, seed: int) -> int:
    """Throw input at a localizer until the time is over, and print what was thrown.

    Returns:
        how many things went wrong: an end of the node, a traceback, counters that do not add up, silence.
    """
    try:
        import rclpy  # noqa: F401
    except ImportError:
        print("\nnodes: not tried, rclpy is missing")
        return 0
    from localizer_helpers import localizers
    from ros_helpers import TestPeer, claimed_domain

    from fuzz.readers import READERS

    with tempfile.TemporaryDirectory() as folder, claimed_domain() as domain, TestPeer(domain) as peer:
        checkpoint = READERS["checkpoint"].make(Path(folder))
        with localizers(peer, domain, Path(folder)) as start:
            robot = start(
                "robot", f"checkpoint:={checkpoint}", "threads:=1", "odometry_source:=topic",
                "camera_extrinsics:=[0.1, 0.0, 0.2, 0.0, 0.0, 0.0]",
                remaps=("image:=/camera", "odometry:=/odom"),
            )  # fmt: skip
            robot.process.wait_for_output("active", 180)
            thrown, wrong = _throw(robot, peer, checkpoint, seconds, seed)
            print(f"\nlocalizer: {', '.join(f'{count:,} {kind}' for kind, count in sorted(thrown.items()))}")
            for fault in wrong:
                print(f"fell: {fault}")
            if wrong:
                print(robot.process.output[-3000:])
    return len(wrong)


def _throw(
    robot: Any, peer: Any, checkpoint: Path, seconds: float, seed: int
) -> tuple[Counter[str], list[str]]:
    from conftest import draw_image
    from fault_messages import raw_faults
    from localizer_helpers import assert_adds_up, message_of
    from nav_msgs.msg import Odometry
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CameraInfo, Image
    from std_srvs.srv import SetBool, Trigger
    from tf2_msgs.msg import TFMessage

    generator = np.random.default_rng(seed)
    camera = peer.publisher(Image, "/camera", 100)
    others = {
        "transforms": (peer.publisher(TFMessage, "/tf", 100), _transforms),
        "odometry": (peer.publisher(Odometry, "/odom", 100), lambda g: _strange(Odometry(), g)),
        "clock": (peer.publisher(Clock, "/clock", 100), lambda g: _strange(Clock(), g)),
        "camera_info": (peer.publisher(CameraInfo, "/camera_info", 100), lambda g: _strange(CameraInfo(), g)),
    }
    thrown: Counter[str] = Counter()
    wrong: list[str] = []
    stamp_ns, deadline = 1_700_000_000 * 10**9, time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            for fault in raw_faults(_BURST, int(generator.integers(2**31))):
                camera.publish(fault.message)
                thrown["images"] += 1
            for kind, (publisher, make) in others.items():
                for _ in range(_BURST):
                    publisher.publish(make(generator))
                    thrown[kind] += 1
            _set_parameter(peer, generator)
            thrown["parameters"] += 1
            peer.call(SetBool, "/robot/enable", SetBool.Request(data=bool(generator.integers(2))))
            peer.call(Trigger, "/robot/reset", Trigger.Request())
            thrown["calls"] += 2
            # Whatever was set: back to what a good image is answered with.
            peer.set_parameter("/robot", "checkpoint", str(checkpoint))
            peer.call(SetBool, "/robot/enable", SetBool.Request(data=True))
            stamp_ns += 10**9
            camera.publish(message_of(draw_image(1), stamp_ns))
            assert_adds_up(robot.wait_for_rest())
    except Exception as error:
        wrong.append(f"{type(error).__name__}: {error}")
    if (code := robot.process.process.poll()) is not None:
        wrong.append(f"the node ended with {code}")
    if "Traceback" in robot.process.output:
        wrong.append("a traceback in its output")
    return thrown, wrong


def _set_parameter(peer: Any, generator: np.random.Generator) -> None:
    names = (
        "checkpoint",
        "max_age",
        "max_rate",
        "map_frame",
        "region_margin",
        "jump_gate",
        "on_invalid",
        "x",
    )
    name = names[generator.integers(len(names))]
    values: tuple[Any, ...] = (*_STRANGE_NUMBERS, *_STRANGE_TEXTS, True, 2**62, "/dev/zero", [1.0] * 5)
    peer.set_parameter("/robot", name, values[generator.integers(len(values))])


def _transforms(generator: np.random.Generator) -> Any:
    from geometry_msgs.msg import TransformStamped
    from tf2_msgs.msg import TFMessage

    count = int(generator.integers(0, 4))
    return TFMessage(transforms=[_strange(TransformStamped(), generator) for _ in range(count)])


def _strange(message: Any, generator: np.random.Generator) -> Any:
    """Fill some fields of a message, and of those in it, with what nobody expects."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if hasattr(value, "get_fields_and_field_types"):
            _strange(value, generator)
        elif generator.random() < 0.4:
            _set(message, name, kind, generator)
    return message


def _set(message: Any, name: str, kind: str, generator: np.random.Generator) -> None:
    if kind in ("double", "float"):
        setattr(message, name, float(generator.choice([*_STRANGE_NUMBERS[:2], 0.5, np.nan, np.inf])))
    elif kind == "string":
        setattr(message, name, _STRANGE_TEXTS[generator.integers(len(_STRANGE_TEXTS))])
    elif kind.startswith(("int", "uint")) and "[" not in kind:
        largest = 2 ** (int("".join(filter(str.isdigit, kind))) - (not kind.startswith("u"))) - 1
        setattr(message, name, int(generator.choice([0, 1, largest])))
    elif kind.startswith("double["):
        size = int(kind[7:-1])
        setattr(message, name, generator.choice(_STRANGE_NUMBERS, size))
    elif kind == "sequence<double>":
        setattr(message, name, array.array("d", generator.choice(_STRANGE_NUMBERS, generator.integers(9))))
