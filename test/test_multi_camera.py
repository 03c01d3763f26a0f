"""Several cameras in one localizer: where they are, and one pose of the body fused from all of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from localizer_helpers import (  # noqa: E402
    RELIABLE,
    SECOND,
    Conversation,
    assert_adds_up,
    localizers,
    message_of,
)
from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from ros_helpers import TestPeer, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint  # noqa: E402
from hyperpose_core.errors import HyperPoseError  # noqa: E402
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimate, PoseEstimator  # noqa: E402
from hyperpose_ros.common.conversions import (
    covariance_from_message,
    pose_from_message,
    pose_from_numbers,
    stamp_to_nanoseconds,
    transform_from_message,
)
from hyperpose_ros.common.fix import Fix, PoseWithCovariance  # noqa: E402
from hyperpose_ros.fusion.locator import Locator  # noqa: E402
from hyperpose_ros.fusion.pose_fusion import body_from_camera, fuse  # noqa: E402
from hyperpose_ros.images.cameras import Camera, declare_cameras, read_cameras  # noqa: E402
from hyperpose_ros.images.inbox import Frame  # noqa: E402
from hyperpose_ros.parameters.localizer import LocalizerParameters  # noqa: E402
from hyperpose_ros.parameters.on_node import NodeParameters, unused_overrides  # noqa: E402
from hyperpose_ros.tf.plan import FramePlan  # noqa: E402
from hyperpose_ros.tf.policy import TransformPolicy  # noqa: E402
from hyperpose_ros.tf.tree import FrameTree  # noqa: E402

FRONT = (0.4, 0.1, 1.2, -0.5, 0.5, -0.5, 0.5)
OFFSET = (0.06, -0.04, 0.02, 0.01, -0.02, 0.015)
"""By how much the rear camera of the tests has the body elsewhere than the front camera."""
MILLISECOND = 1_000_000


def test_cameras_have_topics_and_extrinsics_by_name() -> None:
    given = {"front.camera_extrinsics": FRONT, "rear.camera_extrinsics": ()}
    front, rear = read_cameras(LocalizerParameters(cameras=("front", "rear")), given.__getitem__)
    assert (front.name, front.topic, front.info_topic) == ("front", "front/image", "front/camera_info")
    assert rear.name == "rear" and rear.extrinsics is None
    assert front.extrinsics is not None
    np.testing.assert_allclose(front.extrinsics.position, FRONT[:3])
    (only,) = read_cameras(LocalizerParameters(camera_extrinsics=FRONT), given.__getitem__)
    assert (only.name, only.topic) == ("", "image") and only.extrinsics is not None


def test_extrinsics_that_are_no_pose_or_belong_to_nobody_are_named() -> None:
    values = LocalizerParameters(cameras=("front",))
    with pytest.raises(HyperPoseError, match="parameter front.camera_extrinsics"):
        read_cameras(values, lambda _: (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    values = LocalizerParameters(cameras=("front", "rear"), camera_extrinsics=FRONT)
    with pytest.raises(HyperPoseError, match="set front.camera_extrinsics, rear.camera_extrinsics"):
        read_cameras(values, lambda _: FRONT)


def locate(extrinsics: dict[str, Pose | None], poses: list[Pose | None]) -> Fix:
    """What cameras on a robot say together, the first poses being those of the first cameras."""
    values = LocalizerParameters(cameras=tuple(extrinsics))
    cameras = [Camera(name, "", "", pose) for name, pose in extrinsics.items()]
    plan = FramePlan(values, list(extrinsics.values()), FrameTree())
    pose_of = TransformPolicy(values, plan, None).pose_of
    frames = [Frame(Image(), 7 + index, 0, 1, index) for index in range(len(poses))]
    covariance = np.diag([0.01, 0.01, 0.01, 1e-4, 1e-4, 1e-4])
    return Locator(plan, cameras, pose_of).fix(frames, [PoseEstimate(pose, covariance) for pose in poses])


def test_the_camera_that_contradicts_the_others_is_named() -> None:
    extrinsics = {name: Pose([0.0, side, 1.0], [1.0, side, 0.0, 0.0]) for side, name in enumerate("abc")}
    body = Pose([5.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.3])
    poses: list[Pose | None] = [body @ pose for pose in extrinsics.values()]
    fix = locate(dict(extrinsics), poses)
    assert fix.base is not None and fix.published is fix.base and fix.left_out == ()
    np.testing.assert_allclose(fix.base.pose.matrix(), body.matrix(), atol=1e-9)
    assert fix.stamp_ns == 9
    poses[1] = Pose([50.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    fix = locate(dict(extrinsics), poses)
    assert fix.base is not None and fix.left_out == ("b",) and fix.disagreement == ""
    np.testing.assert_allclose(fix.base.pose.matrix(), body.matrix(), atol=1e-9)
    fix = locate(dict(extrinsics), poses[:2])
    assert "cameras a, b contradict" in fix.disagreement


def test_a_camera_that_says_nothing_or_sits_nobody_knows_where_leaves_it_to_the_others() -> None:
    front, body = pose_from_numbers(FRONT), Pose([5.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.3])
    elsewhere = Pose([90.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    for fix in (
        locate({"front": front, "rear": front}, [body @ front, None]),
        locate({"front": front, "rear": None}, [body @ front, elsewhere]),
    ):
        assert fix.base is not None and len(fix.views) == 2
        np.testing.assert_allclose(fix.base.pose.matrix(), body.matrix(), atol=1e-9)
    nowhere = locate({"front": None, "rear": None}, [elsewhere, elsewhere])
    assert nowhere.base is None and nowhere.published is None


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that is fed whole images, so that images of other shapes are inputs of other sizes."""
    loaded = load_checkpoint(tiny_checkpoint)
    preprocessing = dataclasses.replace(loaded.preprocessing, crop=None)
    path = tmp_path_factory.mktemp("whole_images") / "whole_images.safetensors"
    save_checkpoint(path, dataclasses.replace(loaded, preprocessing=preprocessing))
    return path


class Truth:
    """What the two cameras of the tests say, offline, of two images, from where they sit on the robot."""

    def __init__(self, checkpoint: Path) -> None:
        self.images = (draw_image(1), draw_image(2, 96, 96))
        estimator = PoseEstimator.load(checkpoint, "cpu")
        views = []
        for image in self.images:
            (estimate,) = estimator.estimate([image])
            assert estimate.pose is not None
            views.append(PoseWithCovariance(estimate.pose, estimate.covariance))
        self.front = pose_from_numbers(FRONT)
        body = body_from_camera(views[0], self.front).pose
        turn = rotation_vector_to_quaternion(OFFSET[3:])
        elsewhere = Pose(
            body.position + OFFSET[:3],
            (Pose(np.zeros(3), turn) @ Pose(np.zeros(3), body.orientation)).orientation,
        )
        self.rear = elsewhere.inverse() @ views[1].pose
        self.alone = [
            body_from_camera(view, extrinsics)
            for view, extrinsics in zip(views, (self.front, self.rear), strict=True)
        ]
        self.fused = fuse(self.alone).fused


@pytest.fixture(scope="module")
def truth(checkpoint: Path) -> Truth:
    return Truth(checkpoint)


@pytest.fixture(scope="module")
def pair(
    peer: TestPeer, domain_id: int, checkpoint: Path, truth: Truth, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Conversation]:
    """A localizer with two cameras; it waits long for the second image of a pair."""
    with localizers(peer, domain_id, tmp_path_factory.mktemp("localizers")) as start:
        conversation = start(
            "pair",
            f"checkpoint:={checkpoint}",
            "cameras:=[front, rear]",
            f"front.camera_extrinsics:={list(FRONT)}",
            f"rear.camera_extrinsics:={numbers(truth.rear)}",
            "sync_tolerance:=5.0",
            "threads:=1",
            remaps=("rear/image:=/robot/rear_camera",),
        )
        conversation.process.wait_for_output("active")
        yield conversation


@dataclasses.dataclass
class Eyes:
    """The two cameras' drivers."""

    front: Publisher
    rear: Publisher

    def look(self, truth: Truth, stamp_ns: int) -> None:
        """Send a pair of images, the rear one a little later."""
        self.front.publish(message_of(truth.images[0], stamp_ns - 3 * MILLISECOND))
        self.rear.publish(message_of(truth.images[1], stamp_ns))


@pytest.fixture(scope="module")
def eyes(pair: Conversation, peer: TestPeer) -> Eyes:
    eyes = Eyes(
        peer.publisher(Image, "/front/image", RELIABLE), peer.publisher(Image, "/robot/rear_camera", RELIABLE)
    )
    for publisher in (eyes.front, eyes.rear):
        wait_until(lambda publisher=publisher: publisher.get_subscription_count() > 0, "a subscription")
    return eyes


stamps = itertools.count(1_403_774_720 * SECOND, 10 * SECOND)


def numbers(pose: Pose) -> list[float]:
    w, x, y, z = pose.orientation
    return [float(value) for value in (*pose.position, x, y, z, w)]


def answers(pair: Conversation, stamp_ns: int) -> list[PoseWithCovariance]:
    """All poses with a stamp that have come so far."""
    return [
        PoseWithCovariance(
            pose_from_message(message.pose.pose), covariance_from_message(message.pose.covariance)
        )
        for message in list(pair.with_covariance)
        if stamp_to_nanoseconds(message.header.stamp) == stamp_ns
    ]


def assert_same(found: PoseWithCovariance, expected: PoseWithCovariance) -> None:
    np.testing.assert_allclose(found.pose.matrix(), expected.pose.matrix(), atol=1e-4)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-5)


def test_a_pair_of_images_has_one_pose_of_the_body_fused_from_both(
    pair: Conversation, eyes: Eyes, truth: Truth
) -> None:
    assert not np.allclose(truth.fused.pose.position, truth.alone[0].pose.position, atol=1e-2)
    for _ in range(3):
        stamp_ns = next(stamps)
        eyes.look(truth, stamp_ns)
        wait_until(lambda stamp_ns=stamp_ns: answers(pair, stamp_ns), "the pair's pose")
        (answer,) = answers(pair, stamp_ns)
        assert_same(answer, truth.fused)
    assert all(stamp_to_nanoseconds(pose.header.stamp) % (10 * SECOND) == 0 for pose in pair.poses)
    pair.wait_for_count("published", 6)
    values = pair.values()
    assert_adds_up(values)
    assert (values["received"], values["published"]) == ("6", "6")
    assert values["image_topic"] == "/front/image, /robot/rear_camera"


def test_the_transform_places_the_body_where_the_fused_pose_is(
    pair: Conversation, eyes: Eyes, truth: Truth
) -> None:
    stamp_ns = next(stamps)
    eyes.look(truth, stamp_ns)
    transforms = wait_until(
        lambda: [
            entry
            for message in list(pair.transforms)
            for entry in message.transforms
            if stamp_to_nanoseconds(entry.header.stamp) == stamp_ns
        ],
        "the transform",
    )
    (transform,) = transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "base_link")
    found = transform_from_message(transform)
    np.testing.assert_allclose(found.matrix(), truth.fused.pose.matrix(), atol=1e-4)


def test_frames_beyond_the_rate_are_dropped_and_counted(pair: Conversation, eyes: Eyes, truth: Truth) -> None:
    stamp_ns = next(stamps)
    eyes.look(truth, stamp_ns)
    wait_until(lambda: answers(pair, stamp_ns), "the pair's pose")
    before = pair.counted("dropped")
    assert pair.peer.set_parameter("/pair", "max_rate", 0.001).successful
    soon = [next(stamps) for _ in range(3)]
    for too_soon in soon:
        eyes.look(truth, too_soon)
    pair.wait_for_count("dropped", before + 6)
    # The last pair is whole, in whatever order its images came.
    assert pair.counted("dropped.rate_limited") >= 2
    assert pair.peer.set_parameter("/pair", "max_rate", 0.0).successful
    stamp_ns = next(stamps)
    eyes.look(truth, stamp_ns)
    wait_until(lambda: answers(pair, stamp_ns), "a pose without the limit")
    assert not any(answers(pair, too_soon) for too_soon in soon)
    assert_adds_up(pair.values())


def test_a_camera_that_dies_leaves_the_other_one_going_on_and_may_come_back(
    pair: Conversation, eyes: Eyes, truth: Truth, peer: TestPeer
) -> None:
    assert pair.peer.set_parameter("/pair", "sync_tolerance", 0.05).successful
    peer.node.destroy_publisher(eyes.rear)
    for _ in range(3):
        stamp_ns = next(stamps)
        eyes.front.publish(message_of(truth.images[0], stamp_ns))
        wait_until(lambda stamp_ns=stamp_ns: answers(pair, stamp_ns), "the front camera's pose")
        assert_same(answers(pair, stamp_ns)[0], truth.alone[0])
    assert pair.peer.set_parameter("/pair", "image_timeout", 2.0).successful

    def says_that_it_is_gone() -> bool:
        eyes.front.publish(message_of(truth.images[0], next(stamps)))
        said = pair.diagnostics[-1].status[0].message
        return "no publisher on /robot/rear_camera" in said and "no image from camera rear for" in said

    wait_until(says_that_it_is_gone, "the warnings that a camera is gone")
    assert pair.peer.set_parameter("/pair", "sync_tolerance", 5.0).successful
    eyes.rear = peer.publisher(Image, "/robot/rear_camera", RELIABLE)
    wait_until(lambda: eyes.rear.get_subscription_count() > 0, "a subscription")
    stamp_ns = next(stamps)
    eyes.look(truth, stamp_ns)
    wait_until(lambda: answers(pair, stamp_ns), "the pair's pose")
    assert_same(answers(pair, stamp_ns)[0], truth.fused)
    pair.wait_for_count("received", 1)
    assert_adds_up(pair.values())


def test_cameras_that_contradict_one_another_are_not_trusted(
    pair: Conversation, eyes: Eyes, truth: Truth
) -> None:
    """With the rear camera's extrinsics wrong by 90 degrees; they are read again when it is configured."""
    turn = Pose([0.0, 0.0, 0.0], rotation_vector_to_quaternion([0.0, 0.0, np.pi / 2]))
    wrong = numbers(turn @ truth.rear)
    name = "rear.camera_extrinsics"
    refused = pair.peer.set_parameter("/pair", name, wrong)
    assert not refused.successful and "after a cleanup" in refused.reason
    assert not pair.peer.set_parameter("/pair", name, [1.0, 2.0]).successful
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert pair.peer.change_state("/pair", transition)
    assert pair.peer.set_parameter("/pair", name, wrong).successful
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert pair.peer.change_state("/pair", transition)
    for publisher in (eyes.front, eyes.rear):
        wait_until(lambda publisher=publisher: publisher.get_subscription_count() > 0, "a subscription")
    stamp_ns = next(stamps)
    eyes.look(truth, stamp_ns)
    pair.wait_for_count("withheld.disagreement", 2)
    assert "the cameras front, rear contradict one another" in pair.process.output
    assert not answers(pair, stamp_ns)
    assert_adds_up(pair.values())


@pytest.fixture
def make_node(domain_id: int) -> Iterator[Callable[..., Node]]:
    context = Context()
    context.init(args=[], domain_id=domain_id)
    nodes: list[Node] = []

    def make(*arguments: str) -> Node:
        command_line = ["--ros-args", *(word for argument in arguments for word in ("-p", argument))]
        nodes.append(Node("named", context=context, cli_args=command_line, use_global_arguments=False))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.shutdown()


@pytest.mark.parametrize(
    "given", ["[front, front]", "[front, 'rear left']", "[front, '']", "[a/b]", "['2nd']"]
)
def test_names_that_no_topics_can_have_are_refused(make_node: Callable[..., Node], given: str) -> None:
    with pytest.raises(HyperPoseError, match="parameter cameras is .*; it must be different names") as caught:
        NodeParameters(make_node(f"cameras:={given}"), LocalizerParameters)
    assert "\n" not in str(caught.value)


def test_each_named_camera_has_described_extrinsics(make_node: Callable[..., Node]) -> None:
    node = make_node(
        "cameras:=[front, rear]", f"front.camera_extrinsics:={list(FRONT)}", "raer.camera_extrinsics:=[1.]"
    )
    parameters = NodeParameters(node, LocalizerParameters)
    declare_cameras(parameters)
    assert parameters.values.cameras == ("front", "rear")
    assert parameters.value("front.camera_extrinsics") == FRONT
    assert parameters.value("rear.camera_extrinsics") == ()
    described = node.describe_parameter("rear.camera_extrinsics")
    assert "optical frame" in described.description and "6 or 7" in described.additional_constraints
    assert list(unused_overrides(node)) == ["raer.camera_extrinsics"], "a name that no camera has"
    with pytest.raises(HyperPoseError, match="front.camera_extrinsics is .*6 or 7 numbers"):
        declare_cameras(
            NodeParameters(
                make_node("cameras:=[front]", "front.camera_extrinsics:=[1.,2.]"), LocalizerParameters
            )
        )


def test_cameras_may_be_named_after_the_start(make_node: Callable[..., Node]) -> None:
    node = make_node(f"front.camera_extrinsics:={list(FRONT)}")
    parameters = NodeParameters(node, LocalizerParameters)
    assert node.set_parameters([Parameter("cameras", value=["front"])])[0].successful
    declare_cameras(parameters)
    assert parameters.value("front.camera_extrinsics") == FRONT
    refused = node.set_parameters([Parameter("cameras", value=["front", "front"])])[0]
    assert not refused.successful and "different names" in refused.reason
