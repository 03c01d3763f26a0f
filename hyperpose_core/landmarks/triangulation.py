"""Points of the world from tracks, the cameras' poses held fixed; all tracks at once.

Hypotheses from two rays each are scored by the truncated squared reprojection error over the track (MSAC:
Torr and Zisserman, MLESAC, CVIU 2000); the best one is refined to its inliers by Gauss-Newton.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array

_HYPOTHESES = 8
_ROUNDS = 3
_LEAST_RAY_ANGLE = 0.01  # radians, between the two rays of a hypothesis
_LEAST_DEPTH_M = 1e-3
_LEAST_CONDITION = 1e-10
_PRIOR_FREEDOM = 4.0  # how many residuals the error common to all tracks counts as


@dataclass(frozen=True, eq=False)
class TrackObservations:
    """What the cameras saw of T tracks, sorted by track.

    Attributes:
        starts: int64 [T], where each track's observations begin.
        centres: float64 [O, 3], the cameras' positions, metres.
        rotations: float64 [O, 3, 3], camera-to-world.
        points: float64 [O, 2], on the image plane at depth 1, without distortion.
        focal_lengths: float64 [O], pixels.
    """

    starts: npt.NDArray[np.int64]
    centres: Array
    rotations: Array
    points: Array
    focal_lengths: Array

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Each track's number of observations [T]."""
        return np.diff(self.starts, append=len(self.centres))

    @property
    def tracks(self) -> npt.NDArray[np.int64]:
        """Each observation's track [O]."""
        return np.repeat(np.arange(len(self.starts)), self.lengths)

    def directions(self) -> Array:
        """Return the rays' unit vectors in the world [O, 3]."""
        rays = np.column_stack([self.points, np.ones(len(self.points))])
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return np.einsum("oij,oj->oi", self.rotations, rays)


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Points of T tracks.

    Attributes:
        positions: float64 [T, 3], metres; of no meaning where `used` holds fewer than two of the track.
        covariances: float64 [T, 3, 3], square metres.
        used: bool [O], which observations agree with their track's point.
        errors_px: float64 [O], reprojection errors, pixels.
    """

    positions: Array
    covariances: Array
    used: npt.NDArray[np.bool_]
    errors_px: Array


def triangulate(observed: TrackObservations, threshold_px: float) -> Triangulation:
    """Find each track's point and the observations that agree with it to `threshold_px` pixels."""
    positions = _best_hypotheses(observed, threshold_px)
    for _ in range(_ROUNDS):
        residuals, jacobians, depths = _linearise(observed, positions)
        used = (np.linalg.norm(residuals, axis=1) <= threshold_px) & (depths > _LEAST_DEPTH_M)
        information, gradient = _normal_equations(observed.starts, residuals, jacobians, used)
        positions = positions - np.linalg.solve(information, gradient[..., np.newaxis])[..., 0]
    residuals, jacobians, depths = _linearise(observed, positions)
    errors = np.linalg.norm(residuals, axis=1)
    used = (errors <= threshold_px) & (depths > _LEAST_DEPTH_M)
    information, _ = _normal_equations(observed.starts, residuals, jacobians, used)
    variances = _variances(observed.starts, errors, used)
    return Triangulation(positions, np.linalg.inv(information) * variances[:, None, None], used, errors)


def _best_hypotheses(observed: TrackObservations, threshold_px: float) -> Array:
    directions, lengths = observed.directions(), observed.lengths
    best = observed.centres[observed.starts] + directions[observed.starts]
    least = np.full(len(lengths), np.inf)
    for index in range(_HYPOTHESES):
        # Views far from each other in their order, whose baselines tend to be long.
        first = (index * lengths) // _HYPOTHESES
        second = (first + np.maximum(lengths // 2, 1)) % lengths
        points, is_sound = _midpoints(observed, directions, observed.starts + first, observed.starts + second)
        residuals, depths = _residuals(observed, points)
        squares = np.where(depths > _LEAST_DEPTH_M, np.sum(residuals**2, axis=1), np.inf)
        costs = np.add.reduceat(np.minimum(squares, threshold_px**2), observed.starts)
        is_better = is_sound & (costs < least)
        best[is_better], least[is_better] = points[is_better], costs[is_better]
    return best


def _midpoints(
    observed: TrackObservations,
    directions: Array,
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return the points nearest to two rays each, and whether these are far enough from parallel."""
    a, b = directions[first], directions[second]
    between = observed.centres[second] - observed.centres[first]
    cosine = np.sum(a * b, axis=1)
    sine_squared = np.maximum(1.0 - cosine**2, 1e-12)
    along_a, along_b = np.sum(a * between, axis=1), np.sum(b * between, axis=1)
    depth_a = (along_a - cosine * along_b) / sine_squared
    depth_b = (cosine * along_a - along_b) / sine_squared
    points = 0.5 * (
        observed.centres[first] + depth_a[:, None] * a + observed.centres[second] + depth_b[:, None] * b
    )
    return points, (sine_squared > _LEAST_RAY_ANGLE**2) & (depth_a > 0) & (depth_b > 0)


def _residuals(observed: TrackObservations, positions: Array) -> tuple[Array, Array]:
    """Return reprojection residuals [O, 2], pixels, and depths [O], metres."""
    levers = np.repeat(positions, observed.lengths, axis=0) - observed.centres
    seen = np.einsum("oji,oj->oi", observed.rotations, levers)
    depths = seen[:, 2]
    safe = np.where(depths > _LEAST_DEPTH_M, depths, 1.0)
    return (seen[:, :2] / safe[:, None] - observed.points) * observed.focal_lengths[:, None], depths


def _linearise(observed: TrackObservations, positions: Array) -> tuple[Array, Array, Array]:
    """Return residuals [O, 2], their derivatives by the position [O, 2, 3], and depths [O]."""
    residuals, depths = _residuals(observed, positions)
    safe = np.where(depths > _LEAST_DEPTH_M, depths, 1.0)
    projected = residuals / observed.focal_lengths[:, None] + observed.points
    rows = observed.rotations.transpose(0, 2, 1)
    jacobians = rows[:, :2] - projected[..., None] * rows[:, 2:]
    return residuals, jacobians * (observed.focal_lengths / safe)[:, None, None], depths


def _normal_equations(
    starts: npt.NDArray[np.int64], residuals: Array, jacobians: Array, used: npt.NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Return each track's information matrix [T, 3, 3] and gradient [T, 3], per square pixel."""
    weighted = jacobians * used[:, None, None]
    information = np.add.reduceat(np.einsum("oki,okj->oij", weighted, jacobians), starts)
    gradient = np.add.reduceat(np.einsum("oki,ok->oi", weighted, residuals), starts)
    # What the rays leave open, such as the depth along a single one, stays where it is.
    damping = 1e-6 + _LEAST_CONDITION * np.trace(information, axis1=1, axis2=2)
    return information + damping[:, None, None] * np.eye(3), gradient


def _variances(starts: npt.NDArray[np.int64], errors: Array, used: npt.NDArray[np.bool_]) -> Array:
    """Return each track's variance of a residual's component, square pixels: its own, held to everyone's."""
    squares = np.add.reduceat(np.where(used, errors**2, 0.0), starts)
    freedom = np.maximum(2.0 * np.add.reduceat(used.astype(np.float64), starts) - 3.0, 0.0)
    common = squares.sum() / max(freedom.sum(), 1.0)
    return (squares + _PRIOR_FREEDOM * common) / (freedom + _PRIOR_FREEDOM)
