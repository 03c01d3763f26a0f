"""A camera's pose from landmarks seen in its image: a robust first answer, and the best one near it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from transforms3d.quaternions import qmult

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, rotation_vector_to_quaternion
from hyperpose_core.landmarks.lens import camera_matrix
from hyperpose_core.landmarks.projection import (
    NEAREST_DEPTH_M,
    in_camera,
    pinhole_pixels,
    projection_jacobians,
)

FEWEST_MATCHES = 6
"""Of fewer matches no pose is computed: three define one, and nothing would speak for it."""

_CONFIDENCE = 0.9999
_STEPS = 8
# Metres and radians: far below what a pose is off, and every further step costs half a millisecond.
_SMALLEST_STEP = 2e-4
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class FittedPose:
    """A pose at which the squared residuals are smallest.

    Attributes:
        pose: camera-to-world.
        squares: [N], squared distances of projected and seen pixels by the variance along one axis.
        weights: [N], the share with which each counts, 0 to 1: small for those that do not fit.
        information: [6, 6], inverse covariance of x, y, z, rot x, rot y, rot z (metres, radians, left
            perturbation) if each residual were an independent draw from its variance.
    """

    pose: Pose
    squares: Array
    weights: Array
    information: Array


def ransac_pose(
    points: Array, positions: Array, camera: CameraModel, *, threshold: float, iterations: int
) -> tuple[Pose, npt.NDArray[np.bool_]] | None:
    """Find the pose that the most matches agree with.

    RANSAC over three-point solutions with the score of MSAC (Torr and Zisserman, CVIU 2000), as OpenCV's USAC
    has it; the same input always gives the same answer. Without local optimisation, which took four times as
    long and found the same: whoever asks looks again from the pose, and fits it to what is there.

    Args:
        points: undistorted pixels [N, 2].
        positions: of the landmarks seen there, [N, 3], metres.
        camera: the image's.
        threshold: largest reprojection error of an inlier, pixels.
        iterations: at most so many hypotheses.

    Returns:
        the camera-to-world pose and who agrees [N]; None where there is none.
    """
    if len(points) < FEWEST_MATCHES:
        return None
    parameters = cv2.UsacParams()
    parameters.threshold, parameters.maxIterations = threshold, iterations
    parameters.confidence, parameters.randomGeneratorState = _CONFIDENCE, 1
    parameters.loMethod, parameters.score = cv2.LOCAL_OPTIM_NULL, cv2.SCORE_METHOD_MSAC
    try:
        found, _, turn, shift, _ = cv2.solvePnPRansac(
            np.ascontiguousarray(positions), np.ascontiguousarray(points), camera_matrix(camera), None,
            params=parameters,
        )  # fmt: skip
    except cv2.error:
        # OpenCV raises where no sample has a solution.
        return None
    pose = _pose_from_opencv(np.asarray(turn), np.asarray(shift)) if found else None
    if pose is None:
        return None
    seen = in_camera(positions, pose)
    errors = np.linalg.norm(pinhole_pixels(seen, camera) - points, axis=1)
    inliers = (errors <= threshold) & (seen[:, 2] > NEAREST_DEPTH_M)
    return (pose, inliers) if inliers.sum() >= FEWEST_MATCHES else None


def fit_pose(
    start: Pose, points: Array, positions: Array, variances: Array, camera: CameraModel
) -> FittedPose | None:
    """Move a pose to where the residuals are smallest: Gauss-Newton with Cauchy's weights.

    Args:
        start: camera-to-world, near the answer.
        points: undistorted pixels [N, 2].
        positions: of the landmarks seen there, [N, 3], metres.
        variances: [N], of each residual along one axis, square pixels.
        camera: the image's.

    Returns:
        None where the matches do not determine a pose, or lead away from the start without end.
    """
    pose = start
    for _ in range(_STEPS):
        fitted = _linearised(pose, points, positions, variances, camera)
        if fitted is None:
            return None
        state, gradient = fitted
        try:
            step = np.asarray(-np.linalg.solve(state.information, gradient), dtype=np.float64)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(step).all():
            return None
        pose = _moved(pose, step)
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    last = _linearised(pose, points, positions, variances, camera)
    return None if last is None else last[0]


def residual_variances(
    pose: Pose, positions: Array, covariances: Array, camera: CameraModel, pixel_deviation: float
) -> Array:
    """Return the variance of each residual along one axis [N], square pixels: of seeing and of the landmark.

    Args:
        pose: camera-to-world, about right.
        positions: of the landmarks, [N, 3], metres.
        covariances: theirs, [N, 3, 3], square metres.
        camera: the image's.
        pixel_deviation: standard deviation of a feature's place, pixels.
    """
    _, by_point = projection_jacobians(in_camera(positions, pose), pose, camera)
    of_landmark = np.einsum("nij,njk,nik->n", by_point, covariances, by_point) / 2.0
    return np.asarray(pixel_deviation**2 + of_landmark)


def _linearised(
    pose: Pose, points: Array, positions: Array, variances: Array, camera: CameraModel
) -> tuple[FittedPose, Array] | None:
    seen = in_camera(positions, pose)
    if (seen[:, 2] > NEAREST_DEPTH_M).sum() < FEWEST_MATCHES:
        return None
    residuals = pinhole_pixels(seen, camera) - points
    squares = np.square(residuals).sum(axis=1) / variances
    weights = np.where(seen[:, 2] > NEAREST_DEPTH_M, 1.0 / (1.0 + squares / 4.0), 0.0)
    jacobians, _ = projection_jacobians(seen, pose, camera)
    scaled = jacobians * (weights / variances)[:, np.newaxis, np.newaxis]
    information = np.einsum("nki,nkj->ij", scaled, jacobians)
    gradient = np.einsum("nki,nk->i", scaled, residuals)
    return FittedPose(pose, squares, weights, information), gradient


def _moved(pose: Pose, step: Array) -> Pose:
    turn = rotation_vector_to_quaternion(step[3:])
    return Pose(pose.position + step[:3], qmult(turn, pose.orientation))


def _pose_from_opencv(turn: npt.NDArray[np.floating], shift: npt.NDArray[np.floating]) -> Pose | None:
    """Return the camera-to-world pose of OpenCV's world-to-camera rotation vector and translation."""
    if not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        return None
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    try:
        return Pose.from_matrix(world_to_camera).inverse()
    except ValueError:
        return None
