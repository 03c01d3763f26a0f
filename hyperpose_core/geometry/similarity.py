"""Similarity transforms: a rotation, a translation and one scale, between worlds of different units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array, Pose, matrix_to_quaternion


@dataclass(frozen=True, eq=False)
class Similarity:
    """Takes one world to another: x -> rotation (scale x) + translation.

    Attributes:
        scale: how many units of the second world one of the first is long.
        pose: rotation and translation, in the second world's unit.
    """

    scale: float
    pose: Pose

    @classmethod
    def identity(cls) -> Similarity:
        """Return the transform that leaves everything as it is."""
        return cls(1.0, Pose.identity())

    def transform(self, points: npt.ArrayLike) -> Array:
        """Take points [..., 3] to the second world."""
        return self.pose.transform(self.scale * np.asarray(points, dtype=np.float64))

    def transform_pose(self, pose: Pose) -> Pose:
        """Take a pose in the first world to the second."""
        return self.pose @ Pose(self.scale * pose.position, pose.orientation)


def fit_similarity(points: Array, targets: Array) -> Similarity:
    """Return the similarity of least squared distances from points [N, 3] to targets [N, 3].

    Umeyama, Least-squares estimation of transformation parameters between two point patterns (PAMI 1991).
    Points on a line leave the rotation about it open: it is then the smallest one.

    Raises:
        ValueError: there are fewer than two different points.
    """
    middle, target_middle = points.mean(axis=0), targets.mean(axis=0)
    spread = float(np.sum((points - middle) ** 2))
    if not spread > 0.0:
        raise ValueError("a similarity is fitted to two different points at least")
    left, values, right = np.linalg.svd((targets - target_middle).T @ (points - middle))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = (left * signs) @ right
    scale = float(values @ signs) / spread
    return Similarity(scale, Pose(target_middle - scale * rotation @ middle, matrix_to_quaternion(rotation)))
