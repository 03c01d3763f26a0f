"""How well poses and a camera explain the matches between two images.

Hartley and Zisserman, Multiple View Geometry: the fundamental matrix of two calibrated views (9.12) and the
Sampson error (11.9). No scale enters: poses in feet fit as well as poses in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyperpose_core.geometry.poses import Array, skew

_SMALLEST_BASELINE = 1e-9
_LEAST_PARALLAX = 0.006
"""Of the image's longer side: below it the side of infinity that a point lies on is noise."""
_FITS = 4


@dataclass(frozen=True, eq=False)
class View:
    """One image's label.

    Attributes:
        rotation: camera-to-world, [3, 3].
        centre: of the camera in the world, [3].
        intrinsics: [3, 3], pixels, of an image without distortion.
    """

    rotation: Array
    centre: Array
    intrinsics: Array


def epipolar_errors(
    first: View, second: View, points: Array, others: Array, side: float, free_baseline: bool = False
) -> Array:
    """Return how far matches are from what two labels ask for, pixels [M].

    Sampson errors; where a point would lie behind a camera, the pixels by which it moved the wrong way.

    Args:
        first: the first image's label.
        second: the second image's label.
        points: matches in the first image, [M, 2], pixels, without distortion.
        others: the same matches in the second image.
        side: the images' longer side, pixels.
        free_baseline: take the direction from camera to camera that fits best, instead of the labels'.
    """
    inverses = [np.linalg.inv(view.intrinsics) for view in (first, second)]
    rays, seen = (_homogeneous(p) @ k.T for p, k in zip((points, others), inverses, strict=True))
    rotated = rays @ (second.rotation.T @ first.rotation).T
    baseline = second.rotation.T @ (first.centre - second.centre)
    if free_baseline:
        baseline = _fitted_baseline(rotated, seen)
    infinity = _projected(rotated, second.intrinsics)
    parallax = np.minimum(np.linalg.norm(infinity - others, axis=1), side)
    parallax[rotated[:, 2] <= 0] = side
    length = float(np.linalg.norm(baseline))
    if length < _SMALLEST_BASELINE:
        return np.asarray(parallax)
    baseline = baseline / length
    essential = skew(baseline) @ second.rotation.T @ first.rotation
    sampson = _sampson_errors(inverses[1].T @ essential @ inverses[0], points, others)
    # seen ~ rotated + s * baseline with s = length / depth, which is positive in front of the first camera.
    across = _cross(seen, baseline)
    inverse_depths = -np.sum(_cross(seen, rotated) * across, axis=1) / np.maximum(
        np.sum(across**2, axis=1), 1e-12
    )
    if free_baseline and np.median(inverse_depths) < 0:
        inverse_depths = -inverse_depths
    behind = (inverse_depths < 0) & (parallax > _LEAST_PARALLAX * side)
    return np.asarray(np.where(behind, np.maximum(sampson, parallax), np.minimum(sampson, side)))


def _sampson_errors(fundamental: Array, points: Array, others: Array) -> Array:
    first, second = _homogeneous(points), _homogeneous(others)
    lines, other_lines = first @ fundamental.T, second @ fundamental
    residuals = np.sum(second * lines, axis=1)
    gradients = np.sum(lines[:, :2] ** 2, axis=1) + np.sum(other_lines[:, :2] ** 2, axis=1)
    return np.asarray(np.abs(residuals) / np.sqrt(np.maximum(gradients, 1e-30)))


def _fitted_baseline(rotated: Array, seen: Array) -> Array:
    """Return the direction that the planes through matching rays share, by reweighted least squares."""
    normals = _cross(rotated, seen)
    weights = np.ones(len(normals))
    for _ in range(_FITS):
        direction: Array = np.linalg.svd(normals * weights[:, None], full_matrices=False)[2][-1]
        residuals = np.abs(normals @ direction)
        weights = 1.0 / np.sqrt(residuals + np.median(residuals) + 1e-12)
    return direction


def _projected(rays: Array, intrinsics: Array) -> Array:
    depths = np.where(np.abs(rays[:, 2]) < 1e-9, 1e-9, rays[:, 2])
    return np.asarray((rays / depths[:, None]) @ intrinsics.T)[:, :2]


def _homogeneous(points: Array) -> Array:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _cross(first: Array, second: Array) -> Array:
    # np.cross takes longer to look at its arguments than to multiply so few of them.
    ax, ay, az = first.T
    bx, by, bz = second.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
