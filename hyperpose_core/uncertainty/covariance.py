"""How far a pose may be off: the covariance of each estimate, measured on frames held out of training.

Position and rotation have a covariance each. It grows with two distances squared (`feature_distance.py`):

    covariance = base (1 + feature_growth f^2 + pose_growth p^2)

where f is the distance of the image's features from the nearest training image's and p that of the estimated
position (metres) or orientation (radians) from the nearest training pose. `fit.py` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array, quaternion_to_rotation_vector, relative_quaternion
from hyperpose_core.uncertainty.feature_distance import Predictions, TrainingMemory

NOT_MEASURED = "not measured"
"""Where the covariance of a network comes from that nobody has held against frames it was not trained on."""

_POSITION_FLOOR_M = 1e-3
_ROTATION_FLOOR_RAD = 1e-3
_FEWEST_RESIDUALS = 10
# Where nothing is known: a position somewhere in a street block, an orientation that may be anything.
_UNKNOWN_POSITION_STD_M = 100.0
_UNKNOWN_ROTATION_STD_RAD = np.pi
# Several cameras fused, each of an unknown covariance, still know nothing: four halve the deviations.
_STILL_UNKNOWN = 0.49


@dataclass(frozen=True, eq=False)
class GrowingCovariance:
    """Covariance of one part of the pose, position or rotation, that grows with the distance from training.

    Attributes:
        base: float64 [3, 3], metres or radians, world frame: the covariance at no distance.
        feature_growth: per squared distance of the features.
        pose_growth: per squared metre or radian from the nearest training pose.
        farthest: the largest feature distance on which errors were measured. Beyond, the distance counts
            with its cube instead of itself, f (f / farthest)^2: an image unlike all that was measured must
            not be trusted on the strength of it.
    """

    base: Array
    feature_growth: float
    pose_growth: float
    farthest: float

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: the base is not positive definite or a growth is negative.
        """
        if self.base.shape != (3, 3) or not np.isfinite(self.base).all():
            raise ValueError("a base covariance is not a finite 3x3 matrix")
        if np.linalg.eigvalsh(self.base)[0] <= 0.0:
            raise ValueError("a base covariance is not positive definite")
        growths = (self.feature_growth, self.pose_growth, self.farthest)
        if not np.isfinite(growths).all() or min(growths) < 0.0 or self.farthest == 0.0:
            raise ValueError("a covariance's growth is not a finite number of 0 or more")

    def at(self, feature_distances: Array, pose_distances: Array) -> Array:
        """Return the covariances [N, 3, 3] at distances [N]."""
        beyond = np.maximum(feature_distances / self.farthest, 1.0)
        growth = (
            1.0
            + self.feature_growth * np.square(feature_distances * beyond**2)
            + self.pose_growth * np.square(pose_distances)
        )
        return growth[:, np.newaxis, np.newaxis] * self.base


@dataclass(frozen=True, eq=False)
class PerImageCovariance:
    """A covariance for each image.

    Attributes:
        memory: the training images to measure an image against.
        positions: a covariance for each scene, in the order of the scene indices.
        rotations: the same for orientations.
    """

    memory: TrainingMemory
    positions: tuple[GrowingCovariance, ...]
    rotations: tuple[GrowingCovariance, ...]

    def covariances(self, predictions: Predictions) -> Array:
        """Return block-diagonal covariances [N, 6, 6]; not finite where nothing is known of a scene."""
        distances = self.memory.distances(predictions)
        covariances = np.zeros((len(predictions.scenes), 6, 6))
        for scene in np.unique(predictions.scenes):
            rows = np.flatnonzero(predictions.scenes == scene)
            feature = distances.feature[rows]
            covariances[rows, :3, :3] = self.positions[scene].at(feature, distances.position[rows])
            covariances[rows, 3:, 3:] = self.rotations[scene].at(feature, distances.rotation[rows])
        largest = np.diagonal(covariances, axis1=1, axis2=2)[:, 3:].max(axis=1)
        # No orientation is farther off than half a turn.
        covariances[:, 3:, 3:] *= np.minimum(1.0, np.pi**2 / largest)[:, np.newaxis, np.newaxis]
        return covariances


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What is known of a network's errors.

    Attributes:
        covariance: float64 [6, 6], order x, y, z, rot x, rot y, rot z, metres and radians, in the world
            frame, the rotation a left perturbation; block-diagonal, never zero. The same for all images.
        source: where it comes from, for people.
        per_image: what tells images apart; None where too little was held out to know.
    """

    covariance: Array
    source: str
    per_image: PerImageCovariance | None = None

    @classmethod
    def unknown(cls) -> Uncertainty:
        """Return the covariance of a network whose errors nobody has measured: large on purpose."""
        deviations = [_UNKNOWN_POSITION_STD_M] * 3 + [_UNKNOWN_ROTATION_STD_RAD] * 3
        return cls(np.diag(np.square(deviations)), NOT_MEASURED)

    @property
    def is_measured(self) -> bool:
        """Whether it comes from errors that were made; otherwise it is that of `unknown()`."""
        return self.source != NOT_MEASURED

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

    def covariances(self, predictions: Predictions) -> Array:
        """Return a covariance [N, 6, 6] for each answer; always finite and positive definite.

        An answer that holds a value that is not finite, or of a scene that held-out frames said nothing of,
        gets that of `unknown()`.
        """
        covariances = np.repeat(self.covariance[np.newaxis], len(predictions.scenes), axis=0)
        usable = np.all(
            [
                np.isfinite(values).all(axis=1)
                for values in (predictions.features, predictions.positions, predictions.orientations)
            ],
            axis=0,
        )
        if self.per_image is not None:
            with np.errstate(invalid="ignore"):  # infinite distances
                covariances[usable] = self.per_image.covariances(predictions.rows(usable))
        covariances[~(usable & np.isfinite(covariances).all(axis=(1, 2)))] = Uncertainty.unknown().covariance
        return covariances

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold: all but the training memory, which `arrays` gives."""
        data: dict[str, object] = {"covariance": self.covariance.tolist(), "source": self.source}
        if self.per_image is not None:
            for name in ("positions", "rotations"):
                parts = getattr(self.per_image, name)
                data[name] = [{**vars(part), "base": part.base.tolist()} for part in parts]
        return data

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the training memory's arrays by name; none without one."""
        return {} if self.per_image is None else self.per_image.memory.arrays()

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> Uncertainty:
        """Build from what `to_dict` and `arrays` gave.

        Raises:
            KeyError: something is missing.
            ValueError: the covariance is not 6x6, not finite or has a variance that is not positive, or what
                tells images apart is damaged.
        """
        covariance = np.asarray(data["covariance"], dtype=np.float64)
        if (
            covariance.shape != (6, 6)
            or not np.isfinite(covariance).all()
            or (np.diag(covariance) <= 0).any()
        ):
            raise ValueError("the covariance is not a finite 6x6 matrix with positive variances")
        constant = cls(covariance, str(data["source"]))
        if "positions" not in data:  # older files, and where too little was held out
            return constant
        positions, rotations = (
            tuple(
                GrowingCovariance(**{**part, "base": np.asarray(part["base"], dtype=np.float64)})
                for part in data[name]
            )
            for name in ("positions", "rotations")
        )
        memory = TrainingMemory.from_arrays(arrays or {})
        if len(positions) != len(rotations) or int(memory.scenes.max()) >= len(positions):
            raise ValueError("the scenes of the covariances and of the training memory differ")
        return replace(constant, per_image=PerImageCovariance(memory, positions, rotations))


def are_unknown(covariances: Array) -> npt.NDArray[np.bool_]:
    """Tell which covariances [N, 6, 6] say no more than `Uncertainty.unknown()` does.

    Known by their size alone, since messages carry nothing else: in another frame, on the robot's body and
    fused from up to four cameras, too. What is not finite says nothing of its own.
    """
    finite = np.asarray(np.isfinite(covariances).all(axis=(1, 2)))
    filled = np.where(finite[:, np.newaxis, np.newaxis], covariances, 0.0)
    position = np.linalg.eigvalsh(filled[:, :3, :3])[:, 0]
    rotation = np.linalg.eigvalsh(filled[:, 3:, 3:])[:, 0]
    return np.asarray(
        (position > (_STILL_UNKNOWN * _UNKNOWN_POSITION_STD_M) ** 2)
        & (rotation > (_STILL_UNKNOWN * _UNKNOWN_ROTATION_STD_RAD) ** 2)
    )


def pose_residuals(
    estimated_positions: Array,
    estimated_orientations: Array,
    true_positions: Array,
    true_orientations: Array,
) -> tuple[Array, Array]:
    """Return residuals of position [N, 3] in metres and of rotation [N, 3] in radians, in the world frame."""
    rotations = quaternion_to_rotation_vector(relative_quaternion(true_orientations, estimated_orientations))
    return np.asarray(estimated_positions) - np.asarray(true_positions), rotations
