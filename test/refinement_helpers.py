"""A localizer with a landmark map of a room, and the images of the room that it is shown."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from landmark_scene import CAMERA, Room, landmark_map, looking, tour
from localizer_helpers import SECOND, Conversation, message_of
from rclpy.publisher import Publisher
from ros_helpers import wait_until
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg
from hyperpose_core.geometry.world import World
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.uncertainty.covariance import Uncertainty
from hyperpose_ros.common.conversions import stamp_from_nanoseconds, stamp_to_nanoseconds

ROOM, OTHER_ROOM = Room(1), Room(2)
WORLD = World("a room with pictures on its walls")
SOMEWHERE = [looking(3.7, 2.6, 3), looking(3.1, 3.1, 100), looking(2.2, 2.4, 190)]
"""Near to where images of the map were taken, and none of them."""

stamps = itertools.count(1_403_774_720 * SECOND, SECOND)


def room_map() -> LandmarkMap:
    return replace(landmark_map({"room": ROOM}, tour(20)), world=WORLD)


def room_checkpoint(tiny_checkpoint: Path, path: Path, **changes: object) -> Path:
    """An untrained network that takes every image to be taken in the middle of the room, and knows how little
    it knows."""
    known = load_checkpoint(tiny_checkpoint)
    about = {
        "normalisation": PositionNormalisation(np.array([[3.0, 2.5, 1.4]]), 0.01),
        "uncertainty": Uncertainty(np.diag([1.0, 1.0, 0.1, 2.0, 2.0, 2.0]), "made up for the tests"),
        "world": WORLD,
        "camera": CAMERA,
        "scenes": (),
    }
    save_checkpoint(path, replace(known, **{**about, **changes}))
    return path


@dataclass
class Refined:
    """A localizer, its camera, and what it says of the map."""

    talk: Conversation
    camera: Publisher
    verified: list[PoseWithCovarianceStamped] = field(default_factory=list)
    statuses: list[DiagnosticArray] = field(default_factory=list)

    @classmethod
    def of(cls, talk: Conversation, topic: str = "image") -> Refined:
        peer, name = talk.peer, talk.name
        return cls(
            talk,
            peer.publisher(Image, topic, 10),
            peer.collect(PoseWithCovarianceStamped, f"/{name}/verified_pose"),
            peer.collect(DiagnosticArray, f"/{name}/status"),
        )

    def show(self, pose: Pose, room: Room = ROOM) -> int:
        """Send what a camera sees, wait for the network's pose and the map's answer, and return the stamp."""
        stamp_ns = next(stamps)
        self.talk.ask(self.camera, message_of(room.render(pose), stamp_ns))
        self.status(stamp_ns, "map")
        return stamp_ns

    def status(self, stamp_ns: int, source: str) -> DiagnosticStatus:
        """Wait for the status of a stamp and a source."""
        return wait_until(lambda: self._status(stamp_ns, source), f"the {source}'s status of {stamp_ns}")

    def said(self, stamp_ns: int, source: str) -> dict[str, str]:
        """Wait for the values of a status."""
        return {pair.key: pair.value for pair in self.status(stamp_ns, source).values}

    def verified_pose(self, stamp_ns: int) -> PoseWithCovarianceStamped:
        """Wait for the verified pose with a stamp."""
        return wait_until(lambda: _of_stamp(self.verified, stamp_ns), f"a verified pose of {stamp_ns}")[0]

    def poses(self, stamp_ns: int) -> list[PoseWithCovarianceStamped]:
        """What has come on ~/pose_with_covariance with a stamp."""
        return _of_stamp(self.talk.with_covariance, stamp_ns)

    def _status(self, stamp_ns: int, source: str) -> DiagnosticStatus | None:
        for array in _of_stamp(self.statuses, stamp_ns):
            if ("source", source) in [(pair.key, pair.value) for pair in array.status[0].values]:
                return array.status[0]
        return None


def _of_stamp(messages: list, stamp_ns: int) -> list:
    return [message for message in list(messages) if stamp_to_nanoseconds(message.header.stamp) == stamp_ns]


def assert_near(pose: Pose, truth: Pose, metres: float = 0.03, degrees: float = 0.5) -> None:
    assert np.linalg.norm(pose.position - truth.position) < metres
    assert orientation_errors_deg(pose.orientation, truth.orientation) < degrees


def assert_refiner_adds_up(values: dict[str, str]) -> None:
    count = {key.removeprefix("refiner."): int(value) for key, value in values.items() if _is_count(key)}
    assert count["offered"] == count["taken"] + count["skipped"] + count["in_flight"], values
    assert count["taken"] == count["verified"] + count["unverified"] + count["failed"], values
    for outcome in ("unverified", "failed", "skipped"):
        causes = [number for key, number in count.items() if key.startswith(f"{outcome}.")]
        assert count[outcome] == sum(causes), values


def at_rest(values: dict[str, str]) -> dict[str, str]:
    return values if values.get("refiner.in_flight") == "0" else {}


def _is_count(key: str) -> bool:
    return key.startswith("refiner.") and not key.startswith("refiner.latency.")


def numbers_of(pose: Pose) -> list[float]:
    return [float(number) for number in (*pose.position, *pose.orientation[[1, 2, 3, 0]])]


def jpeg_of(image: RgbImage, stamp_ns: int) -> CompressedImage:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    message = CompressedImage(format="jpeg", data=cv2.imencode(".jpg", bgr)[1].tobytes())
    message.header.stamp = stamp_from_nanoseconds(stamp_ns)
    message.header.frame_id = "camera_optical_frame"
    return message
