"""Cameras: what resizing, cropping and preprocessing make of a camera, and what files say of it."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import Preprocessing

CAMERA = CameraModel(320, 240, 260.0, 250.0, 171.0, 113.0, (0.1, -0.2, 0.0, 0.0, 0.05))


def project(camera: CameraModel, point: np.ndarray) -> np.ndarray:
    pixel = camera.matrix() @ point
    return pixel[:2] / pixel[2]


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(resize=120, crop=None),
        Preprocessing(resize=(150, 170), crop=None),
        Preprocessing(resize=121, crop=96),
        Preprocessing(resize=240, crop=101),
    ],
    ids=lambda preprocessing: f"{preprocessing.resize}-{preprocessing.crop}",
)
@pytest.mark.parametrize("point", [(0.0, 0.0, 1.0), (-0.2, 0.1, 1.5)])
def test_a_point_of_the_world_is_where_the_camera_of_the_network_input_has_it(
    preprocessing: Preprocessing, point: tuple[float, float, float]
) -> None:
    u, v = project(CAMERA, np.array(point))
    columns, rows = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    spot = 250 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * 5.0**2))
    image = np.repeat(spot[..., np.newaxis], 3, axis=2).round().astype(np.uint8)

    seen = preprocessing.cropped(preprocessing.resized(image))[0].numpy().astype(np.float64)

    camera = preprocessing.input_camera(CAMERA)
    assert seen.shape == (camera.height, camera.width)
    moments = cv2.moments(seen)
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    np.testing.assert_allclose(centre, project(camera, np.array(point)), atol=0.05)
    assert (camera.distortion, camera.distortion_model) == (CAMERA.distortion, CAMERA.distortion_model)


def test_a_cut_out_camera_keeps_its_focal_length_and_a_resized_one_its_field_of_view() -> None:
    part = CAMERA.cropped(top=10, left=31, height=100, width=200)
    assert (part.width, part.height, part.fx, part.fy) == (200, 100, 260.0, 250.0)
    assert (part.cx, part.cy) == (140.0, 103.0)
    np.testing.assert_allclose(CAMERA.resized(480, 640).field_of_view_deg(), CAMERA.field_of_view_deg())
    assert CAMERA.resized(480, 640).resized(240, 320) == CAMERA


def test_the_network_sees_what_the_crop_leaves_of_the_field_of_view() -> None:
    camera = CameraModel(128, 96, 64.0, 64.0, 63.5, 47.5)
    whole = Preprocessing(resize=96, crop=None).input_camera(camera).field_of_view_deg()
    np.testing.assert_allclose(whole, (90.0, 2 * np.degrees(np.arctan(48 / 64))))
    square = Preprocessing(resize=48, crop=48).input_camera(camera).field_of_view_deg()
    np.testing.assert_allclose(square, [2 * np.degrees(np.arctan(48 / 64))] * 2)


@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
def test_a_camera_survives_a_file(model: str) -> None:
    camera = CameraModel(640, 480, 525.5, 525.25, 320, 240.125, (0.1, -0.2, 0.0, 0.0, 0.05), model)
    assert CameraModel.from_dict(json.loads(json.dumps(camera.to_dict()))) == camera


def test_a_file_that_names_no_distortion_model_means_plumb_bob() -> None:
    written = {"width": 4, "height": 3, "fx": 2.0, "fy": 2.0, "cx": 1.5, "cy": 1.0, "distortion": [0.1]}
    camera = CameraModel.from_dict(written)
    assert camera == CameraModel(4, 3, 2.0, 2.0, 1.5, 1.0, (0.1,), "plumb_bob")
    assert json.loads(json.dumps(camera.to_dict())) == written
    with pytest.raises(TypeError, match="focus"):
        CameraModel.from_dict({**written, "focus": 1})


def test_geometry_needs_no_torch() -> None:
    modules = ("camera", "world", "poses", "frame_chains", "alignment")
    imports = "; ".join(f"import hyperpose_core.geometry.{module}" for module in modules)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
