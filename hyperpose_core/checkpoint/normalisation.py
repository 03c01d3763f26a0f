"""Positions in the network's units and back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array


@dataclass(frozen=True, eq=False)
class PositionNormalisation:
    """The statistics taken out of the training positions: network output = (position - mean) / scale.

    Attributes:
        mean: float64 [S, 3], metres, a row a scene for multi-scene networks, whose scenes may lie far apart;
            else one row.
        scale: metres; one number, so that errors weigh the same along every axis and in every scene.
    """

    mean: Array = field(default_factory=lambda: np.zeros((1, 3)))
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check that positions stay finite.

        Raises:
            ValueError: a mean is not, or the scale is not above 0.
        """
        if not (np.isfinite(self.mean).all() and 0 < self.scale < np.inf):
            raise ValueError(f"positions are normalised by means {self.mean.tolist()} and scale {self.scale}")

    @classmethod
    def from_positions(cls, positions: Array, scenes: npt.NDArray[np.int64]) -> PositionNormalisation:
        """Take each scene's mean and the root-mean-square deviation an axis.

        Args:
            positions: camera centres [N, 3], metres.
            scenes: scene ids [N] from 0 up; all zeros for a single-scene network.
        """
        mean = np.array([positions[scenes == scene].mean(axis=0) for scene in range(int(scenes.max()) + 1)])
        scale = float(np.sqrt(np.mean(np.square(positions - mean[scenes]))))
        return cls(mean, max(scale, 1e-3))

    def normalize(self, positions: Array, scenes: npt.NDArray[np.int64]) -> Array:
        """Take positions [N, 3] in metres, of scenes [N], to the network's units."""
        return (positions - self._means(scenes)) / self.scale

    def denormalize(self, outputs: Array, scenes: npt.NDArray[np.int64]) -> Array:
        """Take network outputs [N, 3] for scenes [N] to metres."""
        return outputs * self.scale + self._means(scenes)

    def _means(self, scenes: npt.NDArray[np.int64]) -> Array:
        return self.mean[scenes] if len(self.mean) > 1 else self.mean
