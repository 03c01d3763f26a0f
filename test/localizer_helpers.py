"""A localizer in a process of its own, and everything that it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from ros_helpers import NodeProcess, TestPeer, diagnostic_values, send_until, wait_until
from sensor_msgs.msg import CompressedImage, Image
from tf2_msgs.msg import TFMessage

from hyperpose_core.geometry.poses import orientation_errors_deg
from hyperpose_core.images import RgbImage
from hyperpose_core.inference.estimator import PoseEstimate
from hyperpose_ros.common.conversions import pose_from_message, rgb_to_image, stamp_to_nanoseconds

SECOND = 1_000_000_000
LONGEST_END_S = 5.0
"""Two seconds are promised; a test that shares its machine allows for more, and for no hang."""

RELIABLE = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)


@dataclass
class Conversation:
    """A localizer's process and everything that it says."""

    name: str
    process: NodeProcess
    peer: TestPeer
    poses: list[PoseStamped]
    with_covariance: list[PoseWithCovarianceStamped]
    paths: list[Path]
    scenes: list[DiagnosticArray]
    transforms: list[TFMessage]
    diagnostics: OwnDiagnostics

    def values(self) -> dict[str, str]:
        """The latest diagnostics."""
        return diagnostic_values(self.diagnostics[-1]) if self.diagnostics else {}

    def counted(self, key: str) -> int:
        """The latest value of a counter; 0 where nothing was counted yet."""
        return int(self.values().get(key, 0))

    def wait_for_count(self, key: str, number: int) -> None:
        wait_until(lambda: self.counted(key) >= number, f"{key} to reach {number}: {self.values()}")

    def wait_for_rest(self) -> dict[str, str]:
        """Wait for diagnostics younger than this call that count nothing in flight, and return them."""
        # The next one may be on its way already.
        younger = len(self.diagnostics) + 2
        wait_until(lambda: len(self.diagnostics) >= younger, "younger diagnostics")
        wait_until(lambda: self.counted("in_flight") == 0, "nothing to be in flight")
        return self.values()

    def answer(self, stamp_ns: int) -> PoseStamped:
        """Wait for the pose with a stamp."""
        return wait_until(lambda: self.latest(stamp_ns), f"a pose of stamp {stamp_ns}")

    def ask(self, camera: Publisher, message: Image | CompressedImage) -> PoseStamped:
        """Send an image, again if need be, until its pose comes."""
        stamp_ns = stamp_to_nanoseconds(message.header.stamp)
        return send_until(camera, message, lambda: self.latest(stamp_ns), f"a pose of stamp {stamp_ns}")

    def latest(self, stamp_ns: int) -> PoseStamped | None:
        found = [pose for pose in self.poses if stamp_to_nanoseconds(pose.header.stamp) == stamp_ns]
        return found[-1] if found else None


class OwnDiagnostics:
    """Those of all diagnostics that are a node's own."""

    def __init__(self, everyone: list[DiagnosticArray], name: str) -> None:
        self._everyone = everyone
        self._name = f"{name}: localization"

    def _own(self) -> list[DiagnosticArray]:
        return [
            array for array in list(self._everyone) if array.status and array.status[0].name == self._name
        ]

    def __len__(self) -> int:
        return len(self._own())

    def __getitem__(self, index: int) -> DiagnosticArray:
        return self._own()[index]


@contextmanager
def localizers(peer: TestPeer, domain_id: int, folder: FilePath) -> Iterator[Callable[..., Conversation]]:
    """Start localizers by name; whatever still runs at the end is ended."""
    processes: list[NodeProcess] = []

    def start(name: str, *parameters: str, remaps: tuple[str, ...] = ()) -> Conversation:
        arguments = ["--ros-args", "-r", f"__node:={name}"]
        arguments += [word for remap in remaps for word in ("-r", remap)]
        arguments += [word for parameter in parameters for word in ("-p", parameter)]
        heard = (
            peer.collect(PoseStamped, f"/{name}/pose"),
            peer.collect(PoseWithCovarianceStamped, f"/{name}/pose_with_covariance"),
            peer.collect(Path, f"/{name}/path"),
            peer.collect(DiagnosticArray, f"/{name}/scene"),
            peer.collect(TFMessage, "/tf"),
        )
        everyone = peer.collect(DiagnosticArray, "/diagnostics")
        process = NodeProcess("hyperpose_ros.localizer.node", arguments, domain_id, folder / f"{name}.txt")
        processes.append(process)
        return Conversation(name, process, peer, *heard, OwnDiagnostics(everyone, name))

    try:
        yield start
    finally:
        for process in processes:
            process.__exit__(None, None, None)


def message_of(image: RgbImage, stamp_ns: int, **changes: Any) -> Image:
    message = rgb_to_image(image, stamp_ns, "camera_optical_frame")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def assert_same_pose(message: PoseStamped, estimate: PoseEstimate) -> None:
    assert estimate.pose is not None
    pose = pose_from_message(message.pose)
    np.testing.assert_allclose(pose.position, estimate.pose.position, atol=1e-4)
    assert np.radians(orientation_errors_deg(pose.orientation, estimate.pose.orientation)) < 1e-4


def assert_adds_up(values: dict[str, str]) -> None:
    settled = sum(int(values[key]) for key in ("published", "withheld", "refused", "dropped", "in_flight"))
    assert int(values["received"]) == settled, values
    for outcome in ("withheld", "refused", "dropped"):
        causes = [int(value) for key, value in values.items() if key.startswith(f"{outcome}.")]
        assert int(values[outcome]) == sum(causes), values
