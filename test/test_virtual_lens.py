"""Virtual views of images that a lens bends: they are what the turned or moved camera sees through it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from textured_room import look, see_along

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, rotation_vector_to_quaternion
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.rotation_averaging import RotatedViews
from hyperpose_core.view_synthesis.projection import pixel_rays
from hyperpose_core.view_synthesis.rotation import rotate_images
from hyperpose_core.view_synthesis.translation import synthesize_views

WIDE = CameraModel(160, 120, 70.0, 70.0, 79.5, 59.5)  # 98 x 81 degrees
LENSES = {
    "none": WIDE,
    "barrel": replace(WIDE, distortion=(-0.25, 0.06, 0.002, -0.001, 0.0)),
    "barrel of four": replace(WIDE, distortion=(-0.1, 0.01, 0.0, 0.0)),
    "pincushion": replace(WIDE, distortion=(0.15, 0.02, 0.0, 0.0, 0.0)),
    "rational": replace(
        WIDE,
        distortion=(0.3, 0.05, 0.0, 0.0, 0.01, 0.6, 0.15, 0.02),
        distortion_model="rational_polynomial",
    ),
    "fisheye": replace(WIDE, distortion=(-0.02, 0.01, 0.0, 0.0), distortion_model="equidistant"),
}
START = look(np.array([0.4, -0.2, 1.4]), yaw=0.3, pitch=0.1)
INNER = (slice(None), slice(20, -20), slice(28, -28))


def rays_of(camera: CameraModel) -> Array:
    """Rays by OpenCV, which the project's own must agree with."""
    pixels = np.stack(np.meshgrid(np.arange(160.0), np.arange(120.0)), -1).reshape(-1, 1, 2)
    coefficients = np.array(camera.distortion or [0.0] * 5)
    if camera.distortion_model == "equidistant":
        points = cv2.fisheye.undistortPoints(pixels, camera.matrix(), coefficients)
    else:
        end = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-10)
        points = cv2.undistortPointsIter(pixels, camera.matrix(), coefficients, np.eye(3), np.eye(3), end)
    return np.concatenate([points.reshape(120, 160, 2), np.ones((120, 160, 1))], axis=-1)


def project(camera: CameraModel, points: Array) -> Array:
    """Pixels at which OpenCV shows points [N, 3] of the optical frame."""
    coefficients, nowhere = np.array(camera.distortion or [0.0] * 5), np.zeros(3)
    if camera.distortion_model == "equidistant":
        return cv2.fisheye.projectPoints(points[:, None], nowhere, nowhere, camera.matrix(), coefficients)[0]
    return cv2.projectPoints(points, nowhere, nowhere, camera.matrix(), coefficients)[0]


def seen(camera: CameraModel, pose: Pose) -> torch.Tensor:
    return torch.from_numpy(see_along(pose, rays_of(camera))).permute(2, 0, 1).float()


def turned(angle_deg: float) -> Array:
    return rotation_vector_to_quaternion(np.array([0.0, np.radians(angle_deg), 0.0]))


def error(image: torch.Tensor, other: torch.Tensor) -> float:
    return float((image - other)[INNER].abs().mean())


@pytest.mark.parametrize("lens", LENSES)
def test_a_virtual_turn_is_by_the_angle_that_it_says(lens: str) -> None:
    camera = LENSES[lens]
    image = seen(camera, START)[None]
    synthesised = rotate_images(image, torch.from_numpy(turned(10.0))[None], camera)[0]
    angles = np.arange(8.0, 12.1, 0.25)
    errors = [error(synthesised, seen(camera, START @ Pose(np.zeros(3), turned(angle)))) for angle in angles]
    assert angles[int(np.argmin(errors))] == 10.0
    assert min(errors) < 0.3 * error(synthesised, image[0])


@pytest.mark.parametrize("lens", LENSES)
def test_a_virtual_move_is_to_where_it_says(lens: str) -> None:
    camera = LENSES[lens]
    rays = rays_of(camera)
    depth = (3.0 - START.position[0]) / (rays @ START.rotation().T)[..., 0]
    inverse = torch.from_numpy(np.clip(1.0 / depth, 0.05, 5.0)).float()[None]
    step = np.array([0.1, 0.0, 0.1])
    no_turn = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).double()
    moved = synthesize_views(
        seen(camera, START)[None], torch.from_numpy(step)[None].float(), inverse, no_turn, camera
    )[0]
    there = seen(camera, START @ Pose(step, [1.0, 0.0, 0.0, 0.0]))
    middle = (slice(None), slice(40, 80), slice(60, 100))  # shows the wall whose depth is given
    assert (moved - there)[middle].abs().mean() < 0.4 * (seen(camera, START) - there)[middle].abs().mean()


@pytest.mark.parametrize("lens", LENSES)
def test_rays_are_those_of_the_lens_at_every_size(lens: str) -> None:
    camera = LENSES[lens]
    rays = pixel_rays(camera, 120, 160).permute(1, 2, 0).numpy()
    seen_at = project(camera, rays.reshape(-1, 3).astype(np.float64)).reshape(120, 160, 2)
    np.testing.assert_allclose(seen_at, np.stack(np.meshgrid(np.arange(160), np.arange(120)), -1), atol=0.05)
    half = pixel_rays(camera.resized(60, 80), 60, 80).numpy()
    between = rays.reshape(60, 2, 80, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(half, between, rtol=5e-3, atol=5e-3)


def test_what_is_asked_at_inference_is_turned_through_the_lens_too() -> None:
    camera = LENSES["barrel"]
    views = RotatedViews(10.0, camera, Preprocessing(resize=(120, 160), crop=None))
    image = seen(camera, START)
    about_y = views.views(image[None])[2]
    assert error(about_y, seen(camera, START @ Pose(np.zeros(3), turned(10.0)))) < 0.3 * error(about_y, image)


def test_a_polynomial_that_turns_back_brings_nothing_into_the_image() -> None:
    """Rays far off the axis of a strong barrel lens, whose polynomial has its maximum at 46 degrees."""
    camera = replace(WIDE, fx=140.0, fy=140.0, distortion=(-0.32, 0.0, 0.0, 0.0, 0.0))
    image = torch.zeros(1, 3, 120, 160)
    image[:, :, 40:80, 60:100] = 255.0
    far = rotate_images(image, torch.from_numpy(turned(44.0))[None], camera)[0]
    assert far[:, :, 100:].max() == 0.0


def test_a_lens_of_an_unknown_model_is_refused_with_what_to_do() -> None:
    tilted = replace(WIDE, distortion=(0.1,) * 14, distortion_model="rational_polynomial")
    for camera in (tilted, replace(WIDE, distortion=(0.9,), distortion_model="fov")):
        with pytest.raises(HyperPoseError, match=f"{camera.distortion_model}.*undistort the images"):
            RotatedViews(9.0, camera, Preprocessing(resize=(120, 160), crop=None))
