"""Averaging over virtually turned views: exact where the network is, better where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_image
from small_networks import small

from hyperpose_core.checkpoint.file import Checkpoint, save_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg, rotation_vector_to_quaternion
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.inference.rotation_averaging import RotatedViews

CAMERA = CameraModel(width=128, height=96, fx=110.0, fy=110.0, cx=63.5, cy=47.5)


def project(camera: Pose, point: np.ndarray, crop: int | None) -> tuple[int, int]:
    x, y, z = camera.inverse().transform(point[None])[0]
    column, row = CAMERA.fx * x / z + CAMERA.cx, CAMERA.fy * y / z + CAMERA.cy
    shift = (0, 0) if crop is None else ((CAMERA.width - crop) // 2, (CAMERA.height - crop) // 2)
    return round(row - shift[1]), round(column - shift[0])


@pytest.mark.parametrize("crop", [None, 64])
def test_a_view_shows_a_point_where_the_turned_camera_would_see_it(crop: int | None) -> None:
    camera = Pose(np.array([1.0, 2.0, 3.0]), rotation_vector_to_quaternion([0.3, -0.2, 0.5]))
    point = camera.transform(np.array([[0.2, -0.1, 4.0]]))[0]
    views = RotatedViews(6.0, CAMERA, Preprocessing(resize=(96, 128), crop=crop))
    image = torch.zeros(1, 3, *((crop, crop) if crop else (96, 128)))
    row, column = project(camera, point, crop)
    image[:, :, row - 1 : row + 2, column - 1 : column + 2] = 1.0
    turned = views.views(image)
    assert len(turned) == 7
    angle = np.radians(6.0)
    for view, axis in zip(turned[1:], [*np.eye(3), *-np.eye(3)], strict=True):
        turn = Pose(np.zeros(3), rotation_vector_to_quaternion(axis * angle))
        expected = project(camera @ turn, point, crop)
        brightest = np.unravel_index(int(view[0].argmax()), view[0].shape)
        assert np.abs(np.subtract(brightest, expected)).max() <= 1, axis


def test_answers_that_turn_with_the_camera_are_kept_and_errors_that_do_not_cancel() -> None:
    views = RotatedViews(9.0, CAMERA, Preprocessing(resize=(96, 128), crop=None))
    truth = Pose(np.array([1.0, 2.0, 3.0]), rotation_vector_to_quaternion([0.3, -0.2, 0.5]))
    axes = [np.zeros(3), *np.eye(3), *-np.eye(3)]
    turned = [
        truth @ Pose(np.zeros(3), rotation_vector_to_quaternion(axis * np.radians(9.0))) for axis in axes
    ]
    signs = np.array([1, -1, 2, 1, -3, 1, 1])[:, None]
    orientations = np.array([pose.orientation for pose in turned]) * signs
    positions = np.tile(truth.position, (7, 1))
    positions[1:4] += 0.3
    positions[4:] -= 0.3
    position, orientation = views.average(positions, orientations, np.zeros(7, dtype=np.int64))
    np.testing.assert_allclose(position[0], truth.position, atol=1e-12)
    assert orientation_errors_deg(orientation[0], truth.orientation) < 1e-9


def test_views_taken_for_another_scene_are_no_part_of_the_average() -> None:
    views = RotatedViews(9.0, CAMERA, Preprocessing(resize=(96, 128), crop=None))
    orientations = np.tile([1.0, 0.0, 0.0, 0.0], (7, 1))
    positions = np.tile([1.0, 2.0, 3.0], (7, 1))
    positions[[2, 5]] += 100.0  # the other scene's world is elsewhere
    orientations[[2, 5]] = np.nan
    position, _ = views.average(positions, orientations, np.array([0, 0, 1, 0, 0, 1, 0]))
    np.testing.assert_allclose(position[0], [1.0, 2.0, 3.0], atol=1e-12)
    alone, _ = views.average(positions, orientations, np.array([1, 0, 0, 0, 0, 0, 0]))
    np.testing.assert_allclose(alone[0], positions[0])


def test_the_estimator_averages_what_it_says_of_each_view(tmp_path: Path) -> None:
    network = small("hyperpose")
    path = tmp_path / "network.safetensors"
    preprocessing = Preprocessing(resize=(96, 128), crop=None)
    options = dict(backbone="efficientnet_lite0", dropout=0.0, stochastic_depth=0.0)
    options |= {"hidden_width": 64, "generator_width": 16}
    save_checkpoint(
        path, Checkpoint("hyperpose", options, network.state_dict(), preprocessing, camera=CAMERA)
    )
    images = [draw_image(seed, 96, 128) for seed in range(2)]
    plain, averaging = PoseEstimator.load(path, "cpu"), PoseEstimator.load(path, "cpu", rotation_deg=9.0)
    views = RotatedViews(9.0, CAMERA, preprocessing)
    for image, estimate in zip(images, averaging.estimate(images), strict=True):
        alone = plain.infer(views.views(plain.preprocess(image)[None]))
        expected = np.mean([view.pose.position for view in alone if view.pose], axis=0)
        assert estimate.pose is not None
        np.testing.assert_allclose(estimate.pose.position, expected, atol=1e-5)


def test_turns_that_cannot_be_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(HyperPoseError, match="intrinsics.*camera=WIDTH"):
        RotatedViews(9.0, None, Preprocessing())
    with pytest.raises(HyperPoseError, match="less than 45"):
        RotatedViews(60.0, CAMERA, Preprocessing())
