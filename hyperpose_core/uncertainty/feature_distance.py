"""How near an image is to what a network was trained on: distances to a memory of training images.

A regressor errs most where it has to extrapolate. Two distances tell, both from the one pass that gives the
pose: from the image's features to the nearest training image's, and from the estimated pose to the nearest
training pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array

MOST_IMAGES = 512
"""Training images remembered of a scene."""

_LARGEST = float(np.finfo(np.float16).max)


class Predictions(NamedTuple):
    """A network's predictions for N images.

    Attributes:
        features: [N, F] summaries of the images, `PoseOutput.features`.
        positions: camera centres [N, 3], metres, world frame.
        orientations: camera-to-world unit quaternions [N, 4].
        scenes: [N] indices of the chosen scenes; zeros for a single-scene network.
    """

    features: npt.NDArray[np.float32]
    positions: Array
    orientations: Array
    scenes: npt.NDArray[np.int64]

    def rows(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Predictions:
        """Return some of them, by index [K] or by mask [N]."""
        return Predictions(
            self.features[chosen], self.positions[chosen], self.orientations[chosen], self.scenes[chosen]
        )


class Distances(NamedTuple):
    """Out-of-distribution distances of N predictions; infinite in a scene without training images.

    Attributes:
        feature: [N], in the units of the features.
        position: [N], metres.
        rotation: [N], radians.
    """

    feature: Array
    position: Array
    rotation: Array


@dataclass(frozen=True, eq=False)
class TrainingMemory:
    """Some training images as the trained network sees them.

    Attributes:
        features: float32 [M, F], exact in float16, as which they are stored.
        positions: true camera centres [M, 3], metres, world frame.
        orientations: true camera-to-world unit quaternions [M, 4].
        scenes: scene indices [M].
    """

    features: npt.NDArray[np.float32]
    positions: Array
    orientations: Array
    scenes: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Round the features to what is stored.

        Raises:
            ValueError: the arrays do not belong together, or a value is not finite.
        """
        object.__setattr__(
            self, "features", self.features.clip(-_LARGEST, _LARGEST).astype(np.float16).astype(np.float32)
        )
        count = len(self.features)
        shapes = self.positions.shape, self.orientations.shape, self.scenes.shape
        if self.features.ndim != 2 or shapes != ((count, 3), (count, 4), (count,)):
            raise ValueError("the training memory's arrays do not belong together")
        if not all(np.isfinite(values).all() for values in (self.features, *self.arrays().values())):
            raise ValueError("the training memory holds a value that is not finite")

    @staticmethod
    def choose(scenes: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Return which of N training images to remember: at most `MOST_IMAGES` a scene, evenly spread.

        Args:
            scenes: scene indices [N], in the order of the recording.
        """
        chosen = []
        for scene in np.unique(scenes):
            rows = np.flatnonzero(scenes == scene)
            places = np.linspace(0, len(rows) - 1, min(len(rows), MOST_IMAGES)).round().astype(int)
            chosen.append(rows[places])
        return np.concatenate(chosen)

    def distances(self, predictions: Predictions) -> Distances:
        """Measure predictions against the training images of the scenes that they chose."""
        result = Distances(*(np.full(len(predictions.positions), np.inf) for _ in Distances._fields))
        for scene in np.unique(predictions.scenes):
            known = self.scenes == scene
            if not known.any():
                continue
            for row in np.flatnonzero(predictions.scenes == scene):
                result.feature[row] = _nearest(self.features[known], predictions.features[row])
                result.position[row] = _nearest(self.positions[known], predictions.positions[row])
                cosines = np.abs(self.orientations[known] @ predictions.orientations[row])
                result.rotation[row] = 2.0 * np.arccos(min(float(cosines.max()), 1.0))
        return result

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a file has to hold, by name."""
        return {
            "features": self.features.astype(np.float16),
            "positions": self.positions,
            "orientations": self.orientations,
            "scenes": self.scenes,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TrainingMemory:
        """Build from what `arrays` gave.

        Raises:
            KeyError: one is missing.
            ValueError: they do not belong together.
        """
        return cls(
            arrays["features"].astype(np.float32),
            arrays["positions"].astype(np.float64),
            arrays["orientations"].astype(np.float64),
            arrays["scenes"].astype(np.int64),
        )


def _nearest(points: np.ndarray, point: np.ndarray) -> float:
    return float(np.sqrt(np.square(points - point).sum(axis=1, dtype=np.float64).min()))
