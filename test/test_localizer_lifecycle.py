"""The localizer under a lifecycle manager, and its end by signals, in processes of its own over DDS."""

from __future__ import annotations

import array
import itertools
import signal
import time
from collections.abc import Callable
from pathlib import Path as FilePath

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
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
from rclpy.qos import QoSReliabilityPolicy  # noqa: E402
from ros_helpers import TestPeer, send_until, wait_until  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from hyperpose_core.images import RgbImage  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402
from hyperpose_ros.common.conversions import (
    pose_from_message,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
    transform_from_message,
)

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 7)
"""Rising stamps for the tests that use a camera one after the other."""


@pytest.fixture(scope="module")
def managed(start: Callable[..., Conversation], peer: TestPeer) -> Conversation:
    """A localizer that waits for a manager, with simulated time, without a checkpoint as yet."""
    conversation = start(
        "managed",
        "autostart:=false",
        "use_sim_time:=true",
        "image_transport:=compressed",
        "max_age:=1.0",
        "qos_overrides./managed_camera/compressed.subscription.reliability:=best_effort",
        "qos_overrides./managed/pose.publisher.depth:=77",
        remaps=("image:=/managed_camera",),
    )
    wait_until(
        lambda: conversation.values().get("state") == "unconfigured", "diagnostics before configuration"
    )
    return conversation


def test_a_failed_configuration_says_why_and_can_be_mended(
    managed: Conversation, peer: TestPeer, two_scene_checkpoint: FilePath, tmp_path: FilePath
) -> None:
    assert peer.state("/managed") == "unconfigured"
    assert not peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert peer.state("/managed") == "unconfigured"
    assert "cannot configure: parameter checkpoint is not set" in managed.process.output
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(two_scene_checkpoint.read_bytes()[:5000])
    assert peer.set_parameter("/managed", "checkpoint", str(truncated)).successful
    assert not peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert f"cannot configure: {truncated}: truncated" in managed.process.output
    assert peer.set_parameter("/managed", "checkpoint", str(two_scene_checkpoint)).successful
    assert peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert peer.state("/managed") == "inactive"
    assert "Traceback" not in managed.process.output


def compressed_message(
    extension: str, image: RgbImage, stamp_ns: int, cut: int | None = None
) -> CompressedImage:
    data = cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    message = CompressedImage(format=extension.strip("."), data=array.array("B", data[:cut]))
    message.header.stamp = stamp_from_nanoseconds(stamp_ns)
    message.header.frame_id = "managed_camera_frame"
    return message


def test_a_managed_node_answers_compressed_images_only_while_it_is_active(
    managed: Conversation, peer: TestPeer, two_scene_checkpoint: FilePath
) -> None:
    offline = PoseEstimator.load(two_scene_checkpoint, "cpu")
    image = draw_image(21)
    camera = peer.publisher(CompressedImage, "/managed_camera/compressed", RELIABLE)
    assert camera.get_subscription_count() == 0, "an inactive node listens to nothing"
    assert peer.change_state("/managed", Transition.TRANSITION_ACTIVATE)
    wait_until(lambda: camera.get_subscription_count() == 1, "the localizer to subscribe")
    subscribed = peer.node.get_subscriptions_info_by_topic("/managed_camera/compressed")[0]
    assert subscribed.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT, "overridden"

    clock = peer.publisher(Clock, "/clock")
    wait_until(lambda: clock.get_subscription_count() > 0, "the localizer to follow simulated time")
    now_ns = 1000 * SECOND

    def has_the_time() -> bool:
        clock.publish(Clock(clock=stamp_from_nanoseconds(now_ns)))
        return stamp_to_nanoseconds(managed.diagnostics[-1].header.stamp) == now_ns

    wait_until(has_the_time, "the localizer's clock to show simulated time")
    stamps_ns = {".png": now_ns - SECOND // 2, ".jpg": now_ns}
    for extension, stamp_ns in stamps_ns.items():
        message = compressed_message(extension, image, stamp_ns)
        answer = managed.ask(camera, message)
        bgr = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)
        estimate = offline.estimate([cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)])[0]
        assert_same_pose(answer, estimate)
        assert estimate.scene in ("attic", "cellar")
        probability = pytest.approx(estimate.scene_probability, abs=1e-4)
        wait_until(
            lambda scene=estimate.scene, probability=probability: [
                said for said in managed.scenes if said.key == scene and float(said.value) == probability
            ],
            "the scene and its probability",
        )

    for cause, message in (
        ("refused.undecodable", compressed_message(".png", image, now_ns, cut=60)),
        ("refused.empty", compressed_message(".png", image, now_ns, cut=0)),
        ("dropped.too_old", compressed_message(".png", image, now_ns - 2 * SECOND)),
    ):
        send_until(camera, message, lambda cause=cause: managed.counted(cause) > 0, cause)
    assert_adds_up(managed.values())


def test_without_extrinsics_tf_places_the_images_frame(managed: Conversation) -> None:
    found = [
        entry
        for message in managed.transforms
        for entry in message.transforms
        if entry.child_frame_id == "managed_camera_frame"
    ]
    assert found and {entry.header.frame_id for entry in found} == {"map"}
    pose = managed.latest(stamp_to_nanoseconds(found[-1].header.stamp))
    assert pose is not None
    np.testing.assert_allclose(
        transform_from_message(found[-1]).matrix(), pose_from_message(pose.pose).matrix(), atol=1e-9
    )


@pytest.fixture(scope="module")
def broken_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath) -> FilePath:
    """The tiny network with one weight that is no number."""
    known = load_checkpoint(tiny_checkpoint)
    state = {name: tensor.clone() for name, tensor in known.state.items()}
    state["position_head.bias"][1] = float("nan")
    path = tmp_path_factory.mktemp("broken") / "broken.safetensors"
    save_checkpoint(path, Checkpoint(known.architecture, known.options, state, known.preprocessing))
    return path


def test_deactivation_and_cleanup_release_the_topics_and_the_way_back_is_open(
    managed: Conversation, peer: TestPeer, broken_checkpoint: FilePath
) -> None:
    camera = peer.publisher(CompressedImage, "/managed_camera/compressed", RELIABLE)
    wait_until(lambda: camera.get_subscription_count() == 1, "the subscription")
    assert peer.change_state("/managed", Transition.TRANSITION_DEACTIVATE)
    wait_until(lambda: camera.get_subscription_count() == 0, "the subscription to go")
    assert peer.node.count_publishers("/managed/pose") == 1
    assert peer.change_state("/managed", Transition.TRANSITION_CLEANUP)
    wait_until(lambda: peer.node.count_publishers("/managed/pose") == 0, "the topics to go")
    assert peer.set_parameter("/managed", "image_transport", "raw").successful
    assert peer.set_parameter("/managed", "image_reliability", "reliable").successful
    assert peer.set_parameter("/managed", "tf_mode", "map_odom").successful
    assert not peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert "tf_mode map_odom needs odometry: set odometry_source to topic or tf" in managed.process.output
    assert peer.set_parameter("/managed", "tf_mode", "none").successful
    assert peer.set_parameter("/managed", "checkpoint", str(broken_checkpoint)).successful
    assert peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert peer.change_state("/managed", Transition.TRANSITION_ACTIVATE)


def test_an_estimate_that_is_not_finite_is_withheld_and_counted(
    managed: Conversation, peer: TestPeer
) -> None:
    camera = peer.publisher(Image, "/managed_camera", RELIABLE)
    answered = len(managed.poses)
    image = message_of(draw_image(1), 1001 * SECOND)
    send_until(
        camera, image, lambda: managed.counted("withheld.not_finite") > 0, "the estimate to be withheld"
    )
    assert len(managed.poses) == answered
    assert "pose withheld: the network's output is not finite" in managed.process.output
    assert_adds_up(managed.values())
    peer.node.destroy_publisher(camera)


def test_a_reliability_that_cannot_be_served_is_told_with_its_mending(
    managed: Conversation, peer: TestPeer
) -> None:
    camera = peer.publisher(Image, "/managed_camera", BEST_EFFORT)
    advice = "set image_reliability to auto or best_effort"
    wait_until(lambda: advice in managed.diagnostics[-1].status[0].message, "the advice in diagnostics")
    assert managed.diagnostics[-1].status[0].level == b"\x01"
    assert camera.get_subscription_count() == 0


def test_a_finalized_node_has_released_everything_and_still_ends_cleanly(
    managed: Conversation, peer: TestPeer
) -> None:
    assert peer.change_state("/managed", Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert peer.state("/managed") == "finalized"
    wait_until(lambda: peer.node.count_publishers("/managed/pose") == 0, "the topics to go")
    assert managed.process.stop(signal.SIGTERM, timeout=LONGEST_END_S) == 0
    assert "Traceback" not in managed.process.output


def test_sigterm_ends_the_node_in_the_middle_of_an_inference(
    start: Callable[..., Conversation], peer: TestPeer, slow_checkpoint: FilePath
) -> None:
    slow = start("slow", f"checkpoint:={slow_checkpoint}", remaps=("image:=/slow_camera",))
    camera = peer.publisher(Image, "/slow_camera", RELIABLE)
    wait_until(lambda: camera.get_subscription_count() == 1, "the localizer to subscribe")
    while slow.counted("received") == 0:
        camera.publish(message_of(draw_image(1), next(stamps)))
        time.sleep(0.02)
    assert slow.process.stop(signal.SIGTERM, timeout=LONGEST_END_S) == 0
    assert "Traceback" not in slow.process.output


def test_sigterm_ends_the_node_while_it_loads(
    start: Callable[..., Conversation], peer: TestPeer, slow_checkpoint: FilePath
) -> None:
    loading = start("loading", f"checkpoint:={slow_checkpoint}")
    wait_until(lambda: "loading" in peer.node.get_node_names(), "the node to be visible")
    assert loading.process.stop(signal.SIGTERM, timeout=LONGEST_END_S) == 0
    assert "Traceback" not in loading.process.output


def test_a_node_that_starts_itself_and_cannot_ends_with_one_error(start: Callable[..., Conversation]) -> None:
    hopeless = start("hopeless", "checkpoint:=/no/such/file.safetensors")
    assert hopeless.process.wait() == 1
    errors = [line for line in hopeless.process.output.splitlines() if "[ERROR]" in line or "[FATAL]" in line]
    assert len(errors) == 1 and "/no/such/file.safetensors" in errors[0]
    assert "Traceback" not in hopeless.process.output
