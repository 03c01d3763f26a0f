"""Odometry at an image's stamp: what lies between two messages, and what is not known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from domains import claimed_domain  # noqa: E402
from nav_msgs.msg import Odometry as OdometryMessage  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from ros_helpers import TestPeer, wait_until  # noqa: E402

from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_ros.common.conversions import pose_to_message, stamp_from_nanoseconds, transform_to_message
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings  # noqa: E402
from hyperpose_ros.tf.odometry import TfOdometry, TopicOdometry  # noqa: E402
from hyperpose_ros.tf.pose_buffer import PoseBuffer  # noqa: E402
from hyperpose_ros.tf.tree import FrameTree  # noqa: E402

SECOND = 1_000_000_000
START = 1_403_774_720 * SECOND
MILLISECOND = 1_000_000


def on_circle(seconds: float) -> Pose:
    """A robot that turns at 0.4 rad/s and drives along x at 2 m/s."""
    return Pose([2.0 * seconds, 0.0, 0.0], rotation_vector_to_quaternion([0.0, 0.0, 0.4 * seconds]))


def buffer_of(*milliseconds: int) -> PoseBuffer:
    buffer = PoseBuffer()
    for instant in milliseconds:
        buffer.add(START + instant * MILLISECOND, on_circle(instant / 1000))
    return buffer


def at(buffer: PoseBuffer, milliseconds: int) -> Pose | None:
    return buffer.at(START + milliseconds * MILLISECOND)


@pytest.mark.parametrize("milliseconds", [0, 25, 100, 133, 200, 230, 300])
def test_poses_between_and_shortly_behind_the_messages_are_on_the_way(milliseconds: int) -> None:
    pose = at(buffer_of(0, 50, 100, 150, 200), milliseconds)
    assert pose is not None
    np.testing.assert_allclose(pose.matrix(), on_circle(milliseconds / 1000).matrix(), atol=1e-9)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ((), 0),
        ((0, 100), -1),
        ((0, 100), 201),
        ((0, 600), 300),  # a gap
        ((0, 600), 620),  # the latest motion is a guess itself
        ((100,), 150),  # no motion known
    ],
)
def test_what_is_not_known_is_not_made_up(known: tuple[int, ...], asked: int) -> None:
    assert at(buffer_of(*known), asked) is None


def test_a_message_at_the_very_stamp_needs_no_other() -> None:
    pose = at(buffer_of(0, 700), 700)
    assert pose is not None
    np.testing.assert_allclose(pose.position, [1.4, 0.0, 0.0])


def test_two_poses_of_almost_one_time_make_no_wild_speed() -> None:
    buffer = buffer_of(0, 100)
    still = Pose(on_circle(0.1).position + [0.0, 0.01, 0.0], on_circle(0.1).orientation)
    buffer.add(START + 100 * MILLISECOND + 1000, still)
    pose = at(buffer, 150)
    assert pose is not None and abs(pose.position[1]) < 0.05


def test_a_jump_back_in_time_forgets_and_a_late_message_is_left_out() -> None:
    buffer = buffer_of(*range(5000, 6000, 50))
    buffer.add(START + 5_900 * MILLISECOND + 1, on_circle(99.0))
    pose = at(buffer, 5_900)
    assert pose is not None
    np.testing.assert_allclose(pose.position, [11.8, 0.0, 0.0])
    buffer.add(START, on_circle(0.0))
    buffer.add(START + 50 * MILLISECOND, on_circle(0.05))
    assert at(buffer, 25) is not None
    assert at(buffer, 5_500) is None


def test_a_long_run_keeps_the_latest_ten_seconds() -> None:
    buffer = buffer_of(*range(0, 60_000, 50))
    assert at(buffer, 30_000) is None
    assert at(buffer, 50_010) is not None and at(buffer, 59_960) is not None


@pytest.fixture(scope="module")
def peer() -> Iterator[TestPeer]:
    with claimed_domain() as domain_id, TestPeer(domain_id, "robot") as peer:
        yield peer


def message_of(
    pose: Pose, milliseconds: int, frame: str = "odom", child: str = "base_link"
) -> OdometryMessage:
    message = OdometryMessage(child_frame_id=child)
    message.header.frame_id = frame
    message.header.stamp = stamp_from_nanoseconds(START + milliseconds * MILLISECOND)
    message.pose.pose = pose_to_message(pose)
    return message


@pytest.fixture
def topic(peer: TestPeer) -> Iterator[TopicOdometry]:
    odometry = TopicOdometry(peer.node, "odom", "base_link", ThrottledWarnings(peer.node.get_logger()))
    yield odometry
    odometry.destroy()


def connect(node: Node, odometry: TopicOdometry) -> Publisher:
    publisher = node.create_publisher(OdometryMessage, "odometry", 10)
    wait_until(lambda: not odometry.problem and publisher.get_subscription_count(), "the subscription")
    return publisher


def test_messages_of_the_topic_are_interpolated(peer: TestPeer, topic: TopicOdometry) -> None:
    assert "no publisher on /odometry" in topic.problem
    publisher = connect(peer.node, topic)
    for milliseconds in (0, 100):
        publisher.publish(message_of(on_circle(milliseconds / 1000), milliseconds, "/odom"))
    pose = wait_until(lambda: topic.pose_at(START + 50 * MILLISECOND), "odometry")
    np.testing.assert_allclose(pose.matrix(), on_circle(0.05).matrix(), atol=1e-9)
    peer.node.destroy_publisher(publisher)


def test_odometry_of_other_frames_is_not_used_and_says_which_are_expected(
    peer: TestPeer, topic: TopicOdometry
) -> None:
    publisher = connect(peer.node, topic)
    publisher.publish(message_of(on_circle(0.0), 0, "odom", "base_footprint"))
    wait_until(lambda: topic.problem, "the complaint")
    assert "'odom' -> 'base_footprint', expected is 'odom' -> 'base_link'" in topic.problem
    assert topic.pose_at(START) is None
    publisher.publish(message_of(Pose.identity(), 0))
    wait_until(lambda: topic.pose_at(START), "odometry in the right frames")
    assert topic.problem == ""
    bad = message_of(Pose.identity(), 10)
    bad.pose.pose.position.x = float("nan")
    publisher.publish(bad)
    wait_until(lambda: "three finite numbers" in topic.problem, "the complaint")
    peer.node.destroy_publisher(publisher)


class Listener:
    """A tree of frames and the odometry between two of them, as /tf feeds them."""

    def __init__(self) -> None:
        self.tree = FrameTree()
        self.odometry = TfOdometry(self.tree, "odom", "/base_link")

    def hear(
        self, parent: str, child: str, pose: Pose, milliseconds: int = 0, is_static: bool = False
    ) -> None:
        transform = transform_to_message(parent, child, pose, START + milliseconds * MILLISECOND)
        self.tree.hear([transform], is_static)
        if not is_static:
            self.odometry.hear(transform)

    def at(self, milliseconds: int) -> Pose | None:
        return self.odometry.pose_at(START + milliseconds * MILLISECOND)


def test_odometry_on_tf_is_interpolated_and_extrapolated_like_the_topics() -> None:
    listener = Listener()
    assert listener.at(0) is None and "odom -> base_link is not on /tf" in listener.odometry.problem
    for milliseconds in (0, 50, 100):
        listener.hear("odom", "base_link", on_circle(milliseconds / 1000), milliseconds)
    for milliseconds in (0, 25, 100, 150, 200):
        pose = listener.at(milliseconds)
        assert pose is not None and listener.odometry.problem == ""
        np.testing.assert_allclose(pose.matrix(), on_circle(milliseconds / 1000).matrix(), atol=1e-9)
    assert listener.at(201) is None
    assert f"its newest pose is of {START + 100 * MILLISECOND} ns" in listener.odometry.problem


def test_odometry_on_tf_is_composed_of_all_frames_between() -> None:
    mount = Pose([0.0, 0.3, 0.2], rotation_vector_to_quaternion([0.0, 0.1, 0.0]))
    listener = Listener()
    listener.hear("footprint", "base_link", mount, is_static=True)
    for milliseconds in (0, 40, 80):
        tilt = Pose([0.0, 0.0, 0.0], rotation_vector_to_quaternion([milliseconds / 1000, 0.0, 0.0]))
        # Two senders, whose stamps need not agree.
        listener.hear("odom", "tilting", on_circle(milliseconds / 1000), milliseconds)
        listener.hear("tilting", "footprint", tilt, milliseconds + 5)
        listener.hear("elsewhere", "other", mount, milliseconds)
    pose = listener.at(45)
    assert pose is not None
    tilted = Pose([0.0, 0.0, 0.0], rotation_vector_to_quaternion([0.04, 0.0, 0.0]))
    np.testing.assert_allclose(pose.matrix(), (on_circle(0.045) @ tilted @ mount).matrix(), atol=1e-9)


def test_odometry_on_tf_goes_on_after_a_jump_back_in_time() -> None:
    listener = Listener()
    for milliseconds in (5_000, 5_100, 0, 100):
        listener.hear("odom", "base_link", on_circle(milliseconds / 1000), milliseconds)
    pose = listener.at(50)
    assert pose is not None and listener.at(5_050) is None
    np.testing.assert_allclose(pose.matrix(), on_circle(0.05).matrix(), atol=1e-9)
