"""Pose validity over DDS: what a localizer does about poses that are not to be trusted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from localizer_helpers import RELIABLE, SECOND, Conversation, message_of  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from ros_helpers import TestPeer, diagnostic_values, send_until, wait_until  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from small_networks import small  # noqa: E402

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from hyperpose_core.images import Preprocessing  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402
from hyperpose_core.uncertainty.covariance import Uncertainty  # noqa: E402
from hyperpose_core.uncertainty.region import TrainedRegion  # noqa: E402
from hyperpose_ros.common.conversions import (
    covariance_from_message,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
)

LOOKING_AHEAD = [0.4, 0.1, 1.2, -0.5, 0.5, -0.5, 0.5]


stamps = itertools.count(1_500_000_000 * SECOND, SECOND)


class Robot:
    """A localizer, its camera, and what it says of each pose."""

    def __init__(
        self, start: Callable[..., Conversation], peer: TestPeer, name: str, *parameters: str
    ) -> None:
        self.statuses: list[DiagnosticArray] = peer.collect(DiagnosticArray, f"/{name}/status")
        self.conversation = start(name, *parameters, "threads:=1", remaps=(f"image:=/{name}_camera",))
        self.camera: Publisher = peer.publisher(Image, f"/{name}_camera", RELIABLE)
        self.conversation.process.wait_for_output("active")

    def validated(
        self, seed: int = 0, stamp_ns: int | None = None
    ) -> tuple[int, DiagnosticStatus, dict[str, str]]:
        """Send an image until its status comes."""
        stamp_ns = next(stamps) if stamp_ns is None else stamp_ns
        message = message_of(draw_image(seed), stamp_ns)
        array = send_until(self.camera, message, lambda: self.status_of(stamp_ns), "a status")
        return stamp_ns, array.status[0], diagnostic_values(array)

    def status_of(self, stamp_ns: int) -> DiagnosticArray | None:
        found = [array for array in self.statuses if stamp_to_nanoseconds(array.header.stamp) == stamp_ns]
        return found[-1] if found else None

    def transform_stamps(self) -> set[int]:
        return {
            stamp_to_nanoseconds(transform.header.stamp)
            for message in self.conversation.transforms
            for transform in message.transforms
        }

    def set(self, name: str, value: object) -> None:
        node = f"/{self.conversation.name}"
        assert self.conversation.peer.set_parameter(node, name, value).successful


def test_a_localizer_outside_its_region_withholds_or_inflates_and_says_why(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: FilePath, tmp_path: FilePath
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    estimate = PoseEstimator(checkpoint, "cpu").estimate([draw_image(0)])[0]
    assert estimate.pose is not None
    elsewhere = estimate.pose.position + [0.0, 300.0, 0.0]
    region = TrainedRegion.from_positions(elsewhere[None], np.zeros(1, dtype=np.int64))
    path = tmp_path / "elsewhere.safetensors"
    save_checkpoint(path, replace(checkpoint, region=region))
    robot = Robot(start, peer, "guest", f"checkpoint:={path}", f"camera_extrinsics:={LOOKING_AHEAD}")

    withheld, status, values = robot.validated()
    assert status.level == DiagnosticStatus.WARN and status.name == "guest: pose"
    assert status.message.startswith("not trusted: 300.00 m from the nearest trained position")
    assert values["causes"] == "outside_region" and values["outcome"] == "withheld"
    robot.conversation.wait_for_count("withheld.outside_region", 1)

    robot.set("on_invalid", "inflate")
    robot.set("inflation", 50.0)
    published, status, values = robot.validated()
    robot.conversation.answer(published)
    assert status.level == DiagnosticStatus.WARN and "inflated" in values["outcome"]
    covariance = wait_until(
        lambda: [
            covariance_from_message(message.pose.covariance)
            for message in robot.conversation.with_covariance
            if stamp_to_nanoseconds(message.header.stamp) == published
        ],
        "the covariance",
    )[0]
    np.testing.assert_allclose(covariance, 50.0 * checkpoint.uncertainty.covariance)

    robot.set("region_margin", 0.0)
    trusted, status, values = robot.validated()
    assert status.level == DiagnosticStatus.OK and status.message == "trusted"
    assert values["region_margin_m"] == "off" and values["outcome"] == "published"
    robot.conversation.answer(trusted)
    wait_until(lambda: trusted in robot.transform_stamps(), "the transform of the trusted pose")
    assert not {withheld, published} & robot.transform_stamps(), "what is not trusted moves no transform"
    assert robot.conversation.latest(withheld) is None


def test_a_localizer_that_does_not_recognise_the_scene_says_so(
    start: Callable[..., Conversation], peer: TestPeer, tmp_path: FilePath
) -> None:
    network = small("mstransformer")
    path = tmp_path / "scenes.safetensors"
    save_checkpoint(
        path,
        Checkpoint(
            "mstransformer",
            network.options,
            network.state_dict(),
            Preprocessing(resize=64, crop=64),
            scenes=("attic", "barn"),
        ),
    )
    chosen = PoseEstimator.load(path, "cpu").estimate([draw_image(0)])[0]
    assert chosen.scene is not None and chosen.scene_probability is not None
    assert 0.5 <= chosen.scene_probability < 0.999
    robot = Robot(start, peer, "visitor", f"checkpoint:={path}", "min_scene_probability:=0.999")
    _, status, values = robot.validated()
    assert status.level == DiagnosticStatus.WARN and f"scene {chosen.scene} has probability" in status.message
    assert values["causes"] == "scene_probability" and values["covariance"].startswith("not measured")
    assert float(values["scene_probability"]) == pytest.approx(chosen.scene_probability, abs=1e-3)
    robot.set("min_scene_probability", 0.0)
    stamp_ns, status, values = robot.validated()
    assert status.level == DiagnosticStatus.OK
    robot.conversation.answer(stamp_ns)
    assert values["region"] == "not known to the checkpoint"


def test_an_output_that_is_not_finite_is_withheld_with_a_status(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: FilePath, tmp_path: FilePath
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    state = {**checkpoint.state, "position_head.bias": torch.full((3,), float("nan"))}
    path = tmp_path / "nan.safetensors"
    save_checkpoint(path, replace(checkpoint, state=state))
    robot = Robot(start, peer, "broken", f"checkpoint:={path}", "on_invalid:=inflate")
    stamp_ns, status, values = robot.validated()
    assert status.message == "not trusted: the network's output is not finite"
    assert values["causes"] == "not_finite" and robot.conversation.latest(stamp_ns) is None
    robot.conversation.wait_for_count("withheld.not_finite", 1)


def stand_still(wheels: Publisher, first_ns: int) -> None:
    """Say for ten seconds that the robot does not move."""
    for stamp_ns in range(first_ns, first_ns + 10 * SECOND, SECOND // 2):
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id = "odom"
        message.header.stamp = stamp_from_nanoseconds(stamp_ns)
        message.pose.pose.orientation.w = 1.0
        wheels.publish(message)


def test_a_robot_that_stands_still_does_not_jump_and_a_new_track_is_believed_in_the_end(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: FilePath, tmp_path: FilePath
) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    path = tmp_path / "sure.safetensors"
    save_checkpoint(path, replace(checkpoint, uncertainty=Uncertainty(np.eye(6) * 1e-6, "made up")))
    here, there = (PoseEstimator.load(path, "cpu").estimate([draw_image(seed)])[0].pose for seed in (0, 1))
    assert here is not None and there is not None
    assert np.linalg.norm(there.position - here.position) > 0.05
    wheels = peer.publisher(Odometry, "/odometry", 100)
    robot = Robot(
        start,
        peer,
        "wheeled",
        f"checkpoint:={path}",
        f"camera_extrinsics:={LOOKING_AHEAD}",
        "odometry_source:=topic",
    )
    starts = itertools.count(1_600_000_000 * SECOND, 100 * SECOND)

    def with_odometry() -> int | None:
        """Begin anew until odometry has come, which is lost before it is subscribed to."""
        first_ns = next(starts)
        stand_still(wheels, first_ns)
        _, _, values = robot.validated(0, first_ns + SECOND)
        return first_ns if values["jump"] == "nothing to compare with yet" else None

    image_stamps = itertools.count(wait_until(with_odometry, "odometry") + 2 * SECOND, SECOND // 4)
    _, status, values = robot.validated(0, next(image_stamps))
    assert status.level == DiagnosticStatus.OK and float(values["jump_mahalanobis"]) < 0.1
    refused, status, values = robot.validated(1, next(image_stamps))
    assert status.level == DiagnosticStatus.WARN and values["causes"] == "jump"
    assert "from where odometry has it" in status.message
    assert robot.validated(0, next(image_stamps))[1].level == DiagnosticStatus.OK

    answers = [robot.validated(1, next(image_stamps))[2] for _ in range(6)]
    assert answers[0]["causes"] == "jump" and answers[-1]["causes"] == "" and answers[-1]["jump"] == "none"
    assert any(values["jump"].startswith("a new track") for values in answers)
    assert robot.conversation.latest(refused) is None and refused not in robot.transform_stamps()
