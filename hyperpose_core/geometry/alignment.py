"""Fits the rigid transform from one world to another to poses that are known in both.

Rotation and translation are the least-squares fit to the positions without a scale (Umeyama, Least-squares
estimation of transformation parameters between two point patterns, PAMI 1991). Outliers are found by the
least median of squares over fits to three positions each, and left out (Rousseeuw, Least median of squares
regression, JASA 1984): up to half of the poses may be wrong. Where positions do not fix a rotation, since
they are too few or lie on a line, it is the mean of the rotations that the orientations ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array, Pose, matrix_to_quaternion, orientation_errors_deg

_TRIALS = 500  # with half of the positions wrong, 2e-29 is the chance that no triple is all right
_SEED = 0
_OUTLIER_DEVIATIONS = 2.5
_MEDIAN_TO_DEVIATION = 1.4826  # of a normal distribution
_SMALLEST_DEVIATION_M = 1e-6
_SMALLEST_WIDTH = 0.02
"""Positions whose second extent is a smaller share of their first lie on a line, as far as a fit goes."""
_LARGEST_DISAGREEMENT_DEG = 20.0


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where one world lies in another.

    Attributes:
        transform: the first world's pose in the second.
        used: which of the N pairs of poses it was fitted to, bool [N].
        position_residuals: distances [N] between transformed and reference positions, metres.
        rotation_residuals_deg: angles [N] between transformed and reference orientations, degrees.
        rotation_from: what the rotation was fitted to.
    """

    transform: Pose
    used: npt.NDArray[np.bool_]
    position_residuals: Array
    rotation_residuals_deg: Array
    rotation_from: Literal["positions", "orientations"]


def align_poses(poses: Sequence[Pose], reference: Sequence[Pose]) -> Alignment:
    """Fit the transform that takes poses to their reference poses.

    Args:
        poses: N poses of a moving frame in the first world.
        reference: the N poses of the same frame at the same times in the second world.

    Raises:
        HyperPoseError: there are no poses, or positions do not fix a rotation and orientations contradict one
            another.
    """
    if not poses or len(poses) != len(reference):
        raise HyperPoseError(f"cannot align {len(poses)} poses with {len(reference)} reference poses")
    positions = np.array([pose.position for pose in poses])
    targets = np.array([pose.position for pose in reference])
    fitted = _fit_positions(positions, targets)
    if fitted is not None:
        return _alignment(*fitted, poses, reference, "positions")
    turns = np.array(
        [end.rotation() @ start.rotation().T for start, end in zip(poses, reference, strict=True)]
    )
    return _alignment(*_fit_orientations(turns, positions, targets), poses, reference, "orientations")


def upward(poses: Sequence[Pose]) -> Array:
    """Return the mean direction [3], of unit norm, that is up in images of cameras with these poses."""
    mean = np.mean([-pose.rotation()[:, 1] for pose in poses], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))


def _fit_positions(positions: Array, targets: Array) -> tuple[Pose, npt.NDArray[np.bool_]] | None:
    """Return the fit and which pairs it was fitted to; None where positions do not fix a rotation."""
    if len(positions) < 3:
        return None
    generator = np.random.default_rng(_SEED)
    best, least = None, np.inf
    for _ in range(_TRIALS):
        triple = generator.choice(len(positions), 3, replace=False)
        candidate = _umeyama(positions[triple], targets[triple])
        median = float(np.median(_distances(candidate, positions, targets)))
        if median < least:
            best, least = candidate, median
    assert best is not None  # residuals of finite positions are finite
    used = _inliers(_distances(best, positions, targets))
    noise = float(np.median(_distances(best, positions, targets)[used]))
    if not (_has_width(positions[used], noise) and _has_width(targets[used], noise)):
        return None
    # The first fit is to three positions: what it leaves out may be right after all.
    for _ in range(2):
        transform = _umeyama(positions[used], targets[used])
        used = _inliers(_distances(transform, positions, targets))
    return _umeyama(positions[used], targets[used]), used


def _fit_orientations(turns: Array, positions: Array, targets: Array) -> tuple[Pose, npt.NDArray[np.bool_]]:
    """Fit the rotation to turns [N, 3, 3] from one world to the other, and then the translation."""
    # The turn that most others are near to stands for them, so that outliers have no say.
    candidates = turns[:: 1 + len(turns) // _TRIALS]
    angles = min((_angles_deg(candidate, turns) for candidate in candidates), key=np.median)
    disagreement = float(np.median(angles))
    if disagreement > _LARGEST_DISAGREEMENT_DEG:
        raise HyperPoseError(
            "the positions lie on a line or are fewer than three, so that the rotation must come from the "
            f"orientations, and these differ by {disagreement:.0f} degrees in the median: give poses from a "
            "way with turns, of the same frame (the camera) in both files"
        )
    used = _inliers(angles)
    orientation = matrix_to_quaternion(np.mean(turns[used], axis=0))
    rotated = Pose(np.zeros(3), orientation).transform(positions)
    offsets = targets - rotated
    used &= _inliers(np.linalg.norm(offsets - np.median(offsets[used], axis=0), axis=1))
    return Pose(np.mean(offsets[used], axis=0), orientation), used


def _alignment(
    transform: Pose,
    used: npt.NDArray[np.bool_],
    poses: Sequence[Pose],
    reference: Sequence[Pose],
    rotation_from: Literal["positions", "orientations"],
) -> Alignment:
    moved = [transform @ pose for pose in poses]
    return Alignment(
        transform=transform,
        used=used,
        position_residuals=np.array(
            [np.linalg.norm(a.position - b.position) for a, b in zip(moved, reference, strict=True)]
        ),
        rotation_residuals_deg=orientation_errors_deg(
            [pose.orientation for pose in moved], [pose.orientation for pose in reference]
        ),
        rotation_from=rotation_from,
    )


def _umeyama(positions: Array, targets: Array) -> Pose:
    """Return the rigid transform of least squared distances from positions [N, 3] to targets [N, 3]."""
    middle, target_middle = positions.mean(axis=0), targets.mean(axis=0)
    left, _, right = np.linalg.svd((targets - target_middle).T @ (positions - middle))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    return Pose(target_middle - rotation @ middle, matrix_to_quaternion(rotation))


def _has_width(positions: Array, noise: float) -> bool:
    """Tell whether positions [N, 3] extend in two directions by more than their noise, metres."""
    if len(positions) < 3:
        return False
    extents = np.linalg.svd(positions - positions.mean(axis=0), compute_uv=False) / np.sqrt(len(positions))
    return bool(extents[1] > max(2.0 * noise, _SMALLEST_WIDTH * extents[0], _SMALLEST_DEVIATION_M))


def _distances(transform: Pose, positions: Array, targets: Array) -> Array:
    return np.asarray(np.linalg.norm(transform.transform(positions) - targets, axis=1))


def _inliers(residuals: Array) -> npt.NDArray[np.bool_]:
    """Tell which residuals lie within 2.5 robust standard deviations; at least half of them do."""
    correction = 1.0 + 5.0 / max(len(residuals) - 3, 1)
    deviation = _MEDIAN_TO_DEVIATION * correction * float(np.median(residuals))
    return np.asarray(residuals <= _OUTLIER_DEVIATIONS * max(deviation, _SMALLEST_DEVIATION_M))


def _angles_deg(first: Array, second: Array) -> Array:
    """Return the angles [N] in degrees between one rotation [3, 3] and others [N, 3, 3]."""
    # Of the chord, 2 sqrt(2) sin(angle / 2), which is exact for small angles, where an acos is not.
    chords = np.linalg.norm(first - second, axis=(-2, -1))
    return np.degrees(2.0 * np.arcsin(np.clip(chords / np.sqrt(8.0), 0.0, 1.0)))
