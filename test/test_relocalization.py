"""The localizer tells others where the robot is once it is found, in a process of its own over DDS."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from geometry_msgs.msg import PoseWithCovarianceStamped  # noqa: E402
from landmark_scene import CAMERA, Room, looking  # noqa: E402
from localizer_helpers import SECOND, Conversation, message_of  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from refinement_helpers import (  # noqa: E402
    OTHER_ROOM,
    ROOM,
    SOMEWHERE,
    Refined,
    numbers_of,
    room_checkpoint,
    room_map,
)
from ros_helpers import TestPeer, wait_until  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from hyperpose_core.geometry.poses import (  # noqa: E402
    Pose,
    euler_to_matrix,
    matrix_to_quaternion,
    orientation_errors_deg,
)
from hyperpose_core.images import RgbImage  # noqa: E402
from hyperpose_ros.common.conversions import (  # noqa: E402
    covariance_from_message,
    pose_from_message,
    pose_to_message,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
)

MOUNTED = Pose([0.3, 0.0, 0.5], matrix_to_quaternion(euler_to_matrix(-1.5708, 0.0, -1.5708)))
DRIVEN = Pose([2.0, 1.0, 0.0], matrix_to_quaternion(euler_to_matrix(0.0, 0.0, 0.5)))
HERE, THERE = SOMEWHERE[0], SOMEWHERE[2]
COVERED = np.full((CAMERA.height, CAMERA.width, 3), 20, dtype=np.uint8)
POSITION_FLOOR_M, ROTATION_FLOOR_DEG = 0.3, 4.0

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 10)


@dataclass
class Robot(Refined):
    """One that stands still, whatever is done to it, as far as its odometry knows."""

    odometry: Publisher | None = None
    sent: list[PoseWithCovarianceStamped] = field(default_factory=list)

    def see(self, image: RgbImage) -> dict[str, str]:
        """Show an image and return what the map says of it."""
        stamp_ns = next(stamps)
        self._say_odometry(stamp_ns)
        self.talk.ask(self.camera, message_of(image, stamp_ns))
        return self.said(stamp_ns, "map")

    def look(self, pose: Pose = HERE, room: Room = ROOM) -> dict[str, str]:
        """Show what the camera sees."""
        return self.see(room.render(pose))

    def find(self, pose: Pose = HERE) -> None:
        """Show a place until the robot has found itself."""
        while self.look(pose)["tracking"] != "tracking":
            pass
        for _ in range(3):
            self.look(pose)

    def relocalize(self) -> Trigger.Response:
        return self.talk.peer.call(Trigger, f"/{self.talk.name}/relocalize", Trigger.Request())

    def _say_odometry(self, stamp_ns: int) -> None:
        if self.odometry is None:
            return
        for instant in (stamp_ns - 20_000_000, stamp_ns + 20_000_000):
            message = Odometry(child_frame_id="base_link")
            message.header.frame_id = "odom"
            message.header.stamp = stamp_from_nanoseconds(instant)
            message.pose.pose = pose_to_message(DRIVEN)
            self.odometry.publish(message)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A network that knows nothing, and its map of a room."""
    folder = tmp_path_factory.mktemp("room")
    room_checkpoint(tiny_checkpoint, folder / "room.safetensors")
    room_map().save(folder / "room.map")
    return folder


@pytest.fixture(scope="module")
def robot(start: Callable[..., Conversation], files: Path) -> Iterator[Robot]:
    """A robot with odometry that tells others when it was lost."""
    talk = start(
        "robot",
        f"checkpoint:={files / 'room.safetensors'}",
        "refinement:=refine",
        "initial_pose:=on_lost",
        f"initial_pose_position_floor:={POSITION_FLOOR_M}",
        f"initial_pose_rotation_floor_deg:={ROTATION_FLOOR_DEG}",
        "relocalize_timeout:=60.0",  # as long as a busy machine may need
        "threads:=1",
        "tf_mode:=none",
        "odometry_source:=topic",
        f"camera_extrinsics:={numbers_of(MOUNTED)}",
        remaps=("image:=/robot/image", "odometry:=/robot/odometry", "initialpose:=/robot/initialpose"),
    )
    robot = Robot.of(talk, "/robot/image")
    robot.odometry = talk.peer.publisher(Odometry, "/robot/odometry")
    robot.sent = talk.peer.collect(PoseWithCovarianceStamped, "/robot/initialpose")
    talk.process.wait_for_output(": active")
    wait_until(robot.odometry.get_subscription_count, "the odometry's subscription")
    # Before anything counts: what is sent first on a topic may be lost, and its search with it.
    robot.see(COVERED)
    yield robot


def assert_sent(robot: Robot, before: int, camera: Pose) -> None:
    """One pose was sent since, and it is the body's where the camera is there."""
    sent = wait_until(lambda: robot.sent[before:], "a pose on initialpose")
    time.sleep(0.3)
    assert len(robot.sent) == before + 1, "once, and not as a stream"
    message = sent[0]
    assert message.header.frame_id == "map"
    body, truth = pose_from_message(message.pose.pose), camera @ MOUNTED.inverse()
    assert np.linalg.norm(body.position - truth.position) < 0.05
    assert orientation_errors_deg(body.orientation, truth.orientation) < 1.0
    floor = np.diag([POSITION_FLOOR_M**2] * 3 + [np.radians(ROTATION_FLOOR_DEG) ** 2] * 3)
    above = covariance_from_message(message.pose.covariance) - floor
    assert np.linalg.eigvalsh(above)[0] > -1e-9


def test_a_robot_that_starts_anywhere_is_told_of_once_three_verified_poses_agree(robot: Robot) -> None:
    assert not robot.sent
    assert robot.see(COVERED)["tracking"] == "lost"
    robot.look()
    robot.look(room=OTHER_ROOM)
    robot.look()
    time.sleep(0.3)
    assert not robot.sent, "two do not suffice"
    robot.look()
    assert_sent(robot, 0, HERE)
    said = [robot.look() for _ in range(4)]
    assert all(values["tracking"] == "tracking" for values in said)
    assert len(robot.sent) == 1
    assert "found: base at" in robot.talk.process.output


def test_a_robot_that_was_carried_is_lost_and_then_found_elsewhere(robot: Robot) -> None:
    robot.find(HERE)
    before = len(robot.sent)
    assert [robot.look(THERE)["tracking"] for _ in range(3)] == ["uncertain", "lost", "tracking"]
    assert_sent(robot, before, THERE)
    # Its own poses are the new place's too, though odometry has it in the old one.
    assert robot.look(THERE)["outcome"] == "published"


def test_a_covered_camera_is_a_lost_robot_of_which_nothing_is_sent(robot: Robot) -> None:
    robot.find(HERE)
    before = len(robot.sent)
    assert [robot.see(COVERED)["tracking"] for _ in range(4)] == ["uncertain", "uncertain", "lost", "lost"]
    wait_until(lambda: "lost:" in robot.talk.diagnostics[-1].status[0].message, "diagnostics that say so")
    assert len(robot.sent) == before
    robot.find(THERE)
    assert_sent(robot, before, THERE)


def test_one_image_of_elsewhere_is_a_doubt_and_sends_nothing(robot: Robot) -> None:
    robot.find(HERE)
    before = len(robot.sent)
    assert robot.look(THERE)["tracking"] == "uncertain"
    assert robot.look(room=OTHER_ROOM)["tracking"] == "uncertain"
    assert robot.look(HERE)["tracking"] == "tracking"
    time.sleep(0.3)
    assert len(robot.sent) == before


def test_relocalize_answers_where_the_robot_is_while_other_calls_are_served(robot: Robot) -> None:
    robot.find(HERE)
    before, peer = len(robot.sent), robot.talk.peer
    body = HERE @ MOUNTED.inverse()
    client = peer.client(Trigger, "/robot/relocalize")
    calls = [client.call_async(Trigger.Request()) for _ in range(2)]
    time.sleep(0.2)
    assert peer.state("/robot") == "active"
    for _ in range(3):
        robot.look(HERE)
    for call in calls:
        wait_until(call.done, "the answer")
        answer = call.result()
        assert answer.success
        told = re.match(r"base at x (.+), y (.+), z (.+) m, yaw", answer.message)
        assert told is not None, answer.message
        np.testing.assert_allclose([float(text) for text in told.groups()], body.position, atol=0.05)
        assert "3 verified poses" in answer.message and "1 subscriber" in answer.message
    peer.node.destroy_client(client)
    assert_sent(robot, before, HERE)


def test_relocalize_says_why_not(robot: Robot) -> None:
    robot.find(HERE)
    before, peer = len(robot.sent), robot.talk.peer
    assert peer.set_parameter("/robot", "relocalize_timeout", 2.0).successful
    answer = robot.relocalize()
    assert not answer.success and "no image was answered" in answer.message
    assert peer.set_parameter("/robot", "relocalize_timeout", 6.0).successful
    client = peer.client(Trigger, "/robot/relocalize")
    call = client.call_async(Trigger.Request())
    robot.look(HERE)
    while not call.done():
        robot.look(room=OTHER_ROOM)
    assert not call.result().success
    # The first image may have come before the call.
    reason = r"of \d+ images [01] gave a pose that counts, and 3 that agree are needed; most often: "
    assert re.search(reason, call.result().message), call.result().message
    peer.node.destroy_client(client)
    assert peer.call(SetBool, "/robot/enable", SetBool.Request(data=False)).success
    answer = robot.relocalize()
    assert not answer.success and "~/enable" in answer.message
    assert peer.call(SetBool, "/robot/enable", SetBool.Request(data=True)).success
    assert len(robot.sent) == before


def test_without_a_map_only_who_asks_for_it_gets_the_networks_pose_once_somebody_listens(
    start: Callable[..., Conversation], files: Path, peer: TestPeer
) -> None:
    talk = start(
        "blind",
        f"checkpoint:={files / 'room.safetensors'}",
        "refinement:='off'",
        "initial_pose:=on_start",
        "threads:=1",
        "tf_mode:=none",
        "region_margin:=0.0",
        f"camera_extrinsics:={numbers_of(MOUNTED)}",
        remaps=("image:=/blind/image", "initialpose:=/blind/initialpose"),
    )
    robot = Refined.of(talk, "/blind/image")
    talk.process.wait_for_output(": active")

    def look() -> int:
        stamp_ns = next(stamps)
        talk.ask(robot.camera, message_of(ROOM.render(looking(3.0, 2.5, 0)), stamp_ns))
        robot.status(stamp_ns, "network")
        return stamp_ns

    answer = peer.call(Trigger, "/blind/relocalize", Trigger.Request())
    assert not answer.success and "initial_pose_unverified" in answer.message
    for _ in range(4):
        look()
    assert peer.set_parameter("/blind", "initial_pose_unverified", True).successful
    for _ in range(4):
        look()
    assert "found:" not in talk.process.output, "nobody listens yet"
    sent = peer.collect(PoseWithCovarianceStamped, "/blind/initialpose")
    wait_until(lambda: peer.node.count_publishers("/blind/initialpose"), "the topic")

    def told() -> bool:
        look()
        return bool(sent)

    wait_until(told, "a pose")
    for _ in range(4):
        look()
    assert len(sent) == 1 and "unverified poses" in talk.process.output
    assert stamp_to_nanoseconds(sent[0].header.stamp) in [
        stamp_to_nanoseconds(pose.header.stamp) for pose in talk.poses
    ]
