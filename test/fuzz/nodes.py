"""Random input for running nodes: images, transforms, odometry, time, poses, parameters and calls."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_BURST = 10
_ROUNDS_A_LOADING = 5
_PATIENCE_S = 120.0


@dataclass
class _Targets:
    """What is thrown at, and what came of it.

    Attributes:
        robots: conversations with localizers by name; "raw" and "compressed" are their transports.
        processes: of all nodes by name.
        checkpoint: the file of a network that can be loaded.
        folder: for files.
        thrown: how many of each kind.
        wrong: what should not have happened.
    """

    robots: dict[str, Any]
    processes: dict[str, Any]
    checkpoint: Path
    folder: Path
    thrown: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def fuzz_nodes(seconds: float, seed: int) -> int:
    """Throw input at localizers, an evaluator and a viewer until the time is over, and print what was thrown.

    Returns:
        how many things went wrong: an end of a node, a traceback, counters that do not add up, silence.
    """
    if importlib.util.find_spec("rclpy") is None:
        print("\nnodes: not tried, rclpy is missing")
        return 0
    from domains import claimed_domain
    from ros_helpers import TestPeer

    with tempfile.TemporaryDirectory() as folder, claimed_domain() as domain, TestPeer(domain) as peer:
        with _nodes(peer, domain, Path(folder)) as targets:
            try:
                _throw(targets, peer, seconds, np.random.default_rng(seed))
            except Exception as error:
                targets.wrong.append(f"{type(error).__name__}: {error}")
            _look(targets)
            _end(targets, peer)
            counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(targets.thrown.items()))
            print(f"\n{', '.join(targets.processes)}: {counts}")
            for fault in targets.wrong:
                print(f"fell: {fault}")
            if targets.wrong:
                for name, process in targets.processes.items():
                    print(f"--- output of {name}\n{process.output[-3000:]}")
    return len(targets.wrong)


@contextmanager
def _nodes(peer: Any, domain: int, folder: Path) -> Iterator[_Targets]:
    from localizer_helpers import localizers
    from ros_helpers import NodeProcess

    from fuzz.readers import READERS

    checkpoint = READERS["checkpoint"].make(folder)
    with localizers(peer, domain, folder) as start:
        common = (
            f"checkpoint:={checkpoint}",
            "threads:=1",
            "camera_extrinsics:=[0.1, 0.0, 0.2, 0.0, 0.0, 0.0]",
        )
        robots = {
            "raw": start(
                "raw", *common, "odometry_source:=topic", remaps=("image:=/camera", "odometry:=/odom")
            ),
            "compressed": start(
                "compressed", *common, "image_transport:=compressed", "use_sim_time:=true",
                "use_camera_info:=true", "max_age:=5.0",
                remaps=("image:=/camera", "camera_info:=/camera_info"),
            ),
        }  # fmt: skip
        processes = {name: robot.process for name, robot in robots.items()}
        others = {"evaluator": (f"output_directory:={folder / 'report'}", "idle_timeout:=3000.0")}
        if importlib.util.find_spec("rerun") is not None:
            others["viewer"] = (f"record:={folder / 'run.rrd'}", "use_sim_time:=true")
        try:
            for name, parameters in others.items():
                arguments = ["--ros-args", *(word for item in parameters for word in ("-p", item))]
                arguments += ["-r", "image:=/camera"]
                processes[name] = NodeProcess(
                    f"hyperpose_ros.{name}.node", arguments, domain, folder / f"{name}.txt"
                )
            for robot in robots.values():
                robot.process.wait_for_output("active", _PATIENCE_S)
            yield _Targets(robots, processes, checkpoint, folder)
        finally:
            for process in processes.values():
                process.__exit__(None, None, None)


def _throw(targets: _Targets, peer: Any, seconds: float, generator: np.random.Generator) -> None:
    from fault_messages import compressed_faults, raw_faults
    from localizer_helpers import assert_adds_up
    from sensor_msgs.msg import CompressedImage, Image

    camera = peer.publisher(Image, "/camera", 100)
    compressed_camera = peer.publisher(CompressedImage, "/camera/compressed", 100)
    publishers = _publishers(peer)
    deadline, number = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        number += 1
        for fault in raw_faults(_BURST, int(generator.integers(2**31))):
            camera.publish(fault.message)
        for fault in compressed_faults(_BURST, int(generator.integers(2**31))):
            compressed_camera.publish(fault.message)
        targets.thrown["images"] += 2 * _BURST
        for kind, (publisher, make) in publishers.items():
            for _ in range(_BURST):
                publisher.publish(make(generator))
                targets.thrown[kind] += 1
        for name in targets.robots:
            _bother(targets, peer, name, generator)
            if number % _ROUNDS_A_LOADING == 0:
                _load(targets, peer, name, generator)
        camera.publish(_good_image())
        for robot in targets.robots.values():
            assert_adds_up(robot.wait_for_rest())
        _look(targets)
        if targets.wrong:
            return


def _look(targets: _Targets) -> None:
    for name, process in targets.processes.items():
        if (code := process.process.poll()) is not None:
            targets.wrong.append(f"{name} ended with {code}")
        if "Traceback" in process.output:
            targets.wrong.append(f"a traceback in the output of {name}")


def _end(targets: _Targets, peer: Any) -> None:
    from localizer_helpers import LONGEST_END_S

    for name, process in targets.processes.items():
        if process.process.poll() is not None:
            continue
        try:
            code = process.stop(timeout=_PATIENCE_S if name == "evaluator" else LONGEST_END_S)
        except Exception as error:
            targets.wrong.append(f"{name} does not end: {error}")
            continue
        if code not in ((0, 1, 2) if name == "evaluator" else (0,)) or "Traceback" in process.output:
            targets.wrong.append(f"{name} ended with {code}")


def _good_image() -> Any:
    from conftest import draw_image
    from localizer_helpers import message_of

    return message_of(draw_image(1), time.time_ns())


def _publishers(peer: Any) -> dict[str, tuple[Any, Callable[[np.random.Generator], Any]]]:
    from diagnostic_msgs.msg import DiagnosticArray
    from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
    from nav_msgs.msg import Odometry
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CameraInfo
    from tf2_msgs.msg import TFMessage

    from fuzz.messages import strange

    kinds = {
        "/tf": TFMessage,
        "/tf_static": TFMessage,
        "/odom": Odometry,
        "/clock": Clock,
        "/camera_info": CameraInfo,
        "/localizer/pose": PoseStamped,
        "/localizer/pose_with_covariance": PoseWithCovarianceStamped,
        "/localizer/verified_pose": PoseWithCovarianceStamped,
        "/localizer/status": DiagnosticArray,
        "/ground_truth/pose": PoseStamped,
        "/diagnostics": DiagnosticArray,
    }
    latched = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    return {
        topic: (
            peer.publisher(kind, topic, latched if topic == "/tf_static" else 100),
            lambda generator, kind=kind: strange(kind(), generator),
        )
        for topic, kind in kinds.items()
    }


def _bother(targets: _Targets, peer: Any, name: str, generator: np.random.Generator) -> None:
    """Set a parameter, call services and send a localizer through its states, and back to work."""
    from lifecycle_msgs.msg import Transition
    from std_srvs.srv import SetBool, Trigger

    from fuzz.messages import STRANGE_VALUES
    from hyperpose_ros.parameters.declaration import declarations
    from hyperpose_ros.parameters.localizer import LocalizerParameters

    parameters = ["x", "use_sim_time", *(item.name for item in declarations(LocalizerParameters))]
    parameter = parameters[generator.integers(len(parameters))]
    value = STRANGE_VALUES[generator.integers(len(STRANGE_VALUES))]
    peer.set_parameter(f"/{name}", parameter, value)
    _set_parameter_of_no_type(peer, name, generator)
    targets.thrown["parameters"] += 2
    peer.call(SetBool, f"/{name}/enable", SetBool.Request(data=bool(generator.integers(2))))
    peer.call(Trigger, f"/{name}/reset", Trigger.Request())
    peer.call(Trigger, f"/{name}/relocalize", Trigger.Request(), _PATIENCE_S)
    # Those that shut the node down would end it.
    transition = (0, 1, 2, 3, 4, 8, 99, 255)[generator.integers(8)]
    peer.change_state(f"/{name}", transition)
    targets.thrown["calls"] += 4
    for kind, value in (("checkpoint", str(targets.checkpoint)), ("map", "")):
        peer.set_parameter(f"/{name}", kind, value)
    if peer.state(f"/{name}") == "unconfigured":
        assert peer.change_state(f"/{name}", Transition.TRANSITION_CONFIGURE), f"{name} cannot be configured"
    if peer.state(f"/{name}") == "inactive":
        assert peer.change_state(f"/{name}", Transition.TRANSITION_ACTIVATE), f"{name} cannot be activated"
    peer.call(SetBool, f"/{name}/enable", SetBool.Request(data=True))


def _set_parameter_of_no_type(peer: Any, name: str, generator: np.random.Generator) -> None:
    """Ask for what rclpy itself raises on, and wait for no answer."""
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    client = peer.client(SetParameters, f"/{name}/set_parameters")
    value = ParameterValue(type=int(generator.integers(10, 256)))
    client.call_async(SetParameters.Request(parameters=[Parameter(name="max_rate", value=value)]))
    time.sleep(0.05)
    peer.node.destroy_client(client)


def _load(targets: _Targets, peer: Any, name: str, generator: np.random.Generator) -> None:
    """Ask for a damaged checkpoint while the good one runs, then for the good one."""
    from std_srvs.srv import Trigger

    from fuzz.mutations import mutated

    damaged = targets.folder / f"damaged-{name}.safetensors"
    damaged.write_bytes(mutated(targets.checkpoint.read_bytes(), generator))
    for path in (damaged, targets.checkpoint):
        assert peer.set_parameter(f"/{name}", "checkpoint", str(path)).successful
        answer = peer.call(Trigger, f"/{name}/load_checkpoint", Trigger.Request(), _PATIENCE_S)
        targets.thrown["calls"] += 1
        assert answer.success or path is damaged, answer.message
