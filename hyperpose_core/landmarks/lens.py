"""From pixels to directions, for cameras with plumb-bob distortion (Brown, 1966, as OpenCV has it)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array

# Wide lenses need more than OpenCV's five rounds.
_UNDISTORTION_END = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-8)


def focal_length(camera: CameraModel) -> float:
    """Return the geometric mean of both focal lengths, pixels."""
    return float(np.sqrt(camera.fx * camera.fy))


def camera_matrix(camera: CameraModel) -> Array:
    """Return the 3x3 matrix K."""
    return np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])


def normalized_points(camera: CameraModel, pixels: npt.ArrayLike) -> Array:
    """Undo the lens: points [N, 2] of the image plane at depth 1, float64, of pixels [N, 2]."""
    points = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    if camera.distortion and len(points):
        return np.asarray(
            cv2.undistortPointsIter(
                points[:, None],
                camera_matrix(camera),
                np.array(camera.distortion),
                np.eye(3),
                np.eye(3),
                _UNDISTORTION_END,
            ),
            dtype=np.float64,
        )[:, 0]
    return (points - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
