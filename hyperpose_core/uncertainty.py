"""How far a pose may be off: covariances from residuals on frames that were held out of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hyperpose_core.geometry import Array, quaternion_to_rotation_vector, relative_quaternion

_POSITION_FLOOR_M = 1e-3
_ROTATION_FLOOR_RAD = 1e-3
_FEWEST_RESIDUALS = 10
# Where nothing is known: a position somewhere in a street block, an orientation that may be anything.
_UNKNOWN_POSITION_STD_M = 100.0
_UNKNOWN_ROTATION_STD_RAD = np.pi


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """A constant pose covariance.

    Attributes:
        covariance: float64 [6, 6], order x, y, z, rot x, rot y, rot z, metres and radians, in the world
            frame, the rotation a left perturbation; block-diagonal, never zero.
        source: where it comes from, for people.
    """

    covariance: Array
    source: str

    @classmethod
    def unknown(cls) -> Uncertainty:
        """Return the covariance of a network whose errors nobody has measured: large on purpose."""
        deviations = [_UNKNOWN_POSITION_STD_M] * 3 + [_UNKNOWN_ROTATION_STD_RAD] * 3
        return cls(np.diag(np.square(deviations)), "not measured")

    @classmethod
    def from_residuals(cls, position_residuals: Array, rotation_residuals: Array, source: str) -> Uncertainty:
        """Take the second moments of held-out residuals as covariance, position and rotation apart.

        The moments are about zero, not about the mean: a bias is an error too.

        Args:
            position_residuals: estimated minus true, [N, 3], metres.
            rotation_residuals: rotation vectors of estimated * true^-1, [N, 3], radians.
            source: where the residuals come from, for people.

        Returns:
            the covariance, or `unknown()` where fewer than ten residuals are given.
        """
        count = len(position_residuals)
        if count < _FEWEST_RESIDUALS:
            return cls.unknown()
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = (
            position_residuals.T @ position_residuals / count + np.eye(3) * _POSITION_FLOOR_M**2
        )
        covariance[3:, 3:] = (
            rotation_residuals.T @ rotation_residuals / count + np.eye(3) * _ROTATION_FLOOR_RAD**2
        )
        return cls(covariance, source)

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold."""
        return {"covariance": self.covariance.tolist(), "source": self.source}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Uncertainty:
        """Build from what `to_dict` gave.

        Raises:
            ValueError: the covariance is not 6x6, not finite or has a variance that is not positive.
        """
        covariance = np.asarray(data["covariance"], dtype=np.float64)
        if (
            covariance.shape != (6, 6)
            or not np.isfinite(covariance).all()
            or (np.diag(covariance) <= 0).any()
        ):
            raise ValueError("the covariance is not a finite 6x6 matrix with positive variances")
        return cls(covariance, str(data["source"]))


def pose_residuals(
    estimated_positions: Array,
    estimated_orientations: Array,
    true_positions: Array,
    true_orientations: Array,
) -> tuple[Array, Array]:
    """Return residuals of position [N, 3] in metres and of rotation [N, 3] in radians, in the world frame."""
    rotations = quaternion_to_rotation_vector(relative_quaternion(true_orientations, estimated_orientations))
    return np.asarray(estimated_positions) - np.asarray(true_positions), rotations
