"""`camera_extrinsics`: the localizer's parameters out of a bag's static transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_quaternion

pytest.importorskip("rclpy", reason="rclpy is missing")

from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage

from hyperpose_ros.bags.camera_extrinsics import main
from hyperpose_ros.bags.writer import BagWriter
from hyperpose_ros.common.conversions import pose_from_numbers, transform_to_message

MAST = Pose([0.5, 0.0, 1.0], matrix_to_quaternion(euler_to_matrix(0.0, 0.1, 0.2)))
OPTICAL = Pose([0.0, 0.06, 0.3], matrix_to_quaternion(euler_to_matrix(-1.5708, 0.0, -1.5708)))


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "bag"
    with BagWriter(path) as writer:
        # Two broadcasters, as on a robot: each sends its own message.
        for parent, child, pose in (("mast", "eye", OPTICAL), ("base_link", "mast", MAST)):
            transform = transform_to_message(parent, child, pose, 1_000)
            writer.write("/tf_static", TFMessage(transforms=[transform]), 1_000)
        image = CompressedImage(format="png")
        image.header.frame_id = "eye"
        writer.write("/camera/image_raw/compressed", image, 2_000)
    return path


def test_chained_transforms_become_a_parameter_file(bag: Path, tmp_path: Path) -> None:
    assert main([str(bag), "--output", str(tmp_path / "extrinsics.yaml")]) == 0
    parameters = yaml.safe_load((tmp_path / "extrinsics.yaml").read_text())["/**"]["ros__parameters"]
    assert parameters["base_frame"] == "base_link"
    found = pose_from_numbers(parameters["camera_extrinsics"])
    np.testing.assert_allclose(found.matrix(), (MAST @ OPTICAL).matrix(), atol=1e-8)


def test_frames_that_are_not_connected_are_named(bag: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(bag), "--base-frame", "chassis"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "chassis to eye" in message and "base_link -> mast" in message


def test_a_bag_without_static_transforms_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        image = CompressedImage(format="png")
        image.header.frame_id = "eye"
        writer.write("/image", image, 1)
    assert main([str(tmp_path / "bag")]) == 2
    assert "no topic /tf_static; it has: /image" in capsys.readouterr().err
