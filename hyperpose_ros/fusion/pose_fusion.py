"""Several cameras' estimates of one body's pose as one: information weighting on R3 x SO(3).

Each camera says where the body is, with a covariance. What is fused is the pose with the least sum of squared
Mahalanobis distances to them, by Gauss-Newton in the tangent space (as Barfoot and Furgale, "Associating
Uncertainty with Three-Dimensional Poses for Use in Estimation Problems", T-RO 2014, fuse poses, but with
position and rotation apart). The cameras' errors count as independent. They are not quite: one network sees
the same place from all of them, so the fused covariance is the least that can be claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperpose_core.geometry.poses import (
    Array,
    Pose,
    move_covariance,
    quaternion_to_rotation_vector,
    relative_quaternion,
    rotation_vector_to_quaternion,
    skew,
)
from hyperpose_ros.common.fix import PoseWithCovariance

_GATE = 22.458  # 99.9% of chi-squared with 6 degrees of freedom
_MOST_STEPS = 20
_SMALLEST_STEP = 1e-10  # metres and radians


@dataclass(frozen=True, eq=False)
class Fusion:
    """What several estimates say together.

    Attributes:
        fused: the body's pose, and how far it may be off.
        left_out: the places of the estimates that contradict the others, which play no part in it.
        agree: False where estimates contradict one another and nobody can tell which are wrong; the
            covariance then spans them all.
    """

    fused: PoseWithCovariance
    left_out: tuple[int, ...]
    agree: bool


def body_from_camera(camera: PoseWithCovariance, extrinsics: Pose) -> PoseWithCovariance:
    """Move an estimate of a camera's pose to the body that carries it.

    Args:
        camera: the camera's optical frame in the map.
        extrinsics: the camera's optical frame in the body frame.
    """
    body = camera.pose @ extrinsics.inverse()
    covariance = move_covariance(camera.covariance, body.position - camera.pose.position)
    return PoseWithCovariance(body, covariance)


def fuse(estimates: Sequence[PoseWithCovariance]) -> Fusion:
    """Fuse estimates of one body's pose.

    An estimate contradicts the others where its squared Mahalanobis distance to their fusion exceeds the
    99.9% quantile of chi-squared. The worst is left out, and the rest are asked again, as long as those left
    out are fewer than those kept: of two that disagree neither can be preferred, nor of four, two against
    two. Then all of them count, with the covariance of a mixture, as if any one of them were the right one.

    Args:
        estimates: at least one, of the same frame in the same map.
    """
    kept = list(range(len(estimates)))
    while (worst := _worst(estimates, kept)) is not None:
        kept.remove(worst)
        if 2 * len(kept) <= len(estimates):
            return Fusion(_mixture(estimates), (), agree=False)
    left_out = tuple(index for index in range(len(estimates)) if index not in kept)
    return Fusion(_weighted([estimates[index] for index in kept]), left_out, agree=True)


def _worst(estimates: Sequence[PoseWithCovariance], kept: Sequence[int]) -> int | None:
    """Return which estimate contradicts the others most, beyond the gate; None where none does."""
    if len(kept) < 2:
        return None
    distances = {}
    for index in kept:
        others = _weighted([estimates[other] for other in kept if other != index])
        residual = _residual(others.pose, estimates[index].pose)
        spread = others.covariance + estimates[index].covariance
        distances[index] = float(residual @ np.linalg.solve(spread, residual))
    worst = max(distances, key=lambda index: distances[index])
    return worst if distances[worst] > _GATE else None


def _weighted(estimates: Sequence[PoseWithCovariance]) -> PoseWithCovariance:
    """Return the pose of least squared Mahalanobis distance to all, with its covariance."""
    if len(estimates) == 1:
        return estimates[0]
    informations = [np.linalg.inv(estimate.covariance) for estimate in estimates]
    # The surest estimate of the orientation, the only part in which the problem is not linear.
    pose = min(estimates, key=lambda estimate: float(np.trace(estimate.covariance[3:, 3:]))).pose
    for _ in range(_MOST_STEPS):
        total, gradient = np.zeros((6, 6)), np.zeros(6)
        for estimate, information in zip(estimates, informations, strict=True):
            residual = _residual(estimate.pose, pose)
            jacobian = np.eye(6)
            jacobian[3:, 3:] = _inverse_left_jacobian(residual[3:])
            total += jacobian.T @ information @ jacobian
            gradient += jacobian.T @ information @ residual
        step = -np.linalg.solve(total, gradient)
        turn = Pose(np.zeros(3), rotation_vector_to_quaternion(step[3:]))
        pose = Pose(pose.position + step[:3], (turn @ Pose(np.zeros(3), pose.orientation)).orientation)
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    covariance = np.linalg.inv(total)
    return PoseWithCovariance(pose, (covariance + covariance.T) / 2)


def _mixture(estimates: Sequence[PoseWithCovariance]) -> PoseWithCovariance:
    """Return the weighted pose with the second moments, about it, of a mixture in equal parts."""
    pose = _weighted(estimates).pose
    moments = []
    for estimate in estimates:
        residual = _residual(pose, estimate.pose)
        moments.append(estimate.covariance + np.outer(residual, residual))
    return PoseWithCovariance(pose, np.mean(moments, axis=0))


def _residual(reference: Pose, pose: Pose) -> Array:
    """Return the left perturbation [6] (x, y, z, rotation vector) that leads from a reference to a pose."""
    rotation = quaternion_to_rotation_vector(relative_quaternion(reference.orientation, pose.orientation))
    return np.concatenate([pose.position - reference.position, rotation])


def _inverse_left_jacobian(vector: Array) -> Array:
    """Return SO(3)'s J [3, 3] with log(exp(d) exp(vector)) = vector + J d for small d."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-6:
        return np.eye(3) - skew(vector) / 2
    half = angle / 2
    cotangent = half / np.tan(half)
    axis = vector / angle
    return cotangent * np.eye(3) + (1 - cotangent) * np.outer(axis, axis) - half * skew(axis)
