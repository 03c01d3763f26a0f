"""Topics that do not meet, by quality of service, type or name: diagnostics say so, and what would help."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from localizer_helpers import (  # noqa: E402
    BEST_EFFORT,
    RELIABLE,
    SECOND,
    Conversation,
    localizers,
    message_of,
)
from rclpy.qos import QoSDurabilityPolicy, QoSProfile  # noqa: E402
from rclpy.utilities import get_rmw_implementation_identifier  # noqa: E402
from ros_helpers import PROJECT_ROOT, TestPeer, wait_until  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402

LATCHED = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 7)


@pytest.fixture(scope="module")
def robot(
    peer: TestPeer, domain_id: int, tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath
) -> Iterator[Conversation]:
    """A localizer that demands more of its camera than most cameras offer."""
    with localizers(peer, domain_id, tmp_path_factory.mktemp("localizers")) as start:
        robot = start(
            "demanding",
            f"checkpoint:={tiny_checkpoint}",
            "threads:=1",
            "region_margin:=0.0",
            "image_reliability:=reliable",
            "qos_overrides./eye.subscription.durability:=transient_local",
            remaps=("image:=/eye",),
        )
        robot.process.wait_for_output("active")
        yield robot


def wait_for_words(robot: Conversation, *words: str) -> None:
    def warning() -> str:
        status = robot.diagnostics[-1].status[0] if len(robot.diagnostics) else None
        return status.message if status is not None and status.level == b"\x01" else ""

    for word in words:
        wait_until(lambda word=word: word in warning(), f"{word!r} in diagnostics")


def wait_for_no_words(robot: Conversation, words: str) -> None:
    wait_until(lambda: words not in robot.diagnostics[-1].status[0].message, f"{words!r} to be gone")


def test_a_camera_that_offers_less_is_named_with_the_policy_and_the_mending(
    robot: Conversation, peer: TestPeer
) -> None:
    volatile = peer.publisher(Image, "/eye", RELIABLE)
    wait_for_words(
        robot,
        "/peer offers volatile on /eye, this node asks for transient_local: nothing arrives from it",
        "set qos_overrides./eye.subscription.durability to volatile, or make the publisher transient_local",
    )
    peer.node.destroy_publisher(volatile)
    unreliable = peer.publisher(Image, "/eye", BEST_EFFORT)
    wait_for_words(robot, "/peer offers best_effort on /eye", "set image_reliability to auto or best_effort")
    peer.node.destroy_publisher(unreliable)
    wait_for_words(robot, "no publisher on /eye")

    latched = peer.publisher(Image, "/eye", LATCHED)
    robot.ask(latched, message_of(draw_image(1), next(stamps)))
    wait_for_no_words(robot, "/eye")
    peer.node.destroy_publisher(latched)


def test_a_listener_that_asks_for_more_than_is_offered_is_named_until_it_leaves(
    robot: Conversation, peer: TestPeer
) -> None:
    camera = peer.publisher(Image, "/eye", LATCHED)
    listener = peer.node.create_subscription(PoseStamped, "/demanding/pose", lambda _: None, LATCHED)
    setting = "qos_overrides./demanding/pose.publisher.durability"
    advice = f"set {setting} to transient_local, or let it ask for volatile"
    wait_for_words(
        robot, "/peer asks for transient_local on /demanding/pose, this node offers volatile", advice
    )
    robot.process.wait_for_output(advice)
    peer.node.destroy_subscription(listener)
    wait_for_no_words(robot, "/demanding/pose")
    peer.node.destroy_publisher(camera)


def test_images_of_another_kind_or_under_another_name_are_pointed_at(
    robot: Conversation, peer: TestPeer, domain_id: int
) -> None:
    beside = peer.publisher(CompressedImage, "/eye/compressed", LATCHED)
    wait_for_words(robot, "no publisher on /eye, but on /eye/compressed: set image_transport to compressed")
    peer.node.destroy_publisher(beside)

    # A participant of DDS never has two types on one topic.
    with TestPeer(domain_id, "careless") as careless:
        careless.publisher(CompressedImage, "/eye", LATCHED)
        wait_for_words(
            robot,
            "no publisher of sensor_msgs/msg/Image on /eye: /eye has compressed images",
            "set image_transport to compressed and remap /eye/compressed to /eye",
        )
    with TestPeer(domain_id, "confused") as confused:
        confused.publisher(String, "/eye", LATCHED)
        wait_for_words(robot, "no publisher of sensor_msgs/msg/Image on /eye, but of std_msgs/msg/String")


def test_a_topic_that_was_named_with_its_suffix_is_pointed_at(
    peer: TestPeer, domain_id: int, tmp_path: FilePath, tiny_checkpoint: FilePath
) -> None:
    peer.publisher(CompressedImage, "/ear/compressed", RELIABLE)
    with localizers(peer, domain_id, tmp_path) as start:
        robot = start("suffixed", f"checkpoint:={tiny_checkpoint}", remaps=("image:=/ear/compressed",))
        wait_for_words(robot, "set image_transport to compressed and remap image to /ear")


def test_with_the_profile_large_best_effort_images_arrive(domain_id: int) -> None:
    if "fastrtps" not in get_rmw_implementation_identifier():
        pytest.skip("the middleware is not Fast DDS")
    file = PROJECT_ROOT / "benchmarks" / "transport.py"
    spec = importlib.util.spec_from_file_location("transport", file)
    assert spec is not None and spec.loader is not None
    transport = sys.modules["transport"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(transport)
    options = argparse.Namespace(width=640, height=480, rate=10.0, count=20, domain=domain_id)
    measured = transport.measure(options, "config/fastdds_large_images.xml", "best_effort")
    # Without it, none to three of twenty arrive.
    assert measured.arrived > 15
