"""Where a network has been: the camera positions it was trained on.

A regressor knows nothing of places it never saw, and says nothing of that: a pose far from every training
position is a guess, however sure it looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array

MOST_POSITIONS = 1000
"""Positions kept of a scene."""


@dataclass(frozen=True, eq=False)
class TrainedRegion:
    """The positions from which training images were taken, thinned out.

    Attributes:
        positions: camera centres, a float64 [M, 3] for each scene in the order of the scene ids, metres, in
            the local world frame. At most `MOST_POSITIONS` a scene, all different.
        spacing: metres, one for each scene: the median distance from a kept position to the nearest other
            one; 0 where only one is kept. No training position lies further from the nearest kept one.
    """

    positions: tuple[Array, ...]
    spacing: tuple[float, ...]

    @classmethod
    def from_positions(cls, positions: npt.ArrayLike, scenes: npt.NDArray[np.int64]) -> TrainedRegion:
        """Keep of each scene the positions that stand for the others.

        Thinned by farthest points (Gonzalez, 1985): whoever is kept next is the farthest from all that are.

        Args:
            positions: camera centres [N, 3], metres, N > 0.
            scenes: scene ids [N] from 0 up.

        Raises:
            ValueError: there are no positions, one is not finite, or a scene id has none.
        """
        points = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
        if not len(points) or not np.isfinite(points).all():
            raise ValueError("a trained region needs positions, all of them finite")
        kept = tuple(_farthest_points(points[scenes == scene]) for scene in range(int(scenes.max()) + 1))
        return cls(kept, tuple(_median_spacing(scene) for scene in kept))

    def distance(self, position: npt.ArrayLike, scene: int | None = None) -> float:
        """Return the distance in metres from a position [3] to the nearest kept one.

        Args:
            position: a camera centre in the local world frame.
            scene: the scene it is said to be in; None looks in all of them.
        """
        candidates = self.positions if scene is None else (self.positions[scene],)
        point = np.asarray(position, dtype=np.float64)
        return min(float(np.linalg.norm(kept - point, axis=1).min()) for kept in candidates)

    def typical_spacing(self, scene: int | None = None) -> float:
        """Return the spacing of a scene in metres; of the widest spaced one where the scene is None."""
        return max(self.spacing) if scene is None else self.spacing[scene]

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold, float64 kept exactly."""
        return {"positions": [kept.tolist() for kept in self.positions], "spacing": list(self.spacing)}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> TrainedRegion:
        """Build from what `to_dict` gave.

        Raises:
            ValueError: a scene has no position or one that is not three finite numbers, or scenes and
                spacings are not of one number.
        """
        document: dict = dict(data)
        positions = tuple(np.asarray(kept, dtype=np.float64) for kept in document["positions"])
        spacing = tuple(float(value) for value in document["spacing"])
        if not positions or len(positions) != len(spacing):
            raise ValueError("the trained region has not one spacing for each scene")
        for kept in positions:
            if kept.ndim != 2 or kept.shape[1:] != (3,) or not len(kept) or not np.isfinite(kept).all():
                raise ValueError("a scene of the trained region has no positions of three finite numbers")
        return cls(positions, spacing)


def _farthest_points(points: Array) -> Array:
    """Return at most `MOST_POSITIONS` of the points [N, 3], in the order in which they were chosen."""
    if not len(points):
        raise ValueError("a scene of the trained region has no positions")
    chosen = [0]
    distances = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < MOST_POSITIONS and distances.max() > 0:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]


def _median_spacing(points: Array) -> float:
    if len(points) == 1:
        return 0.0
    nearest = []
    for index, point in enumerate(points):
        distances = np.linalg.norm(points - point, axis=1)
        distances[index] = np.inf
        nearest.append(distances.min())
    return float(np.median(nearest))
