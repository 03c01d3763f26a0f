"""The localizer under a lifecycle manager, and its end by signals, in processes of its own over DDS."""

from __future__ import annotations

import array
import itertools
import signal
from collections.abc import Callable, Iterator
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
from rclpy.publisher import Publisher  # noqa: E402
from rclpy.qos import QoSReliabilityPolicy  # noqa: E402
from ros_helpers import TestPeer, diagnostic_values, send_until, wait_until  # noqa: E402
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


NOW_NS = 1000 * SECOND
"""The simulated time that `activate` brings a node to."""


MANAGED = (
    "autostart:=false",
    "use_sim_time:=true",
    "image_transport:=compressed",
    "max_age:=1.0",
    "qos_overrides./managed_camera/compressed.subscription.reliability:=best_effort",
    "qos_overrides./managed/pose.publisher.depth:=77",
)


@pytest.fixture(scope="module")
def started(start: Callable[..., Conversation]) -> Conversation:
    """A localizer that waits for a manager, with simulated time, without a checkpoint as yet."""
    conversation = start("managed", *MANAGED, remaps=("image:=/managed_camera",))
    wait_until(
        lambda: conversation.values().get("state") == "unconfigured", "diagnostics before configuration"
    )
    return conversation


@pytest.fixture
def managed(started: Conversation, peer: TestPeer) -> Conversation:
    """The same, whatever state a test left it in, with the parameters that it started with."""
    if peer.state("/managed") == "active":
        assert peer.change_state("/managed", Transition.TRANSITION_DEACTIVATE)
    if peer.state("/managed") == "inactive":
        assert peer.change_state("/managed", Transition.TRANSITION_CLEANUP)
    assert peer.state("/managed") == "unconfigured"
    set_parameters(
        peer, checkpoint="", image_transport="compressed", image_reliability="auto", tf_mode="auto"
    )
    return started


def set_parameters(peer: TestPeer, **parameters: object) -> None:
    for name, value in parameters.items():
        assert peer.set_parameter("/managed", name, value).successful


def configure(peer: TestPeer, checkpoint: FilePath, **parameters: object) -> None:
    set_parameters(peer, checkpoint=str(checkpoint), **parameters)
    assert peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert peer.state("/managed") == "inactive"


def activate(localizer: Conversation, peer: TestPeer) -> None:
    """Activate a configured node, and bring its clock to `NOW_NS`."""
    assert peer.change_state("/managed", Transition.TRANSITION_ACTIVATE)
    clock = peer.publisher(Clock, "/clock")

    def has_the_time() -> bool:
        clock.publish(Clock(clock=stamp_from_nanoseconds(NOW_NS)))
        return stamp_to_nanoseconds(localizer.diagnostics[-1].header.stamp) == NOW_NS

    wait_until(has_the_time, "the localizer's clock to show simulated time")
    peer.node.destroy_publisher(clock)


@pytest.fixture
def compressed_camera(peer: TestPeer) -> Iterator[Publisher]:
    camera = peer.publisher(CompressedImage, "/managed_camera/compressed", RELIABLE)
    yield camera
    peer.node.destroy_publisher(camera)


def compressed_message(
    extension: str, image: RgbImage, stamp_ns: int, cut: int | None = None
) -> CompressedImage:
    data = cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    message = CompressedImage(format=extension.strip("."), data=array.array("B", data[:cut]))
    message.header.stamp = stamp_from_nanoseconds(stamp_ns)
    message.header.frame_id = "managed_camera_frame"
    return message


def test_a_failed_configuration_says_why_and_can_be_mended(
    managed: Conversation, peer: TestPeer, two_scene_checkpoint: FilePath, tmp_path: FilePath
) -> None:
    assert not peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert peer.state("/managed") == "unconfigured"
    assert "cannot configure: parameter checkpoint is not set" in managed.process.output
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(two_scene_checkpoint.read_bytes()[:5000])
    set_parameters(peer, checkpoint=str(truncated))
    assert not peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert f"cannot configure: {truncated}: truncated" in managed.process.output
    set_parameters(peer, checkpoint=str(two_scene_checkpoint), tf_mode="map_odom")
    assert not peer.change_state("/managed", Transition.TRANSITION_CONFIGURE)
    assert "tf_mode map_odom needs odometry: set odometry_source to topic or tf" in managed.process.output
    configure(peer, two_scene_checkpoint, tf_mode="none")
    assert "Traceback" not in managed.process.output


def test_a_managed_node_answers_compressed_images_only_while_it_is_active(
    managed: Conversation,
    peer: TestPeer,
    two_scene_checkpoint: FilePath,
    compressed_camera: Publisher,
) -> None:
    offline = PoseEstimator.load(two_scene_checkpoint, "cpu")
    image = draw_image(21)
    configure(peer, two_scene_checkpoint)
    assert compressed_camera.get_subscription_count() == 0, "an inactive node listens to nothing"
    activate(managed, peer)
    wait_until(lambda: compressed_camera.get_subscription_count() == 1, "the localizer to subscribe")
    subscribed = peer.node.get_subscriptions_info_by_topic("/managed_camera/compressed")[0]
    assert subscribed.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT, "overridden"

    for extension, stamp_ns in {".png": NOW_NS - SECOND // 2, ".jpg": NOW_NS}.items():
        message = compressed_message(extension, image, stamp_ns)
        answer = managed.ask(compressed_camera, message)
        bgr = cv2.imdecode(np.frombuffer(bytes(message.data), np.uint8), cv2.IMREAD_COLOR)
        estimate = offline.estimate([cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)])[0]
        assert_same_pose(answer, estimate)
        assert estimate.scene in ("attic", "cellar")
        said = wait_until(
            lambda stamp_ns=stamp_ns: [
                message
                for message in managed.scenes
                if stamp_to_nanoseconds(message.header.stamp) == stamp_ns
            ],
            "the scene of the image",
        )
        values = diagnostic_values(said[0])
        assert values["scene"] == estimate.scene
        assert float(values["probability"]) == pytest.approx(estimate.scene_probability, abs=1e-4)

    for cause, message in (
        ("refused.undecodable", compressed_message(".png", image, NOW_NS, cut=60)),
        ("refused.empty", compressed_message(".png", image, NOW_NS, cut=0)),
        ("dropped.too_old", compressed_message(".png", image, NOW_NS - 2 * SECOND)),
    ):
        send_until(compressed_camera, message, lambda cause=cause: managed.counted(cause) > 0, cause)
    assert_adds_up(managed.values())


def test_without_extrinsics_tf_places_the_images_frame(
    managed: Conversation,
    peer: TestPeer,
    two_scene_checkpoint: FilePath,
    compressed_camera: Publisher,
) -> None:
    configure(peer, two_scene_checkpoint)
    activate(managed, peer)
    pose = managed.ask(compressed_camera, compressed_message(".png", draw_image(22), NOW_NS - 1))
    found = wait_until(
        lambda: [
            entry
            for message in managed.transforms
            for entry in message.transforms
            if entry.child_frame_id == "managed_camera_frame" and entry.header.stamp == pose.header.stamp
        ],
        "the transform of the image's stamp",
    )
    assert {entry.header.frame_id for entry in found} == {"map"}
    np.testing.assert_allclose(
        transform_from_message(found[-1]).matrix(), pose_from_message(pose.pose).matrix(), atol=1e-9
    )


def test_deactivation_and_cleanup_release_the_topics_and_the_way_back_is_open(
    managed: Conversation,
    peer: TestPeer,
    two_scene_checkpoint: FilePath,
    compressed_camera: Publisher,
) -> None:
    configure(peer, two_scene_checkpoint)
    activate(managed, peer)
    wait_until(lambda: compressed_camera.get_subscription_count() == 1, "the subscription")
    assert peer.change_state("/managed", Transition.TRANSITION_DEACTIVATE)
    wait_until(lambda: compressed_camera.get_subscription_count() == 0, "the subscription to go")
    assert peer.node.count_publishers("/managed/pose") == 1
    assert peer.change_state("/managed", Transition.TRANSITION_CLEANUP)
    wait_until(lambda: peer.node.count_publishers("/managed/pose") == 0, "the topics to go")
    configure(peer, two_scene_checkpoint, image_transport="raw")
    activate(managed, peer)
    camera = peer.publisher(Image, "/managed_camera", RELIABLE)
    managed.ask(camera, message_of(draw_image(1), NOW_NS - 2))
    peer.node.destroy_publisher(camera)


@pytest.fixture(scope="module")
def broken_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath) -> FilePath:
    """The tiny network with one weight that is no number."""
    known = load_checkpoint(tiny_checkpoint)
    state = {name: tensor.clone() for name, tensor in known.state.items()}
    state["position_head.bias"][1] = float("nan")
    path = tmp_path_factory.mktemp("broken") / "broken.safetensors"
    save_checkpoint(path, Checkpoint(known.architecture, known.options, state, known.preprocessing))
    return path


def test_an_estimate_that_is_not_finite_is_withheld_and_counted(
    managed: Conversation, peer: TestPeer, broken_checkpoint: FilePath
) -> None:
    configure(peer, broken_checkpoint, image_transport="raw")
    activate(managed, peer)
    camera = peer.publisher(Image, "/managed_camera", RELIABLE)
    answered = len(managed.poses)
    image = message_of(draw_image(1), NOW_NS)
    send_until(
        camera, image, lambda: managed.counted("withheld.not_finite") > 0, "the estimate to be withheld"
    )
    assert len(managed.poses) == answered
    assert "pose withheld: the network's output is not finite" in managed.process.output
    assert_adds_up(managed.values())
    peer.node.destroy_publisher(camera)


def test_a_reliability_that_cannot_be_served_is_told_with_its_mending(
    managed: Conversation, peer: TestPeer, two_scene_checkpoint: FilePath
) -> None:
    camera = peer.publisher(Image, "/managed_camera", BEST_EFFORT)
    configure(peer, two_scene_checkpoint, image_transport="raw", image_reliability="reliable")
    activate(managed, peer)
    advice = "set image_reliability to auto or best_effort"
    wait_until(lambda: advice in managed.diagnostics[-1].status[0].message, "the advice in diagnostics")
    assert managed.diagnostics[-1].status[0].level == b"\x01"
    assert camera.get_subscription_count() == 0
    peer.node.destroy_publisher(camera)


def test_a_finalized_node_has_released_everything_and_still_ends_cleanly(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: FilePath
) -> None:
    ending = start("ending", f"checkpoint:={tiny_checkpoint}", remaps=("image:=/ending_camera",))
    wait_until(lambda: ending.values().get("state") == "active", "the node to be active")
    assert peer.node.count_publishers("/ending/pose") == 1
    assert peer.change_state("/ending", Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert peer.state("/ending") == "finalized"
    wait_until(lambda: peer.node.count_publishers("/ending/pose") == 0, "the topics to go")
    assert ending.process.stop(signal.SIGTERM, timeout=LONGEST_END_S) == 0
    assert "Traceback" not in ending.process.output


def test_the_path_comes_while_images_always_wait_and_sigterm_ends_an_inference(
    start: Callable[..., Conversation], peer: TestPeer, slow_checkpoint: FilePath
) -> None:
    slow = start("slow", f"checkpoint:={slow_checkpoint}", remaps=("image:=/slow_camera",))
    camera = peer.publisher(Image, "/slow_camera", RELIABLE)
    wait_until(lambda: camera.get_subscription_count() == 1, "the localizer to subscribe")

    def path_came() -> bool:
        # Faster than any is answered, so that another one always waits.
        camera.publish(message_of(draw_image(1), next(stamps)))
        return bool(slow.paths)

    wait_until(path_came, "a path")
    code = slow.process.stop(signal.SIGTERM, timeout=LONGEST_END_S)
    assert "Traceback" not in slow.process.output
    # An inference that takes longer than the end may is cut off, and the exit code does not hide it.
    assert code == int("still letting go of what it holds" in slow.process.output)


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
