"""World points in an image whose lens distortion is undone: where they are, and how that moves with the pose.

Pixels are those of an image without distortion that has the camera's focal lengths and principal point; a
pixel's centre is a whole number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.landmarks.lens import normalized_points

NEAREST_DEPTH_M = 0.05
"""Points that are closer to the image plane, or behind it, are not seen."""


def undistorted(points: npt.ArrayLike, camera: CameraModel) -> Array:
    """Take points [N, 2] of the image as it was read to the image without distortion, float64."""
    return normalized_points(camera, points) * (camera.fx, camera.fy) + (camera.cx, camera.cy)


def in_camera(points: npt.NDArray[np.floating], pose: Pose) -> Array:
    """Take world points [N, 3] to the optical frame of a camera-to-world pose, float64 metres."""
    return np.asarray((points - pose.position) @ pose.rotation())


def pinhole_pixels(points: Array, camera: CameraModel) -> Array:
    """Project points [N, 3] of the optical frame to pixels [N, 2] without distortion.

    What lies behind the camera gives pixels without meaning: ask the depths, points[:, 2].
    """
    depths = np.maximum(points[:, 2:], NEAREST_DEPTH_M)
    return points[:, :2] / depths * (camera.fx, camera.fy) + (camera.cx, camera.cy)


def seen_pixels(camera: CameraModel, pixels: Array, margin: float = 0.0) -> npt.NDArray[np.bool_]:
    """Say which undistorted pixels [N, 2] lie in the image, or at most `margin` pixels outside.

    With distortion the image's outline is curved; the box around its middle lines is taken.
    """
    corners = _outline(camera)
    inside = (pixels >= corners.min(axis=0) - margin) & (pixels <= corners.max(axis=0) + margin)
    return np.asarray(inside.all(axis=1))


def projection_jacobians(points: Array, pose: Pose, camera: CameraModel) -> tuple[Array, Array]:
    """Return how projections move with the pose and with the points.

    Args:
        points: [N, 3] in the optical frame, in front of the camera.
        pose: camera-to-world.
        camera: its intrinsics.

    Returns:
        [N, 2, 6], pixels by the pose's x, y, z (metres) and its rotation (radians, left perturbation in the
        world frame); [N, 2, 3], pixels by the point's world position.
    """
    inverse = 1.0 / np.maximum(points[:, 2], NEAREST_DEPTH_M)
    rotation = pose.rotation()
    # Rows of R^T, scaled as u = fx x / z + cx changes with x and z.
    across = (camera.fx * inverse)[:, np.newaxis] * (
        rotation[:, 0] - (points[:, 0] * inverse)[:, np.newaxis] * rotation[:, 2]
    )
    down = (camera.fy * inverse)[:, np.newaxis] * (
        rotation[:, 1] - (points[:, 1] * inverse)[:, np.newaxis] * rotation[:, 2]
    )
    by_point = np.stack([across, down], axis=1)
    levers = points @ rotation.T
    # Turning the camera by d moves a point relative to it as turning the point by -d would: lever x d.
    # The cross product written out: NumPy's takes several times as long.
    (x, y, z), (a, b, c) = np.moveaxis(by_point, 2, 0), levers.T[..., np.newaxis]
    by_rotation = np.stack([y * c - z * b, z * a - x * c, x * b - y * a], axis=2)
    return np.concatenate([-by_point, by_rotation], axis=2), by_point


def _outline(camera: CameraModel) -> Array:
    right, bottom = camera.width - 1.0, camera.height - 1.0
    middles = [[0.0, camera.cy], [right, camera.cy], [camera.cx, 0.0], [camera.cx, bottom]]
    return undistorted(middles, camera)
