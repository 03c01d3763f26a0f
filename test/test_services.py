"""The localizer's ~/enable and ~/reset, in a process of its own over DDS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from domains import claimed_domain  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from localizer_helpers import (  # noqa: E402
    RELIABLE,
    SECOND,
    Conversation,
    assert_adds_up,
    localizers,
    message_of,
)
from rclpy.publisher import Publisher  # noqa: E402
from ros_helpers import TestPeer, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from hyperpose_ros.common.conversions import stamp_to_nanoseconds  # noqa: E402

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 7)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath) -> Iterator[Conversation]:
    folder = tmp_path_factory.mktemp("localizers")
    with claimed_domain() as domain_id, TestPeer(domain_id) as peer:
        with localizers(peer, domain_id, folder) as start:
            robot = start("robot", f"checkpoint:={tiny_checkpoint}", "threads:=1", "autostart:=false")
            wait_until(lambda: robot.values().get("state") == "unconfigured", "diagnostics")
            yield robot


def enable(robot: Conversation, on: bool) -> SetBool.Response:
    answer: SetBool.Response = robot.peer.call(SetBool, "/robot/enable", SetBool.Request(data=on))
    return answer


def reset(robot: Conversation) -> Trigger.Response:
    answer: Trigger.Response = robot.peer.call(Trigger, "/robot/reset", Trigger.Request())
    return answer


def test_before_configuration_every_service_says_that_it_is_missing(robot: Conversation) -> None:
    load = robot.peer.call(Trigger, "/robot/load_checkpoint", Trigger.Request())
    for answer in (load, enable(robot, True), reset(robot)):
        assert not answer.success and answer.message == "the node is not configured"


@pytest.fixture(scope="module")
def camera(robot: Conversation) -> Publisher:
    assert robot.peer.change_state("/robot", Transition.TRANSITION_CONFIGURE)
    assert robot.peer.change_state("/robot", Transition.TRANSITION_ACTIVATE)
    publisher = robot.peer.publisher(Image, "/image", RELIABLE)
    robot.ask(publisher, message_of(draw_image(0), next(stamps)))
    return publisher


def test_a_disabled_node_drops_and_counts_images_and_says_so(robot: Conversation, camera: Publisher) -> None:
    answer = enable(robot, False)
    assert answer.success and "disabled" in answer.message
    answered = len(robot.poses)
    for _ in range(3):
        camera.publish(message_of(draw_image(1), next(stamps)))
    robot.wait_for_count("dropped.disabled", 3)
    assert len(robot.poses) == answered and robot.counted("dropped.disabled") == 3
    assert camera.get_subscription_count() == 1
    status = robot.diagnostics[-1].status[0]
    assert status.level == b"\x01" and "call ~/enable" in status.message
    assert robot.values()["enabled"] == "false"
    assert_adds_up(robot.values())

    assert enable(robot, True).success
    stamp_ns = next(stamps)
    camera.publish(message_of(draw_image(2), stamp_ns))
    robot.answer(stamp_ns)
    wait_until(lambda: robot.diagnostics[-1].status[0].message == "localizing", "diagnostics to be content")


def test_a_reset_forgets_the_path_and_the_time_and_keeps_the_counters(
    robot: Conversation, camera: Publisher
) -> None:
    stamp_ns = next(stamps)
    camera.publish(message_of(draw_image(3), stamp_ns))
    robot.answer(stamp_ns)
    wait_until(lambda: robot.paths and len(robot.paths[-1].poses) > 1, "a path of several poses")
    before = robot.wait_for_rest()
    answer = reset(robot)
    assert answer.success and "path" in answer.message and "counters stay" in answer.message
    earlier = 5 * SECOND
    camera.publish(message_of(draw_image(4), earlier))
    robot.answer(earlier)

    def path_stamps() -> list[int]:
        return [stamp_to_nanoseconds(pose.header.stamp) for pose in robot.paths[-1].poses]

    wait_until(lambda: path_stamps() == [earlier], "a path of nothing but the pose after the reset")
    robot.wait_for_count("published", int(before["published"]) + 1)
    assert robot.counted("time_jumps") == int(before["time_jumps"]), "what is forgotten cannot be jumped from"


def test_what_is_read_at_configuration_is_refused_with_the_way_out(
    robot: Conversation, camera: Publisher
) -> None:
    refused = robot.peer.set_parameter("/robot", "device", "cpu")
    assert not refused.successful and "after a cleanup" in refused.reason
    assert robot.peer.set_parameter("/robot", "image_timeout", 60.0).successful
