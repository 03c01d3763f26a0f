"""The bag player as a process of its own: what it publishes, when it waits, how it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from domains import claimed_domain
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from ros_helpers import NodeProcess, TestPeer, wait_until
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.bags import dataset_to_bag
from hyperpose_ros.bags.messages import header, pose_message
from hyperpose_ros.bags.pacing import AnswerGate
from hyperpose_ros.bags.player import main as player_main
from hyperpose_ros.bags.reader import BagReader
from hyperpose_ros.bags.writer import BagWriter
from hyperpose_ros.common.conversions import rgb_to_image, stamp_to_nanoseconds, transform_to_message

IMAGE, TRUTH, ANSWER = "/camera/image_raw", "/ground_truth/pose", "/localizer/pose"
QUEUE = QoSProfile(depth=100)
LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with claimed_domain() as domain_id:
        yield domain_id


@pytest.fixture
def domain_for_this_process(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))


@pytest.fixture
def peer(domain: int) -> Iterator[TestPeer]:
    with TestPeer(domain) as created:
        yield created


@pytest.fixture
def start(domain: int, tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Start a bag player on a bag with options."""
    with contextlib.ExitStack() as processes:

        def begin(bag: Path, *options: str) -> NodeProcess:
            player = NodeProcess(
                "hyperpose_ros.bags.player", [str(bag), *options], domain, tmp_path / "player.log"
            )
            return processes.enter_context(player)

        yield begin


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, seven_scenes_folder: Path) -> Path:
    """24 images and true poses, 20 a second."""
    path = tmp_path_factory.mktemp("bags") / "toyroom"
    assert dataset_to_bag.main([str(path), "--data", str(seven_scenes_folder), "--rate", "20"]) == 0
    return path


def stamps(messages: list[Any]) -> list[int]:
    return [stamp_to_nanoseconds(message.header.stamp) for message in messages]


def recorded_stamps(bag: Path, topic: str) -> list[int]:
    with BagReader(bag) as reader:
        return [message.stamp_ns for message in reader.raw_messages([topic])]


Start = Callable[..., NodeProcess]


def test_two_messages_make_an_answer_where_they_should() -> None:
    gate = AnswerGate(in_flight=2, timeout_s=60.0, messages=2)
    gate.sent(1)
    gate.sent(2)
    gate.answered(1)
    gate.answered(2)
    assert not gate.is_open()
    gate.answered(1)
    assert gate.is_open()
    gate.sent(3)
    gate.answered(2)
    assert gate.is_open() and gate.unanswered == 0


def test_a_subscriber_gets_every_message_as_recorded(peer: TestPeer, start: Start, bag: Path) -> None:
    images, truths = peer.collect(Image, IMAGE), peer.collect(PoseStamped, TRUTH)
    player = start(bag, "--wait-for-subscribers", IMAGE, TRUTH, "--clock", "100")
    assert player.wait() == 0, player.output
    wait_until(lambda: len(images) == len(truths) == 24, "all messages")
    with BagReader(bag) as reader:
        assert images == [message for _, _, message in reader.messages([IMAGE])]
        assert truths == [message for _, _, message in reader.messages([TRUTH])]
    assert "24  /camera/image_raw" in player.output
    assert "replayed 48 messages" in player.output


def test_nothing_is_lost_however_fast_the_bag_goes(peer: TestPeer, start: Start, tmp_path: Path) -> None:
    """More than the publisher's history holds, faster than it can be delivered."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(1, 101):
            writer.write(IMAGE, rgb_to_image(image, index, "camera"), index)
            writer.write(TRUTH, pose_message(Pose.identity(), index, "map"), index)
    images, truths = peer.collect(Image, IMAGE), peer.collect(PoseStamped, TRUTH)
    player = start(tmp_path / "bag", "--wait-for-subscribers", IMAGE, TRUTH)
    assert player.wait() == 0, player.output
    wait_until(lambda: len(images) == len(truths) == 100, "all messages")
    assert stamps(images) == stamps(truths) == list(range(1, 101))


def test_the_clock_runs_through_the_bag_and_between_its_messages(
    peer: TestPeer, start: Start, bag: Path
) -> None:
    clocks = peer.collect(Clock, "/clock", BEST_EFFORT)
    assert start(bag, "--clock", "100", "--rate", "0.5", "--wait-for-subscribers", "/clock").wait() == 0
    times = [stamp_to_nanoseconds(message.clock) for message in clocks]
    recorded = recorded_stamps(bag, IMAGE)
    assert times == sorted(times)
    assert recorded[0] <= times[0] < recorded[12] < times[-1] <= recorded[-1]
    assert len(set(times) - set(recorded)) > 24


def test_part_of_a_bag_goes_out_under_another_name(peer: TestPeer, start: Start, bag: Path) -> None:
    renamed, images = peer.collect(Image, "/room/image"), peer.collect(Image, IMAGE)
    truths = peer.collect(PoseStamped, TRUTH)
    remap = ("--remap", f"{IMAGE}:=/room/image", "--wait-for-subscribers", "/room/image")
    player = start(bag, "--topics", IMAGE, "--start", "0.5", "--duration", "0.3", *remap)
    assert player.wait() == 0, player.output
    wait_until(lambda: len(renamed) == 6, "six images")
    assert stamps(renamed) == recorded_stamps(bag, IMAGE)[10:16]
    assert images == truths == []


def test_ros_arguments_are_respected(peer: TestPeer, start: Start, bag: Path) -> None:
    renamed = peer.collect(PoseStamped, "/renamed")
    ros = ("--ros-args", "-r", f"{TRUTH}:=/renamed")
    assert start(bag, "--rate", "10", "--wait-for-subscribers", "/renamed", *ros).wait() == 0
    wait_until(lambda: len(renamed) == 24, "all true poses")


def test_static_transforms_reach_those_who_come_late(peer: TestPeer, start: Start, tmp_path: Path) -> None:
    """Latched messages go out even when they lie before --start, and stay for late subscribers."""
    second = 1_000_000_000
    with BagWriter(tmp_path / "bag") as writer:
        for index, child in enumerate(("camera", "ins")):
            transform = transform_to_message("base_link", child, Pose.identity(), second + index)
            writer.write("/tf_static", TFMessage(transforms=[transform]), second + index)
        for index in range(100):
            stamp = second * (2 + index)
            writer.write(TRUTH, pose_message(Pose.identity(), stamp, "map"), stamp)
    truths = peer.collect(PoseStamped, TRUTH)
    player = start(tmp_path / "bag", "--start", "5")
    wait_until(lambda: truths, "a true pose")
    transforms = peer.collect(TFMessage, "/tf_static", LATCHED)
    wait_until(lambda: len(transforms) == 2, "both static transforms")
    assert player.stop() == 130
    assert [message.transforms[0].child_frame_id for message in transforms] == ["camera", "ins"]
    assert stamps(truths)[0] >= 6 * second


@pytest.fixture(scope="module")
def best_effort_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strings, as if recorded from a publisher that offered best effort."""
    path = tmp_path_factory.mktemp("bags") / "best_effort"
    types = get_typestore(Stores.ROS2_KILTED)
    never = QosTime(9223372036, 854775807)
    delivery = (QosHistory.KEEP_LAST, 5, QosReliability.BEST_EFFORT, QosDurability.VOLATILE)
    offered = Qos(*delivery, never, never, QosLiveliness.AUTOMATIC, never, False)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        name = "std_msgs/msg/String"
        connection = writer.add_connection("/text", name, typestore=types, offered_qos_profiles=[offered])
        for stamp in (1, 1_000_000_000):
            writer.write(connection, stamp, types.serialize_cdr(types.types[name](data="hello"), name))
    return path


@pytest.mark.parametrize(
    ("options", "offered"),
    [((), ReliabilityPolicy.BEST_EFFORT), (("--reliable",), ReliabilityPolicy.RELIABLE)],
)
def test_publishers_offer_what_was_recorded(
    options: tuple[str, ...],
    offered: ReliabilityPolicy,
    peer: TestPeer,
    start: Start,
    best_effort_bag: Path,
) -> None:
    player = start(best_effort_bag, "--loop", *options)
    (endpoint,) = wait_until(lambda: peer.node.get_publishers_info_by_topic("/text"), "a publisher")
    assert endpoint.qos_profile.reliability == offered
    assert player.stop() == 130
    assert player.output.strip().splitlines()[-1] == "bag_player: interrupted"


@pytest.mark.parametrize("in_flight", [1, 3])
def test_in_step_no_image_goes_out_before_the_last_is_answered(
    in_flight: int, peer: TestPeer, start: Start, bag: Path
) -> None:
    """The bag asks for 1000 times real time; answers take 20 ms each."""
    answers = peer.publisher(PoseStamped, ANSWER, QUEUE)
    received: list[Image] = []
    most_waiting = answered = 0

    def receive(image: Image) -> None:
        nonlocal most_waiting
        received.append(image)
        most_waiting = max(most_waiting, len(received) - answered)

    peer.node.create_subscription(Image, IMAGE, receive, QUEUE)
    step = ("--in-step-with", ANSWER, "--in-flight", str(in_flight))
    player = start(bag, "--rate", "1000", "--wait-for-subscribers", *step)
    while answered < 24:
        wait_until(lambda: len(received) > answered, "the next image")  # noqa: B023
        time.sleep(0.02)
        answered += 1
        answers.publish(PoseStamped(header=received[answered - 1].header))
    assert player.wait() == 0, player.output
    assert stamps(received) == recorded_stamps(bag, IMAGE)
    assert most_waiting == in_flight
    assert "no answer" not in player.output


def test_an_image_without_an_answer_holds_the_bag_up_for_a_while_only(
    peer: TestPeer, start: Start, bag: Path
) -> None:
    answers = peer.publisher(PoseStamped, ANSWER, QUEUE)
    unanswered = recorded_stamps(bag, IMAGE)[7]
    received: list[Image] = []

    def receive(image: Image) -> None:
        received.append(image)
        if stamps([image]) != [unanswered]:
            answers.publish(PoseStamped(header=image.header))

    peer.node.create_subscription(Image, IMAGE, receive, QUEUE)
    step = ("--in-step-with", ANSWER, "--step-timeout", "0.5")
    player = start(bag, "--rate", "100", "--wait-for-subscribers", *step)
    assert player.wait() == 0, player.output
    assert len(received) == 24
    assert "bag_player: images that got no answer in time: 1" in player.output


def complaint(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Run the player here, without a network, and return the one line that it complains with."""
    assert player_main(arguments) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    return line.removeprefix("bag_player: error: ")


@pytest.mark.usefixtures("domain_for_this_process")
def test_mistakes_are_one_line_each(bag: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing"
    has = "/camera/image_raw (sensor_msgs/msg/Image), /ground_truth/pose (geometry_msgs/msg/PoseStamped)"
    assert complaint([str(missing)], capfd) == f"{missing}: no such bag"
    assert complaint([str(bag), "--topics", "/depth"], capfd) == f"{bag}: no topic /depth; it has: {has}"
    late = complaint([str(bag), "--start", "60"], capfd)
    assert late == f"{bag}: cannot start at 60 s, the bag is 1.150 s long"
    remap = complaint([str(bag), "--remap", f"{IMAGE}=/image"], capfd)
    assert remap == f"--remap {IMAGE}=/image: expected /topic_in_the_bag:=/topic_to_publish"


@pytest.mark.usefixtures("domain_for_this_process")
def test_waiting_in_vain_is_an_error(bag: Path, capfd: pytest.CaptureFixture[str]) -> None:
    patience = ["--wait-timeout", "0.5"]
    line = complaint([str(bag), "--wait-for-subscribers", *patience], capfd)
    assert line == f"nothing subscribes to {IMAGE} after 0.5 s"
    line = complaint([str(bag), "--in-step-with", ANSWER, *patience], capfd)
    assert line == f"nothing publishes {ANSWER} after 0.5 s"


def test_a_message_type_that_is_not_installed_is_left_out(
    peer: TestPeer, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "mixed"
    types = get_typestore(Stores.ROS2_KILTED)
    with Writer(path, version=9) as writer:
        strange = writer.add_connection(
            "/strange", "far_msgs/msg/Away", msgdef="int32 x\n", rihs01="RIHS01_0"
        )
        writer.write(strange, 1, b"\x00\x01\x00\x00\x07\x00\x00\x00")
        plain = writer.add_connection(TRUTH, "geometry_msgs/msg/PoseStamped", typestore=types)
        writer.write(plain, 2, serialize_message(PoseStamped(header=header(2, "map"))))
    truths = peer.collect(PoseStamped, TRUTH)
    player = start(path, "--wait-for-subscribers", TRUTH)
    assert player.wait() == 0, player.output
    wait_until(lambda: len(truths) == 1, "the true pose")
    unknown = "message type 'far_msgs/msg/Away' is not installed; it is in the package 'far_msgs'"
    assert f"bag_player: /strange is left out: {unknown}" in player.output
    player = start(path, "--topics", "/strange")
    assert player.wait() == 2
    assert f"bag_player: error: {path}: cannot play /strange: {unknown}" in player.output
