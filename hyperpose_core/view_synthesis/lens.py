"""Lenses that bend lines: from undistorted points of the image plane to where they are seen, and back.

The models are those of OpenCV and sensor_msgs/CameraInfo: plumb-bob (Brown, 1966), rational polynomial, and
equidistant for fisheye lenses (Kannala and Brandt, PAMI 2006).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import PLUMB_BOB, CameraModel

_FISHEYE = "equidistant"
_MOST_COEFFICIENTS = {PLUMB_BOB: 5, "rational_polynomial": 8, _FISHEYE: 4}
_POLYNOMIAL = 8  # k1, k2, p1, p2, k3, k4, k5, k6
# Wide lenses need more than OpenCV's five rounds.
_UNDISTORTION_END = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-8)
_NEWTON_STEPS, _LARGEST_STEP = 12, 0.1
_LARGEST_ERROR = 1e-3  # of an undistorted point, seen through the lens again, image plane at depth 1
_RADII = np.linspace(0.0, 20.0, 20001)


def check_lens(camera: CameraModel) -> None:
    """Refuse a lens through which no view can be synthesised.

    Raises:
        HyperPoseError: its model is unknown, or it has coefficients beyond the polynomial's.
    """
    most = _MOST_COEFFICIENTS.get(camera.distortion_model, 0)
    if any(camera.distortion[most:]):
        raise HyperPoseError(
            f"virtual views through a lens of model {camera.distortion_model!r} with "
            f"{len(camera.distortion)} coefficients: {', '.join(_MOST_COEFFICIENTS)} with at most "
            f"{', '.join(map(str, _MOST_COEFFICIENTS.values()))} are known; undistort the images, or leave "
            "rotation augmentation and view synthesis out"
        )


def distorted(camera: CameraModel, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return where a lens shows points of the image plane at depth 1, on that plane.

    Points so far out that the polynomial turns back on itself are shown where it turns: a lens shows nothing
    of them, and else they would come to lie within the image.
    """
    if camera.distortion_model == _FISHEYE:
        radius = torch.sqrt(x * x + y * y).clamp(min=1e-9)
        theta = torch.atan(radius)
        square = theta * theta
        k1, k2, k3, k4 = camera.distortion
        bent = theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
        return x * (bent / radius), y * (bent / radius)
    k1, k2, p1, p2, k3, k4, k5, k6 = _coefficients(camera)
    scale = (_farthest(camera) / torch.sqrt(x * x + y * y).clamp(min=1e-9)).clamp(max=1.0)
    x, y = x * scale, y * scale
    square = x * x + y * y
    radial = (1 + square * (k1 + square * (k2 + square * k3))) / (
        1 + square * (k4 + square * (k5 + square * k6))
    )
    return (
        x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
        y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
    )


@lru_cache(maxsize=4)
def undistorted_pixels(camera: CameraModel, height: int, width: int) -> Tensor:
    """Return the points at depth 1 of the image plane that pixels show [2, h, w], not to be written to.

    Pixels that the lens's model shows nothing at are taken for those of a pinhole.
    """
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2).astype(np.float64)
    pinhole = (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    coefficients = np.array(camera.distortion)
    if camera.distortion_model == _FISHEYE:
        points = cv2.fisheye.undistortPoints(pixels, camera.matrix(), coefficients)
    else:
        points = cv2.undistortPointsIter(
            pixels, camera.matrix(), coefficients, np.eye(3), np.eye(3), _UNDISTORTION_END
        )
    there = torch.from_numpy(np.asarray(points, dtype=np.float64)).view(-1, 2)
    expected = torch.from_numpy(pinhole).view(-1, 2)
    there = _refined(camera, there, expected)
    seen = _through(camera, there)
    # Written so that what is not a number is none of them.
    sound = (seen - expected).abs().amax(dim=-1, keepdim=True) <= _LARGEST_ERROR
    return torch.where(sound, there, expected).float().T.reshape(2, height, width).contiguous()


def _through(camera: CameraModel, points: Tensor) -> Tensor:
    return torch.stack(distorted(camera, *points.unbind(-1)), dim=-1)


def _refined(camera: CameraModel, points: Tensor, expected: Tensor) -> Tensor:
    """Bring points [N, 2] to where the lens shows them as expected [N, 2], by Newton's method.

    OpenCV's iteration comes near, and takes hundreds of rounds more in the corners of wide lenses.
    """
    step = 1e-6
    for _ in range(_NEWTON_STEPS):
        missing = expected - _through(camera, points)
        columns = [
            (_through(camera, points + offset) - _through(camera, points - offset)) / (2 * step)
            for offset in step * torch.eye(2, dtype=points.dtype)
        ]
        jacobian = torch.stack(columns, dim=-1) + 1e-9 * torch.eye(2, dtype=points.dtype)
        change = torch.linalg.solve_ex(jacobian, missing[..., None])[0][..., 0]
        points = points + change.clamp(-_LARGEST_STEP, _LARGEST_STEP)
    return points


def _coefficients(camera: CameraModel) -> list[float]:
    return [*camera.distortion, *[0.0] * _POLYNOMIAL][:_POLYNOMIAL]


@lru_cache(maxsize=4)
def _farthest(camera: CameraModel) -> float:
    """Return the undistorted radius at which the polynomial turns back, infinite where it never does."""
    k1, k2, _, _, k3, k4, k5, k6 = _coefficients(camera)
    square = np.square(_RADII)
    bent = _RADII * np.polyval([k3, k2, k1, 1.0], square) / np.polyval([k6, k5, k4, 1.0], square)
    turns = np.flatnonzero(np.diff(bent) <= 0.0)
    return float(_RADII[turns[0]]) if len(turns) else float("inf")
