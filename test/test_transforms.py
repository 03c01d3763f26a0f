"""Which transform goes out, its arithmetic, and the parameters that say so."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from hyperpose_core.errors import HyperPoseError  # noqa: E402
from hyperpose_core.geometry import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_ros.parameters import LocalizerParameters  # noqa: E402
from hyperpose_ros.transforms import TransformPlan  # noqa: E402

LOOKING_AHEAD = (0.4, 0.1, 1.2, -0.5, 0.5, -0.5, 0.5)
"""A camera 0.4 m before, 0.1 m to the left of and 1.2 m above base_link."""


def plan(**values: object) -> TransformPlan:
    return TransformPlan.from_parameters(LocalizerParameters(**values))  # type: ignore[arg-type]


def test_with_extrinsics_the_robot_is_placed_and_not_the_camera() -> None:
    # The robot stands at (10, 20, 0) and faces along the map's y axis.
    robot = Pose(np.array([10.0, 20.0, 0.0]), rotation_vector_to_quaternion([0.0, 0.0, np.pi / 2]))
    lens = np.array([10.0 - 0.1, 20.0 + 0.4, 1.2])
    right_down_forward = np.column_stack([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = right_down_forward, lens
    placement = plan(camera_extrinsics=LOOKING_AHEAD).placement(Pose.from_matrix(matrix), "camera")
    assert placement is not None and (placement.parent, placement.child) == ("map", "base_link")
    np.testing.assert_allclose(placement.pose.matrix(), robot.matrix(), atol=1e-12)


def test_without_extrinsics_the_camera_is_placed() -> None:
    camera = Pose(np.array([1.0, 2.0, 3.0]), rotation_vector_to_quaternion([0.1, 0.2, 0.3]))
    placement = plan(map_frame="world").placement(camera, "camera_optical_frame")
    assert placement is not None and (placement.parent, placement.child) == ("world", "camera_optical_frame")
    np.testing.assert_array_equal(placement.pose.matrix(), camera.matrix())


@pytest.mark.parametrize("frame", ["", "map"])
def test_an_image_whose_frame_cannot_be_a_child_gets_no_transform(frame: str) -> None:
    assert plan().placement(Pose.identity(), frame) is None


def test_the_mode_overrules_the_extrinsics() -> None:
    assert plan(tf_mode="none", camera_extrinsics=LOOKING_AHEAD).placement(Pose.identity(), "camera") is None
    camera = plan(tf_mode="map_camera", camera_extrinsics=LOOKING_AHEAD).placement(Pose.identity(), "camera")
    assert camera is not None and camera.child == "camera"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tf_mode": "map_base"}, "camera_extrinsics"),
        ({"camera_extrinsics": (0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)}, "camera_extrinsics: .*norm 1.41"),
        ({"map_frame": "base_link"}, "'base_link'"),
        ({"map_frame": ""}, "map_frame ''"),
    ],
)
def test_parameters_that_place_nothing_are_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(HyperPoseError, match=reason):
        plan(**values)
