"""The localizer among others on /tf, in its own process, over DDS: modes, odometry, and no second parent."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from localizer_helpers import (  # noqa: E402
    RELIABLE,
    SECOND,
    Conversation,
    localizers,
    message_of,
)
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from rclpy.qos import QoSDurabilityPolicy, QoSProfile  # noqa: E402
from ros_helpers import TestPeer, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from hyperpose_core.geometry.poses import (
    Pose,
    euler_to_matrix,
    matrix_to_quaternion,
    rotate_covariance,
    rotation_vector_to_quaternion,
)
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402
from hyperpose_ros.common.conversions import (
    covariance_from_message,
    pose_from_message,
    pose_from_numbers,
    pose_to_message,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
    transform_from_message,
    transform_to_message,
)

TOLERANCE_NS = 300_000_000
WORLD_TO_MAP = (5.0, -3.0, 0.5, 0.1, -0.2, 2.0)
IN_MAP = pose_from_numbers(WORLD_TO_MAP)
MAST = Pose([0.4, 0.1, 1.0], matrix_to_quaternion(euler_to_matrix(0.0, 0.1, 0.2)))
OPTICAL = Pose([0.0, 0.06, 0.2], matrix_to_quaternion(euler_to_matrix(-1.5708, 0.0, -1.5708)))
LATCHED = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)

stamps = itertools.count(1_403_774_720 * SECOND, SECOND)
"""Rising stamps, a second apart, so that odometry of one image says nothing about another."""


@dataclass
class Robot:
    """A localizer with a camera, odometry and a TF tree of its own."""

    talk: Conversation
    camera: Publisher
    odometry: Publisher
    tf: Publisher
    tf_static: Publisher
    heard: list[TFMessage]

    def place(self, parent: str, child: str, pose: Pose, stamp_ns: int, is_static: bool = False) -> None:
        """Play another node that places a frame."""
        message = TFMessage(transforms=[transform_to_message(parent, child, pose, stamp_ns)])
        (self.tf_static if is_static else self.tf).publish(message)

    def drive(self, stamp_ns: int) -> None:
        """Say where odometry is 20 ms before and after an image."""
        for instant in (stamp_ns - 20_000_000, stamp_ns + 20_000_000):
            message = Odometry(child_frame_id="base_link")
            message.header.frame_id = "odom"
            message.header.stamp = stamp_from_nanoseconds(instant)
            message.pose.pose = pose_to_message(driven(instant - stamp_ns))
            self.odometry.publish(message)

    def look(self, seed: int = 0) -> int:
        """Send an image, wait for its pose, and return its stamp."""
        stamp_ns = next(stamps)
        self.camera.publish(message_of(draw_image(seed), stamp_ns))
        self.talk.answer(stamp_ns)
        return stamp_ns

    def transforms(self, child: str, stamp_ns: int, parent: str = "map") -> list[TransformStamped]:
        """What the localizer has said of a frame with a stamp."""
        return [
            transform
            for message in list(self.heard)
            for transform in message.transforms
            if (transform.header.frame_id, transform.child_frame_id) == (parent, child)
            and stamp_to_nanoseconds(transform.header.stamp) == stamp_ns
        ]

    def transform(self, child: str, stamp_ns: int) -> Pose:
        """Wait for a transform."""
        found = wait_until(lambda: self.transforms(child, stamp_ns), f"map -> {child} of stamp {stamp_ns}")
        return transform_from_message(found[0])

    def diagnosis(self) -> str:
        """The latest message of the diagnostics."""
        return str(self.talk.diagnostics[-1].status[0].message) if self.talk.diagnostics else ""


def driven(nanoseconds: int) -> Pose:
    """Odometry at an image's stamp plus some nanoseconds: the robot drives at 1 m/s and turns at 1 rad/s."""
    seconds = nanoseconds / SECOND
    return Pose([7.0 + seconds, 2.0, 0.0], rotation_vector_to_quaternion([0.0, 0.0, 0.3 + seconds]))


@pytest.fixture(scope="module")
def start(
    peer: TestPeer, domain_id: int, tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path
) -> Iterator[Callable[..., Robot]]:
    with localizers(peer, domain_id, tmp_path_factory.mktemp("localizers")) as start_localizer:

        def start(name: str, *parameters: str) -> Robot:
            topics = ("image", "odometry", "/tf", "/tf_static")
            image, odometry, tf, tf_static = (f"/{name}/{topic.lstrip('/')}" for topic in topics)
            publishers = (
                peer.publisher(Image, image, RELIABLE),
                peer.publisher(Odometry, odometry),
                peer.publisher(TFMessage, tf, 100),
                peer.publisher(TFMessage, tf_static, LATCHED),
            )
            heard = peer.collect(TFMessage, tf)
            conversation = start_localizer(
                name,
                f"checkpoint:={tiny_checkpoint}",
                "threads:=1",
                # The network is not trained: its poses jump.
                "jump_gate:=0.0",
                *parameters,
                remaps=tuple(f"{topic}:=/{name}/{topic.lstrip('/')}" for topic in topics),
            )
            return Robot(conversation, *publishers, heard)

        yield start


@pytest.fixture(scope="module")
def estimator(tiny_checkpoint: Path) -> PoseEstimator:
    return PoseEstimator.load(tiny_checkpoint, "cpu")


def ready(robot: Robot) -> Robot:
    """Wait until everything is connected and an image is answered."""
    robot.talk.process.wait_for_output(": active")
    for publisher in (robot.tf, robot.tf_static):
        # The test's own collector is one subscriber of /tf.
        own = 1 if publisher is robot.tf else 0
        wait_until(lambda p=publisher, own=own: p.get_subscription_count() > own, publisher.topic_name)
    robot.talk.ask(robot.camera, message_of(draw_image(0), next(stamps)))
    return robot


@pytest.fixture(scope="module")
def robot(start: Callable[..., Robot]) -> Robot:
    """A robot with odometry on a topic, whose camera TF knows and no parameter."""
    robot = start(
        "robot",
        "tf_mode:=map_odom",
        "odometry_source:=topic",
        f"transform_tolerance:={TOLERANCE_NS / SECOND}",
        f"world_to_map:={list(WORLD_TO_MAP)}",
    )
    robot.place("base_link", "mast", MAST, 0, is_static=True)
    robot.place("mast", "camera_optical_frame", OPTICAL, 0, is_static=True)
    ready(robot)
    wait_until(robot.odometry.get_subscription_count, "the odometry's subscription")
    return robot


def assert_same(pose: Pose, expected: Pose) -> None:
    np.testing.assert_allclose(pose.matrix(), expected.matrix(), atol=1e-4)


def send_with_odometry(robot: Robot, seed: int) -> tuple[int, Pose]:
    """Send odometry, then an image, until map -> odom comes; return the image's stamp and the transform."""
    found: list[tuple[int, Pose]] = []

    def sent() -> bool:
        # Odometry and image come on two topics: the first odometry may come after its image.
        stamp_ns = next(stamps)
        robot.drive(stamp_ns)
        robot.camera.publish(message_of(draw_image(seed), stamp_ns))
        robot.talk.answer(stamp_ns)
        known = robot.transforms("odom", stamp_ns + TOLERANCE_NS)
        if known:
            found.append((stamp_ns, transform_from_message(known[0])))
        return bool(found)

    wait_until(sent, "map -> odom")
    return found[-1]


def test_map_odom_and_odometry_make_the_estimated_robot(robot: Robot, estimator: PoseEstimator) -> None:
    estimate = estimator.estimate([draw_image(3)])[0]
    assert estimate.pose is not None
    stamp_ns, map_to_odom = send_with_odometry(robot, 3)
    camera = IN_MAP @ estimate.pose
    assert_same(map_to_odom @ driven(0) @ MAST @ OPTICAL, camera)
    answer = robot.talk.answer(stamp_ns)
    assert_same(pose_from_message(answer.pose), camera)
    covariance = wait_until(
        lambda: [m for m in robot.talk.with_covariance if m.header.stamp == answer.header.stamp],
        "the covariance",
    )[0].pose.covariance
    expected = rotate_covariance(estimator.checkpoint.uncertainty.covariance, IN_MAP.rotation())
    np.testing.assert_allclose(covariance_from_message(covariance), expected, atol=1e-12)


def test_without_odometry_at_the_stamp_the_pose_comes_and_no_transform(robot: Robot) -> None:
    stamp_ns = robot.look(4)
    robot.talk.wait_for_count("transforms_missing.no_odometry", 1)
    assert not robot.transforms("odom", stamp_ns + TOLERANCE_NS)
    assert "odom -> base_link is not known at the image's stamp" in robot.talk.process.output
    wait_until(lambda: "no transform map -> odom" in robot.diagnosis(), "the diagnosis")


def test_the_latest_transform_is_kept_valid_for_odometry_on_tf(robot: Robot) -> None:
    stamp_ns, map_to_odom = send_with_odometry(robot, 5)
    later = stamp_ns + 200_000_000
    robot.place("odom", "base_link", driven(200_000_000), later)
    assert_same(robot.transform("odom", later + TOLERANCE_NS), map_to_odom)


def test_where_somebody_else_places_odom_nothing_is_sent_until_they_are_silent(robot: Robot) -> None:
    send_with_odometry(robot, 6)
    robot.place("earth", "odom", MAST, next(stamps))
    expected = (
        "map -> odom is not sent: earth -> odom is on /tf, and a frame has one parent; set tf_mode to none"
    )

    def refused() -> bool:
        robot.drive(stamp_ns := next(stamps))
        robot.camera.publish(message_of(draw_image(6), stamp_ns))
        robot.talk.answer(stamp_ns)
        return expected in robot.talk.process.output

    wait_until(refused, "the refusal")
    wait_until(lambda: expected in robot.diagnosis(), "the diagnosis")
    send_with_odometry(robot, 6)
    assert "map -> odom is sent again" in robot.talk.process.output
    assert robot.talk.process.output.count(expected) == 1
    wait_until(lambda: expected not in robot.diagnosis(), "the diagnosis without it")


def test_another_localizer_that_sends_the_same_transform_is_a_rival(robot: Robot) -> None:
    send_with_odometry(robot, 7)
    robot.place("map", "odom", MAST, next(stamps))
    expected = "map -> odom is not sent: somebody else sends it on /tf, too"

    def refused() -> bool:
        robot.drive(stamp_ns := next(stamps))
        robot.camera.publish(message_of(draw_image(7), stamp_ns))
        robot.talk.answer(stamp_ns)
        return expected in robot.talk.process.output

    wait_until(refused, "the refusal")


def test_auto_places_the_camera_until_tf_knows_it_and_then_the_robot_unless_odom_does(
    start: Callable[..., Robot], estimator: PoseEstimator
) -> None:
    robot = start("newcomer")
    impossible = Pose([1e300, 0.0, -1e300], [1.0, 0.0, 0.0, 0.0])
    robot.place("base_link", "camera_optical_frame", impossible, 0, is_static=True)
    ready(robot)
    robot.talk.process.wait_for_output("base_link -> camera_optical_frame on /tf is left out")
    estimate = estimator.estimate([draw_image(8)])[0].pose
    assert estimate is not None
    assert_same(robot.transform("camera_optical_frame", robot.look(8)), estimate)

    robot.place("base_link", "camera_optical_frame", MAST @ OPTICAL, 0, is_static=True)
    found = wait_until(lambda: robot.transforms("base_link", robot.look(8)), "map -> base_link")
    assert_same(transform_from_message(found[0]) @ MAST @ OPTICAL, estimate)
    assert not robot.transforms("camera_optical_frame", robot.look(8))
    assert "is not sent" not in robot.talk.process.output

    robot.place("odom", "base_link", MAST, next(stamps))
    expected = (
        "map -> base_link is not sent: odom -> base_link is on /tf, and a frame has one parent; "
        "set tf_mode to map_odom (with odometry_source topic or tf)"
    )
    wait_until(lambda: robot.look(8) and expected in robot.talk.process.output, "the refusal")
    wait_until(lambda: expected in robot.diagnosis(), "the diagnosis")


def test_without_transforms_the_pose_may_be_the_robots(
    start: Callable[..., Robot], estimator: PoseEstimator
) -> None:
    mounted = MAST @ OPTICAL
    w, x, y, z = mounted.orientation
    numbers = [float(number) for number in (*mounted.position, x, y, z, w)]
    robot = start("silent", "tf_mode:=none", "pose_of:=base", f"camera_extrinsics:={numbers}")
    ready(robot)
    stamp_ns = robot.look(9)
    estimate = estimator.estimate([draw_image(9)])[0].pose
    assert estimate is not None
    assert_same(pose_from_message(robot.talk.answer(stamp_ns).pose) @ mounted, estimate)
    assert robot.talk.peer.node.count_publishers("/silent/tf") == 1, "the test's own"


def test_odometry_of_tf_serves_as_the_topics_does(
    start: Callable[..., Robot], estimator: PoseEstimator
) -> None:
    mounted = MAST @ OPTICAL
    w, x, y, z = mounted.orientation
    robot = start(
        "on_tf",
        "tf_mode:=map_odom",
        "odometry_source:=tf",
        "transform_tolerance:=0.3",
        f"camera_extrinsics:={[float(number) for number in (*mounted.position, x, y, z, w)]}",
    )
    ready(robot)
    estimate = estimator.estimate([draw_image(10)])[0].pose
    assert estimate is not None
    found: list[TransformStamped] = []

    def sent() -> bool:
        stamp_ns = next(stamps)
        # The newest transform is older than the image: the motion goes on.
        for before_ns in (160_000_000, 120_000_000, 80_000_000):
            robot.place("odom", "base_link", driven(-before_ns), stamp_ns - before_ns)
        robot.camera.publish(message_of(draw_image(10), stamp_ns))
        robot.talk.answer(stamp_ns)
        found.extend(robot.transforms("odom", stamp_ns + TOLERANCE_NS))
        return bool(found)

    wait_until(sent, "map -> odom")
    assert_same(transform_from_message(found[0]) @ driven(0) @ mounted, estimate)
