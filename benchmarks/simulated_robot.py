"""A robot that drives along recorded runs over DDS, with wheel odometry that drifts, and hears a localizer.

Shared by kidnap.py and drift.py.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import (
    Pose,
    quaternion_to_rotation_vector,
    rotation_vector_to_quaternion,
    slerp,
)
from hyperpose_core.images import RgbImage
from hyperpose_ros.common.child_process import running
from hyperpose_ros.common.conversions import (
    pose_to_message,
    rgb_to_image,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
    transform_from_message,
    transform_to_message,
)

ODOMETRY_A_FRAME = 5
"""Odometry comes so many times as often as images."""

_READY_S = 300.0
_STOP_S = 10.0
_KEPT = 4000
_RELIABLE = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)


@dataclass(frozen=True, eq=False)
class Drive:
    """A run that was recorded.

    Attributes:
        name: what to call it.
        bodies: base_link in the map at each frame.
        read: returns a frame's image, RGB uint8 [H, W, 3].
    """

    name: str
    bodies: tuple[Pose, ...]
    read: Callable[[int], RgbImage]


@dataclass(frozen=True)
class Instant:
    """One time that odometry was said.

    Attributes:
        stamp_ns: then, nanoseconds.
        body: base_link in the map in truth.
        odometry: base_link in odom, as wheels have it.
    """

    stamp_ns: int
    body: Pose
    odometry: Pose


@dataclass(frozen=True)
class Said:
    """A message of ~/status.

    Attributes:
        received_s: when it came, seconds of `time.monotonic`.
        values: its values.
    """

    received_s: float
    values: dict[str, str]


class SimulatedRobot:
    """Publishes what a robot's camera and wheels say, and keeps what is said to it; a context manager.

    Attributes:
        truth: base_link in the map by the stamps of images.
        statuses: the latest messages of ~/status.
        told: when and what came on `initialpose`.
        map_to_odom: stamps and poses of odom in map that came on /tf.
    """

    def __init__(self, domain_id: int, image_hz: float = 10.0, drift: float = 0.02) -> None:
        """Join a domain.

        Args:
            domain_id: the ROS domain.
            image_hz: images a second.
            drift: by which share wheels overestimate every metre and every turn.
        """
        self._hz, self._drift = image_hz, drift
        self._odometry = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
        self.truth: dict[int, Pose] = {}
        self.statuses: list[Said] = []
        self.told: list[tuple[float, PoseWithCovarianceStamped]] = []
        self.map_to_odom: list[tuple[int, Pose]] = []
        self._context = Context()
        self._context.init(args=[], domain_id=domain_id)
        self._node = Node("simulated_robot", context=self._context)
        self._images = self._node.create_publisher(Image, "camera/image_raw", _RELIABLE)
        self._wheels = self._node.create_publisher(Odometry, "odometry", 100)
        self._tf = self._node.create_publisher(TFMessage, "/tf", 100)
        self._node.create_subscription(DiagnosticArray, "localizer/status", self._on_status, 100)
        self._node.create_subscription(PoseWithCovarianceStamped, "initialpose", self._on_told, 100)
        self._node.create_subscription(TFMessage, "/tf", self._on_tf, 1000)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def wait_for_localizer(self) -> None:
        """Wait until a localizer listens.

        Raises:
            HyperPoseError: none does for too long.
        """
        deadline = time.monotonic() + _READY_S
        while not (self._images.get_subscription_count() and self._wheels.get_subscription_count()):
            if time.monotonic() > deadline:
                raise HyperPoseError(f"no localizer listens after {_READY_S:g} s: see its log")
            time.sleep(0.02)

    def drive(
        self,
        drive: Drive,
        first: int,
        frames: int,
        until: Callable[[], bool] = lambda: False,
        cover: RgbImage | None = None,
    ) -> Iterator[Instant]:
        """Drive from a frame on, in real time, giving each instant as it was said.

        Args:
            drive: where.
            first: the frame to start from: the robot is there at once, and its wheels have not turned.
            frames: for so many frames at most.
            until: ends the drive sooner.
            cover: stands still in the first frame, and the camera sees this.
        """
        if cover is None:
            frames = min(frames, len(drive.bodies) - 1 - first)
        image = drive.read(first) if cover is None else cover
        before, begin, begin_ns = drive.bodies[first], time.monotonic(), time.time_ns()
        for tick in range(ODOMETRY_A_FRAME * frames + 1):
            frame, part = divmod(tick, ODOMETRY_A_FRAME)
            if part == 1 and cover is None:
                image = drive.read(first + frame + 1)
            due_s = tick / (self._hz * ODOMETRY_A_FRAME)
            time.sleep(max(0.0, begin + due_s - time.monotonic()))
            body = before if cover is not None else _between(drive.bodies, first, frame, part)
            # When it was due: a message of a busy machine is late, but says the right time.
            stamp_ns = begin_ns + round(due_s * 1e9)
            self._turn_wheels(before.inverse() @ body, stamp_ns)
            before = body
            if part == 0:
                self._show(image, stamp_ns, body)
            yield Instant(stamp_ns, body, self._odometry)
            if until():
                return

    def is_tracking(self) -> bool:
        """Tell whether the latest status says that the robot knows where it is."""
        return bool(self.statuses) and self.statuses[-1].values.get("tracking") == "tracking"

    def close(self) -> None:
        """Leave the domain."""
        self._ended.set()
        self._executor.wake()
        self._thread.join()
        self._node.destroy_node()
        self._context.shutdown()

    def __enter__(self) -> SimulatedRobot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _turn_wheels(self, step: Pose, stamp_ns: int) -> None:
        grown = 1.0 + self._drift
        turn = rotation_vector_to_quaternion(grown * quaternion_to_rotation_vector(step.orientation))
        self._odometry = self._odometry @ Pose(grown * step.position, turn)
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id = "odom"
        message.header.stamp = stamp_from_nanoseconds(stamp_ns)
        message.pose.pose = pose_to_message(self._odometry)
        self._wheels.publish(message)
        transform = transform_to_message("odom", "base_link", self._odometry, stamp_ns)
        self._tf.publish(TFMessage(transforms=[transform]))

    def _show(self, image: RgbImage, stamp_ns: int, body: Pose) -> None:
        self.truth[stamp_ns] = body
        self._images.publish(rgb_to_image(image, stamp_ns, "camera_optical_frame"))

    def _on_status(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.statuses.append(Said(time.monotonic(), values))
        del self.statuses[:-_KEPT]

    def _on_told(self, message: PoseWithCovarianceStamped) -> None:
        self.told.append((time.monotonic(), message))

    def _on_tf(self, message: TFMessage) -> None:
        for transform in message.transforms:
            if transform.child_frame_id == "odom":
                stamp_ns = stamp_to_nanoseconds(transform.header.stamp)
                self.map_to_odom.append((stamp_ns, transform_from_message(transform)))

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=1.0)


@contextmanager
def localizer(domain_id: int, parameters: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a localizer in a process of its own until the block ends.

    Args:
        domain_id: the ROS domain.
        parameters: each as NAME:=VALUE.
        log: what it says is added to this file.
    """
    words = ["--ros-args", "-r", "image:=camera/image_raw"]
    words += [word for parameter in parameters for word in ("-p", parameter)]
    with (
        log.open("ab") as output,
        running("hyperpose_ros.localizer.node", words, domain_id, output) as process,
    ):
        yield process


def processor_s(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time that a process has had, seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # fields 14 and 15 of proc(5)


def numbers_of(pose: Pose) -> list[float]:
    """Return a pose as `camera_extrinsics` takes it: x, y, z, qx, qy, qz, qw."""
    return [float(number) for number in (*pose.position, *pose.orientation[[1, 2, 3, 0]])]


def _between(bodies: Sequence[Pose], first: int, frame: int, part: int) -> Pose:
    """Return where the body is between two frames."""
    start = bodies[first + frame]
    if part == 0:
        return start
    end, share = bodies[first + frame + 1], part / ODOMETRY_A_FRAME
    position = start.position + share * (end.position - start.position)
    return Pose(position, slerp(start.orientation, end.orientation, share))
