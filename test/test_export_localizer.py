"""The localizer with an exported file in place of a checkpoint, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")
pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("openvino", reason="the extra `export` is not installed")

from conftest import draw_image  # noqa: E402
from localizer_helpers import RELIABLE, SECOND, Conversation, assert_same_pose, message_of  # noqa: E402
from ros_helpers import TestPeer  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from hyperpose_core.cli.main import main  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402

STAMP_NS = 1_403_774_720 * SECOND


def test_the_localizer_runs_an_exported_file(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.onnx"
    assert main(["export", str(tiny_checkpoint), "--output", str(file), "--images", "2"]) == 0
    robot = start("robot", f"checkpoint:={file}", "threads:=1", remaps=("image:=/exported_camera",))
    robot.process.wait_for_output("active")
    camera = peer.publisher(Image, "/exported_camera", RELIABLE)
    image = draw_image(3)
    answer = robot.ask(camera, message_of(image, STAMP_NS))
    assert_same_pose(answer, PoseEstimator.load(tiny_checkpoint, "cpu").estimate([image])[0])
