"""The localizer with an exported file in place of a checkpoint, in a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")
pytest.importorskip("onnx", reason="onnx is missing: pip install 'hyperpose_ros[train]'")
pytest.importorskip("openvino", reason="openvino is missing: pip install openvino")

from conftest import draw_image  # noqa: E402
from localizer_helpers import (  # noqa: E402
    LONGEST_END_S,
    RELIABLE,
    SECOND,
    Conversation,
    assert_same_pose,
    message_of,
)
from ros_helpers import TestPeer  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402
from test_export import hostile_model  # noqa: E402

from hyperpose_core.cli.main import main  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402

STAMP_NS = 1_403_774_720 * SECOND


def test_the_localizer_runs_an_exported_file_and_goes_on_while_a_hostile_one_is_loaded(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.onnx"
    assert main(["export", str(tiny_checkpoint), "--output", str(file), "--images", "2"]) == 0
    robot = start("robot", f"checkpoint:={file}", "threads:=1", remaps=("image:=/exported_camera",))
    robot.process.wait_for_output("active")
    camera = peer.publisher(Image, "/exported_camera", RELIABLE)
    image = draw_image(3)
    answer = robot.ask(camera, message_of(image, STAMP_NS))
    expected = PoseEstimator.load(tiny_checkpoint, "cpu").estimate([image])[0]
    assert_same_pose(answer, expected)

    hostile = tmp_path / "hostile.onnx"
    hostile.write_bytes(hostile_model("opset"))
    assert peer.set_parameter("/robot", "checkpoint", str(hostile)).successful
    client = peer.client(Trigger, "/robot/load_checkpoint")
    call = client.call_async(Trigger.Request())
    for number in range(1, 31):
        assert_same_pose(robot.ask(camera, message_of(image, STAMP_NS + number * SECOND // 10)), expected)
    assert not call.done(), "what has no end has ended"
    assert robot.process.stop(signal.SIGINT, timeout=LONGEST_END_S) == 0
    peer.node.destroy_client(client)
