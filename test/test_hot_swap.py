"""Another checkpoint for a running localizer, in a process of its own over DDS."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator
from pathlib import Path as FilePath

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

import torch  # noqa: E402
from conftest import draw_image, see_images  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from localizer_helpers import (  # noqa: E402
    LONGEST_END_S,
    SECOND,
    Conversation,
    assert_adds_up,
    assert_same_pose,
    localizers,
    message_of,
)
from rclpy.publisher import Publisher  # noqa: E402
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from ros_helpers import TestPeer, diagnostic_values, send_until, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.inference.estimator import PoseEstimate, PoseEstimator  # noqa: E402
from hyperpose_core.models.registry import build_model  # noqa: E402
from hyperpose_ros.common.conversions import pose_from_message, stamp_to_nanoseconds  # noqa: E402
from hyperpose_ros.localizer.estimator_slot import EstimatorSlot, LoadedCheckpoint  # noqa: E402

PERIOD_S = 1 / 30
DEPTH = 1000
"""Of the queues between camera and node: what DDS would lose is not what is looked at here."""

ALL_OF_THEM = QoSProfile(depth=DEPTH, reliability=QoSReliabilityPolicy.RELIABLE)
PICTURES = [draw_image(seed) for seed in range(5)]

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 30)


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath) -> FilePath:
    """A network like the tiny one with other weights, in a world a hundred metres away."""
    known = load_checkpoint(tiny_checkpoint)
    torch.manual_seed(5)
    network = build_model(known.architecture, known.options)
    see_images(network, torch.stack([known.preprocessing(draw_image(seed)) for seed in range(16)]))
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    normalisation = PositionNormalisation(np.array([[100.0, 0.0, 0.0]]), 2.0)
    save_checkpoint(
        path,
        Checkpoint(
            known.architecture,
            known.options,
            network.state_dict(),
            known.preprocessing,
            normalisation=normalisation,
        ),
    )
    return path


@pytest.fixture(scope="module")
def robot(
    peer: TestPeer, domain_id: int, tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath
) -> Iterator[Conversation]:
    with localizers(peer, domain_id, tmp_path_factory.mktemp("localizers")) as start:
        robot = start(
            "robot",
            f"checkpoint:={tiny_checkpoint}",
            "threads:=1",
            f"qos_overrides./camera.subscription.depth:={DEPTH}",
            remaps=("image:=/camera",),
        )
        robot.process.wait_for_output("active")
        yield robot


@pytest.fixture(scope="module")
def camera(robot: Conversation, peer: TestPeer) -> Publisher:
    publisher = peer.publisher(Image, "/camera", ALL_OF_THEM)
    robot.ask(publisher, message_of(PICTURES[0], next(stamps)))
    return publisher


@pytest.fixture(scope="module")
def statuses(peer: TestPeer) -> list[DiagnosticArray]:
    return peer.collect(DiagnosticArray, "/robot/status")


class Stream:
    """Sends the pictures in turn, 30 a second, until it is ended.

    Attributes:
        sent: stamp and the picture's number of each image sent.
    """

    def __init__(self, camera: Publisher) -> None:
        self.sent: list[tuple[int, int]] = []
        self._camera = camera
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, more: int) -> None:
        """Wait until so many more images are sent."""
        goal = len(self.sent) + more
        wait_until(lambda: len(self.sent) >= goal, f"{goal} images to be sent")

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            number = len(self.sent) % len(PICTURES)
            stamp_ns = next(stamps)
            self._camera.publish(message_of(PICTURES[number], stamp_ns))
            self.sent.append((stamp_ns, number))


def load(peer: TestPeer, checkpoint: FilePath | str) -> Trigger.Response:
    assert peer.set_parameter("/robot", "checkpoint", str(checkpoint)).successful
    answer: Trigger.Response = peer.call(Trigger, "/robot/load_checkpoint", Trigger.Request())
    return answer


def stamp_of(message: PoseStamped | DiagnosticArray) -> int:
    return stamp_to_nanoseconds(message.header.stamp)


def answers_of(checkpoint: FilePath) -> list[PoseEstimate]:
    estimator = PoseEstimator.load(checkpoint, "cpu")
    return [estimator.estimate([picture])[0] for picture in PICTURES]


def test_a_swap_under_load_loses_no_frame_and_mixes_none(
    robot: Conversation,
    camera: Publisher,
    peer: TestPeer,
    statuses: list[DiagnosticArray],
    tiny_checkpoint: FilePath,
    other_checkpoint: FilePath,
) -> None:
    answers = {"former": answers_of(tiny_checkpoint), "new": answers_of(other_checkpoint)}
    files = {"former": tiny_checkpoint, "new": other_checkpoint}
    received, heard = int(robot.wait_for_rest()["received"]), len(robot.poses)
    assert peer.set_parameter("/robot", "checkpoint", str(other_checkpoint)).successful
    stream = Stream(camera)
    stream.wait_for(10)
    begun = len(stream.sent)
    answer = peer.call(Trigger, "/robot/load_checkpoint", Trigger.Request())
    loaded, answered = len(stream.sent), {stamp_of(pose) for pose in robot.poses}
    stream.wait_for(15)
    stream.end()
    assert answer.success, answer.message
    assert "hyperpose" in answer.message and str(other_checkpoint) in answer.message

    robot.wait_for_count("received", received + len(stream.sent))
    values = robot.wait_for_rest()
    assert_adds_up(values)
    assert int(values["received"]) == received + len(stream.sent), "an image is lost"
    assert {key for key in values if "." in key and key.startswith(("withheld", "refused"))} == set()
    assert {key for key in values if key.startswith("dropped.")} <= {"dropped.superseded"}

    picture_of = dict(stream.sent)
    poses = {stamp_of(pose): pose for pose in robot.poses[heard:]}
    sources = []
    for stamp_ns, pose in poses.items():
        position = pose_from_message(pose.pose).position
        source = "new" if position[0] > 50 else "former"
        assert_same_pose(pose, answers[source][picture_of[stamp_ns]])
        sources.append(source)
    assert sources == sorted(sources), "the former network answered after the new one"
    assert "former" in sources
    after = [stamp_ns for stamp_ns, _ in stream.sent[loaded:] if stamp_ns in poses]
    assert after and all(pose_from_message(poses[stamp_ns].pose).position[0] > 50 for stamp_ns in after)
    during = {stamp_ns for stamp_ns, _ in stream.sent[begun:loaded]}
    assert during & answered, "nothing was answered while the checkpoint was being loaded"

    wait_until(lambda: len(statuses) >= len(poses), "a status for every pose")
    named = {stamp_of(array): diagnostic_values(array)["checkpoint"] for array in statuses}
    assert [named[stamp_ns] for stamp_ns in poses] == [str(files[source]) for source in sources]
    wait_until(lambda: robot.values()["checkpoint"] == str(other_checkpoint), "diagnostics to name the file")


def test_where_a_checkpoint_cannot_be_loaded_the_running_one_stays(
    robot: Conversation, camera: Publisher, peer: TestPeer, other_checkpoint: FilePath, tmp_path: FilePath
) -> None:
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(other_checkpoint.read_bytes()[:5000])
    for name, reason in (
        (str(truncated), f"{truncated}: truncated"),
        ("", "parameter checkpoint is not set"),
    ):
        answer = load(peer, name)
        assert not answer.success
        assert reason in answer.message and f"still in use: {other_checkpoint}" in answer.message
        assert answer.message in robot.process.output
    stamp_ns = next(stamps)
    camera.publish(message_of(PICTURES[1], stamp_ns))
    assert_same_pose(robot.answer(stamp_ns), answers_of(other_checkpoint)[1])
    assert robot.values()["checkpoint"] == str(other_checkpoint)


def rewrite_in_place(path: FilePath, content: bytes, pieces: int) -> Iterator[None]:
    """Write into a file as scp does, in pieces; yields once between them, while the file is a mixture."""
    size = -(-len(content) // pieces)
    with path.open("r+b", buffering=0) as stream:
        for piece in range(pieces):
            stream.write(content[piece * size : (piece + 1) * size])
            if piece == pieces // 2 - 1:
                yield
        stream.truncate()


def test_a_file_rewritten_in_place_neither_ends_the_node_nor_mixes_networks(
    robot: Conversation,
    camera: Publisher,
    peer: TestPeer,
    tiny_checkpoint: FilePath,
    other_checkpoint: FilePath,
    tmp_path: FilePath,
) -> None:
    path = tmp_path / "in use.safetensors"
    contents = [tiny_checkpoint.read_bytes(), other_checkpoint.read_bytes()]
    path.write_bytes(contents[0])
    assert load(peer, path).success
    heard = len(robot.poses)
    stream = Stream(camera)
    for turn in range(50):
        content = contents[(turn + 1) % 2]
        is_slow = turn % 3 == 0
        for _ in rewrite_in_place(path, content, 64 if is_slow else 2):
            if is_slow:
                stream.wait_for(5)  # images that are answered while the file is a mixture
            if turn % 10 == 5:
                answer = peer.call(Trigger, "/robot/load_checkpoint", Trigger.Request())
                assert not answer.success and ("checksum" in answer.message or "truncated" in answer.message)
        if turn % 3 == 2:
            path.write_bytes(content[: len(content) // 2])  # shorter: what was mapped would be gone
        stream.wait_for(1)
        path.write_bytes(content)
        if turn % 10 == 0:
            assert peer.call(Trigger, "/robot/load_checkpoint", Trigger.Request()).success
    stream.end()
    robot.wait_for_rest()
    answers = {False: answers_of(tiny_checkpoint), True: answers_of(other_checkpoint)}
    picture_of = dict(stream.sent)
    poses = [pose for pose in robot.poses[heard:] if stamp_of(pose) in picture_of]
    for pose in poses:
        is_other = bool(pose_from_message(pose.pose).position[0] > 50)
        assert_same_pose(pose, answers[is_other][picture_of[stamp_of(pose)]])
    assert len(poses) > 25, "too few poses to say anything"


def test_a_second_call_is_refused_while_the_first_is_at_work_and_scenes_come_with_their_network(
    robot: Conversation, camera: Publisher, peer: TestPeer, two_scene_checkpoint: FilePath
) -> None:
    assert peer.set_parameter("/robot", "checkpoint", str(two_scene_checkpoint)).successful
    client = peer.client(Trigger, "/robot/load_checkpoint")
    first, second = client.call_async(Trigger.Request()), client.call_async(Trigger.Request())
    wait_until(second.done, "an answer to the second call")
    assert not second.result().success and "another checkpoint is being loaded" in second.result().message
    wait_until(first.done, "an answer to the first call")
    assert first.result().success, first.result().message
    peer.node.destroy_client(client)
    message = message_of(PICTURES[2], next(stamps))
    send_until(camera, message, lambda: robot.scenes, "the scene that the new network chose")
    assert diagnostic_values(robot.scenes[-1])["scene"] in ("attic", "cellar")


def test_a_cleanup_while_a_checkpoint_is_loaded_answers_the_call_and_the_way_back_is_open(
    robot: Conversation,
    camera: Publisher,
    peer: TestPeer,
    slow_checkpoint: FilePath,
    tiny_checkpoint: FilePath,
) -> None:
    assert peer.set_parameter("/robot", "checkpoint", str(slow_checkpoint)).successful
    client = peer.client(Trigger, "/robot/load_checkpoint")
    call = client.call_async(Trigger.Request())
    assert peer.change_state("/robot", Transition.TRANSITION_DEACTIVATE)
    assert peer.change_state("/robot", Transition.TRANSITION_CLEANUP)
    wait_until(call.done, "an answer to the call")
    assert not call.result().success and "cleaned up meanwhile" in call.result().message
    peer.node.destroy_client(client)
    assert peer.set_parameter("/robot", "checkpoint", str(tiny_checkpoint)).successful
    assert peer.change_state("/robot", Transition.TRANSITION_CONFIGURE)
    assert peer.change_state("/robot", Transition.TRANSITION_ACTIVATE)
    message = message_of(PICTURES[3], next(stamps))
    assert_same_pose(robot.ask(camera, message), answers_of(tiny_checkpoint)[3])


def test_sigterm_ends_the_node_while_a_checkpoint_is_loaded(
    robot: Conversation, camera: Publisher, peer: TestPeer, slow_checkpoint: FilePath
) -> None:
    assert peer.set_parameter("/robot", "checkpoint", str(slow_checkpoint)).successful
    client = peer.client(Trigger, "/robot/load_checkpoint")
    call = client.call_async(Trigger.Request())
    stamp_ns = next(stamps)
    camera.publish(message_of(PICTURES[4], stamp_ns))
    robot.answer(stamp_ns)
    assert not call.done(), "images and other calls are answered meanwhile"
    assert robot.process.stop(signal.SIGTERM, timeout=LONGEST_END_S) == 0
    peer.node.destroy_client(client)
    assert "Traceback" not in robot.process.output and "ended anyway" not in robot.process.output


def test_a_swap_waits_for_the_set_of_frames_in_hand(tiny_checkpoint: FilePath) -> None:
    estimator = PoseEstimator.load(tiny_checkpoint, "cpu")
    former, new = (LoadedCheckpoint(FilePath(name), estimator) for name in ("former", "new"))
    slot = EstimatorSlot(former)
    events: list[str] = []

    def swap() -> None:
        assert slot.swap(new) is former
        events.append("swapped")

    # The worker's and the refinement's.
    with slot.use() as in_hand:
        with slot.use():
            swapping = threading.Thread(target=swap, daemon=True)
            swapping.start()
            wait_until(lambda: slot.current is new, "the swap to begin")
            swapping.join(0.2)
        swapping.join(0.2)
        events.append("done with it")
    swapping.join()
    assert in_hand is former and events == ["done with it", "swapped"]
    with slot.use() as in_hand:
        assert in_hand is new
