"""Which way is up in a model, from how cameras are held, and where the ground below them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperpose_core.geometry.alignment import upward
from hyperpose_core.geometry.poses import Array, Pose, matrix_to_quaternion
from hyperpose_core.reconstruction.model import Model
from hyperpose_core.reconstruction.scale import ScaleError, ScaleEstimate

_LEAST_SPREAD = 0.03  # of the cameras' x axes, for these to fix a vertical
_STEEPEST_GROUND_DEG = 12.0
_TRIALS = 2000
_LEAST_SHARE = 0.05  # of the points, on the ground
_TOLERANCE = 0.02  # of the cameras' height above it
_SEED = 0


@dataclass(frozen=True, eq=False)
class Ground:
    """A plane below the cameras.

    Attributes:
        up: its normal [3], of unit norm.
        offset: up . x of its points, in the model's unit.
        share: of the model's points, on it.
        heights: of the cameras above it [N], in the model's unit.
    """

    up: Array
    offset: float
    share: float
    heights: Array


def image_up(poses: Sequence[Pose]) -> Array:
    """Return the direction [3] that is up, of unit norm, as far as cameras are held without roll.

    An upright camera's x axis is level, however it is tilted: up is what is most nearly perpendicular to
    all of them. Where all look the same way, it is what is up in the images.
    """
    sideways = np.array([pose.rotation()[:, 0] for pose in poses])
    mean_up = upward(poses)
    values, vectors = np.linalg.eigh(sideways.T @ sideways / len(sideways))
    if values[1] - values[0] < _LEAST_SPREAD:
        return mean_up
    return np.asarray(vectors[:, 0] * (1.0 if vectors[:, 0] @ mean_up > 0.0 else -1.0))


def find_ground(model: Model, up: Array) -> Ground | None:
    """Return the plane below the cameras that most points lie on, None where there is no such plane."""
    centres = model.centres()
    points = model.points[model.track_lengths >= 3]
    lowest = float(np.quantile(centres @ up, 0.1))
    below = points[points @ up < lowest]
    if len(below) < 20:
        return None
    best, most = None, 0
    generator = np.random.default_rng(_SEED)
    for triple in generator.integers(0, len(below), (_TRIALS, 3)):
        plane = _plane(below[triple], up)
        if plane is None:
            continue
        count = int(_on_plane(below, *plane, lowest).sum())
        if count > most:
            best, most = plane, count
    if best is None or most < _LEAST_SHARE * len(points):
        return None
    for _ in range(3):
        chosen = below[_on_plane(below, *best, lowest)]
        refined = _plane(chosen, up)
        best = refined if refined is not None else best
    normal, offset = best
    return Ground(normal, offset, most / len(points), centres @ normal - offset)


def scale_from_height(model: Model, height_m: float) -> ScaleEstimate:
    """Find the scale from the cameras' height above the ground.

    Raises:
        ScaleError: there is no ground in view.
    """
    ground = find_ground(model, image_up(list(model.poses.values())))
    origin = f"a camera {height_m:g} m above the ground"
    if ground is None:
        raise ScaleError(f"{origin}: no ground in view, so the scale cannot be found from it")
    middle = float(np.median(ground.heights))
    spread = 1.4826 * float(np.median(np.abs(ground.heights - middle))) / middle
    detail = f"{100.0 * ground.share:.0f}% of the points on it; heights spread by {100.0 * spread:.1f}%"
    return ScaleEstimate(origin, height_m / middle, max(spread, 0.01), detail=detail)


def upright_pose(up: Array, forward: Array) -> Pose:
    """Return the rotation that brings `up` [3] to z and `forward` [3] above x."""
    level = forward - (forward @ up) * up
    if np.linalg.norm(level) < 1e-6:
        level = np.linalg.svd(up[np.newaxis])[2][1]
    x = level / np.linalg.norm(level)
    return Pose(np.zeros(3), matrix_to_quaternion(np.stack([x, np.cross(up, x), up])))


def _plane(points: Array, up: Array) -> tuple[Array, float] | None:
    """Fit a plane to points [K, 3]; None where it is steeper than ground is."""
    middle = points.mean(axis=0)
    normal = np.linalg.svd(points - middle, full_matrices=False)[2][-1]
    normal = normal * (1.0 if normal @ up > 0.0 else -1.0)
    if normal @ up < np.cos(np.radians(_STEEPEST_GROUND_DEG)):
        return None
    return normal, float(normal @ middle)


def _on_plane(points: Array, normal: Array, offset: float, camera_height: float) -> Array:
    """Tell which points lie on a plane, as exactly as its depth below the cameras allows."""
    tolerance = _TOLERANCE * max(camera_height - offset, 1e-9)
    return np.asarray(np.abs(points @ normal - offset) < tolerance)
