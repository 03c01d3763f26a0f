"""The localizer in a process of its own, over DDS: what it answers to images good and bad."""

from __future__ import annotations

import array
import itertools
import signal
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from localizer_helpers import (  # noqa: E402
    BEST_EFFORT,
    LONGEST_END_S,
    RELIABLE,
    SECOND,
    Conversation,
    assert_adds_up,
    assert_same_pose,
    message_of,
)
from rclpy.publisher import Publisher  # noqa: E402
from ros_helpers import TestPeer, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402
from hyperpose_ros.common.conversions import (
    covariance_from_message,
    pose_from_numbers,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
    transform_from_message,
)

LOOKING_AHEAD = (0.4, 0.1, 1.2, -0.5, 0.5, -0.5, 0.5)

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 7)
"""Rising stamps for the tests that use a camera one after the other."""


@pytest.fixture(scope="module")
def estimator(tiny_checkpoint: FilePath) -> PoseEstimator:
    return PoseEstimator.load(tiny_checkpoint, "cpu")


@pytest.fixture(scope="module")
def robot(start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: FilePath) -> Conversation:
    """A localizer that started itself, with extrinsics and a short path."""
    conversation = start(
        "robot",
        f"checkpoint:={tiny_checkpoint}",
        f"camera_extrinsics:={list(LOOKING_AHEAD)}",
        "path_length:=3",
        "threads:=1",
        "chekpoint:=typo",
        remaps=("image:=/robot_camera",),
    )
    conversation.process.wait_for_output("active")
    return conversation


@pytest.fixture(scope="module")
def camera(robot: Conversation, peer: TestPeer) -> Publisher:
    publisher = peer.publisher(Image, "/robot_camera", RELIABLE)
    robot.ask(publisher, message_of(draw_image(0), next(stamps)))
    return publisher


def test_every_image_is_answered_as_offline(
    robot: Conversation, camera: Publisher, estimator: PoseEstimator
) -> None:
    distances = []
    for seed in range(5):
        stamp_ns, image = next(stamps), draw_image(seed, 120, 160)
        camera.publish(message_of(image, stamp_ns))
        answer = robot.answer(stamp_ns)
        estimate = estimator.estimate([image])[0]
        assert answer.header.frame_id == "map"
        assert_same_pose(answer, estimate)
        distances.append(estimate.pose.position if estimate.pose else np.zeros(3))
    assert np.ptp(np.array(distances), axis=0).max() > 1e-2, "other images must have other poses"


def test_the_covariance_is_the_checkpoints(
    robot: Conversation, camera: Publisher, estimator: PoseEstimator
) -> None:
    stamp_ns, image = next(stamps), draw_image(7)
    camera.publish(message_of(image, stamp_ns))
    robot.answer(stamp_ns)
    stamp = stamp_from_nanoseconds(stamp_ns)
    found = wait_until(
        lambda: [message for message in robot.with_covariance if message.header.stamp == stamp],
        "the covariance",
    )
    np.testing.assert_allclose(
        covariance_from_message(found[0].pose.covariance), estimator.checkpoint.uncertainty.covariance
    )
    assert found[0].header.frame_id == "map"
    assert_same_pose(PoseStamped(pose=found[0].pose.pose), estimator.estimate([image])[0])


def test_with_extrinsics_tf_places_base_link(
    robot: Conversation, camera: Publisher, estimator: PoseEstimator
) -> None:
    stamp_ns, image = next(stamps), draw_image(8)
    camera.publish(message_of(image, stamp_ns))
    robot.answer(stamp_ns)
    stamp = stamp_from_nanoseconds(stamp_ns)
    transform = wait_until(
        lambda: [
            entry
            for message in robot.transforms
            for entry in message.transforms
            if entry.header.stamp == stamp
        ],
        "the transform",
    )[0]
    estimate = estimator.estimate([image])[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "base_link")
    assert estimate.pose is not None
    camera_pose = transform_from_message(transform) @ pose_from_numbers(LOOKING_AHEAD)
    np.testing.assert_allclose(camera_pose.matrix(), estimate.pose.matrix(), atol=1e-4)


def test_the_path_keeps_the_latest_poses_and_its_length_may_change(
    robot: Conversation, camera: Publisher
) -> None:
    sent = [next(stamps) for _ in range(5)]
    for seed, stamp_ns in enumerate(sent):
        camera.publish(message_of(draw_image(seed), stamp_ns))
        robot.answer(stamp_ns)

    def path_stamps() -> list[int]:
        return (
            [stamp_to_nanoseconds(pose.header.stamp) for pose in robot.paths[-1].poses] if robot.paths else []
        )

    wait_until(lambda: path_stamps() == sent[-3:], "a path of the last three poses")
    assert robot.paths[-1].header.frame_id == "map"
    assert robot.peer.set_parameter("/robot", "path_length", 2).successful
    stamp_ns = next(stamps)
    camera.publish(message_of(draw_image(9), stamp_ns))
    wait_until(lambda: path_stamps() == [sent[-1], stamp_ns], "a path of the last two poses")


BAD_CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("unknown_encoding", {"encoding": "32FC1"}),
    ("unknown_encoding", {"encoding": ""}),
    ("empty", {"data": array.array("B")}),
    ("empty", {"width": 0, "height": 0, "step": 0, "data": array.array("B")}),
    ("wrong_length", {"data": array.array("B", bytes(100))}),
    ("wrong_length", {"step": 3 * 128 + 1}),
    ("wrong_step", {"step": 3}),
    ("too_large", {"width": 100_000, "height": 100_000, "step": 300_000}),
    ("wrong_size", {"encoding": "nv12", "height": 95}),
]


def test_bad_messages_are_refused_and_counted_and_good_ones_answered(
    robot: Conversation, camera: Publisher, estimator: PoseEstimator
) -> None:
    robot.wait_for_count("received", 1)
    for round_number in range(2):
        for number, (_cause, changes) in enumerate(BAD_CHANGES):
            camera.publish(message_of(draw_image(1), next(stamps), **changes))
            if number % 3 == 2:
                stamp_ns, image = next(stamps), draw_image(100 * round_number + number)
                camera.publish(message_of(image, stamp_ns))
                assert_same_pose(robot.answer(stamp_ns), estimator.estimate([image])[0])
    robot.wait_for_count("refused", 2 * len(BAD_CHANGES))
    values = robot.values()
    assert_adds_up(values)
    for cause in {cause for cause, _ in BAD_CHANGES}:
        expected = 2 * sum(1 for other, _ in BAD_CHANGES if other == cause)
        assert int(values[f"refused.{cause}"]) == expected
    assert robot.process.output.count("encoding '32FC1' is unknown") == 1, "one warning, not one a message"
    assert "100000x100000" in robot.process.output
    assert robot.process.process.poll() is None


def test_in_a_burst_the_newest_image_is_answered_and_the_dropped_are_counted(
    robot: Conversation, camera: Publisher
) -> None:
    def burst_drops_something() -> bool:
        sent = [next(stamps) for _ in range(8)]
        for stamp_ns in sent:
            camera.publish(message_of(draw_image(stamp_ns % 97), stamp_ns))
        robot.answer(sent[-1])
        return robot.counted("dropped.superseded") > 0

    wait_until(burst_drops_something, "a frame to be superseded")
    wait_until(lambda: robot.counted("in_flight") == 0, "nothing to be in flight")
    values = robot.values()
    assert_adds_up(values)
    assert {key for key in values if key.startswith("dropped.")} == {"dropped.superseded"}
    for stage in ("queue", "convert", "preprocess", "network", "publish", "total"):
        median, p95 = (float(values[f"latency.{stage}.{kind}_ms"]) for kind in ("median", "p95"))
        assert 0 < median <= p95


def test_a_late_image_is_dropped_and_the_path_goes_on(robot: Conversation, camera: Publisher) -> None:
    jumps, late = robot.counted("time_jumps"), robot.counted("dropped.out_of_order")
    assert robot.peer.set_parameter("/robot", "path_length", 2).successful
    next(stamps)
    second = next(stamps)
    camera.publish(message_of(draw_image(1), second))
    robot.answer(second)
    camera.publish(message_of(draw_image(3), second - 100_000_000))
    robot.wait_for_count("dropped.out_of_order", late + 1)
    assert robot.counted("time_jumps") == jumps
    third = next(stamps)
    camera.publish(message_of(draw_image(4), third))
    robot.answer(third)

    def on_one_path() -> bool:
        stamped = [stamp_to_nanoseconds(pose.header.stamp) for pose in robot.paths[-1].poses]
        return stamped == [second, third]

    wait_until(on_one_path, "a path that the late image is no part of, and did not end")


def test_a_jump_back_in_time_starts_the_path_anew_and_localization_goes_on(
    robot: Conversation, camera: Publisher
) -> None:
    jumps = robot.counted("time_jumps")
    later = next(stamps)
    camera.publish(message_of(draw_image(1), later))
    robot.answer(later)
    earlier = [5 * SECOND, 6 * SECOND]
    for stamp_ns in earlier:
        camera.publish(message_of(draw_image(2), stamp_ns))
        robot.answer(stamp_ns)
    wait_until(
        lambda: [stamp_to_nanoseconds(pose.header.stamp) for pose in robot.paths[-1].poses] == earlier,
        "a path of nothing but the poses after the jump",
    )
    robot.wait_for_count("time_jumps", jumps + 1)
    assert robot.counted("time_jumps") == jumps + 1
    assert "went back in time" in robot.process.output
    stamp_ns = next(stamps)
    camera.publish(message_of(draw_image(3), stamp_ns))
    robot.answer(stamp_ns)


def test_an_old_image_is_dropped_once_there_is_a_limit(robot: Conversation, camera: Publisher) -> None:
    assert robot.peer.set_parameter("/robot", "max_age", 60.0).successful
    before = robot.counted("dropped.too_old")
    camera.publish(message_of(draw_image(1), next(stamps)))
    robot.wait_for_count("dropped.too_old", before + 1)
    now_ns = robot.peer.node.get_clock().now().nanoseconds
    camera.publish(message_of(draw_image(1), now_ns))
    robot.answer(now_ns)
    assert robot.peer.set_parameter("/robot", "max_age", 0.0).successful
    assert_adds_up(robot.values())


def test_parameters_refuse_what_cannot_be(robot: Conversation) -> None:
    refused = robot.peer.set_parameter("/robot", "map_frame", "another")
    assert not refused.successful and "configured" in refused.reason
    assert not robot.peer.set_parameter("/robot", "max_age", -1.0).successful
    assert "parameter chekpoint is none of this node's" in robot.process.output
    assert "did you mean checkpoint?" in robot.process.output


def test_auto_reliability_follows_the_publishers(
    robot: Conversation, camera: Publisher, peer: TestPeer, estimator: PoseEstimator
) -> None:
    robot.wait_for_count("received", 1)
    assert robot.values()["image_reliability"] == "reliable"
    second = peer.publisher(Image, "/robot_camera", BEST_EFFORT)
    wait_until(lambda: robot.values()["image_reliability"] == "best_effort", "best effort to be asked for")
    image = draw_image(11)
    assert_same_pose(robot.ask(second, message_of(image, next(stamps))), estimator.estimate([image])[0])
    peer.node.destroy_publisher(second)
    wait_until(lambda: robot.values()["image_reliability"] == "reliable", "reliable to be asked for again")
    assert_same_pose(robot.ask(camera, message_of(image, next(stamps))), estimator.estimate([image])[0])


def test_a_silent_camera_is_a_warning_that_names_the_topic(robot: Conversation, camera: Publisher) -> None:
    assert robot.peer.set_parameter("/robot", "image_timeout", 0.5).successful
    wait_until(
        lambda: "no image on /robot_camera" in robot.diagnostics[-1].status[0].message,
        "the warning of silence",
    )


def test_sigint_ends_the_node_cleanly(robot: Conversation) -> None:
    assert robot.process.stop(signal.SIGINT, timeout=LONGEST_END_S) == 0
    assert "Traceback" not in robot.process.output
    assert "ended anyway" not in robot.process.output
