"""How far a pose from landmarks may be off: by residuals and geometry, scaled to errors on held-out images.

    covariance = growth * s^2 * (J^T W J)^-1 + floor

The geometry says which directions are weak; s^2 is the residuals' size. Hundreds of pixels are not hundreds
of independent observations, and the labels that the map was built from have errors that many landmarks share:
hence a growth and a floor, fitted to the errors on images that the landmarks were not built from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array
from hyperpose_core.landmarks.camera_pose import FittedPose
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.uncertainty.fit import CHI_SQUARE_3, squared_mahalanobis

CALIBRATION_KEY = "pose_covariance"
CONSTANT_KEY = "one_covariance"

# Where nothing was held out: what indoor and outdoor maps have in common.
_USUAL_GROWTH = 4.0
_USUAL_POSITION_FLOOR = 0.005
"""Standard deviation as a share of the viewing distance."""
_USUAL_ROTATION_FLOOR_RAD = 0.003

_FEWEST_IMAGES = 10
_SMALLEST_DEVIATION = 3e-4
# How much of the variance is geometry, the rest being floor; never all of it.
_SHARES = np.linspace(0.0, 0.95, 20)
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class CovarianceModel:
    """Turns a fit's geometry into a covariance.

    Attributes:
        growth: factor on the covariance that independent residuals would give; of position and of rotation.
        position_floor: [3, 3], square metres, world frame.
        rotation_floor: [3, 3], square radians, world frame.
    """

    growth: tuple[float, float]
    position_floor: Array
    rotation_floor: Array

    def of(self, fitted: FittedPose) -> Array:
        """Return the covariance [6, 6] of a fitted pose."""
        return self.from_geometry(geometric_covariance(fitted))

    def from_geometry(self, geometric: Array) -> Array:
        """Return the covariances [..., 6, 6] that geometric ones [..., 6, 6] stand for."""
        factors = np.sqrt(np.repeat(self.growth, 3))
        floor = np.zeros((6, 6))
        floor[:3, :3], floor[3:, 3:] = self.position_floor, self.rotation_floor
        return np.asarray(geometric * np.outer(factors, factors) + floor)

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold."""
        return {
            "growth": [float(value) for value in self.growth],
            "position_floor": self.position_floor.tolist(),
            "rotation_floor": self.rotation_floor.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> CovarianceModel:
        """Build from what `to_dict` gave.

        Raises:
            ValueError: a value has a wrong shape or is impossible.
        """
        growth = np.asarray(data["growth"], dtype=np.float64)
        floors = [np.asarray(data[f"{part}_floor"], dtype=np.float64) for part in ("position", "rotation")]
        if growth.shape != (2,) or not (growth >= 0.0).all() or not np.isfinite(growth).all():
            raise ValueError("growth is not two finite numbers of 0 or more")
        for floor in floors:
            if floor.shape != (3, 3) or not np.isfinite(floor).all() or np.linalg.eigvalsh(floor)[0] <= 0.0:
                raise ValueError("a floor is not a positive definite 3x3 matrix")
        return cls((float(growth[0]), float(growth[1])), *floors)

    @classmethod
    def of_map(cls, content: LandmarkMap, viewing_distance: float) -> CovarianceModel:
        """Return what a map was calibrated to, or the usual one where it was not.

        Args:
            content: the map.
            viewing_distance: how far its cameras look, metres.

        Raises:
            HyperPoseError: the map's calibration is damaged.
        """
        data = (content.calibration or {}).get(CALIBRATION_KEY)
        if data is None:
            return cls(
                (_USUAL_GROWTH, _USUAL_GROWTH),
                np.eye(3) * (_USUAL_POSITION_FLOOR * viewing_distance) ** 2,
                np.eye(3) * _USUAL_ROTATION_FLOOR_RAD**2,
            )
        try:
            return cls.from_dict(data)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise HyperPoseError(f"the map's calibration is damaged: {CALIBRATION_KEY}: {error}") from error


def geometric_covariance(fitted: FittedPose) -> Array:
    """Return the covariance [6, 6] of a fit if its residuals were independent draws of their mean size."""
    squares = fitted.weights * fitted.squares
    excess = max(float(squares.sum() / max(2.0 * fitted.weights.sum() - 6.0, 1.0)), 1.0)
    return np.asarray(excess * np.linalg.pinv(fitted.information, hermitian=True))


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Errors on N images that the landmarks were not built from.

    Attributes:
        residuals: [N, 6], estimated minus true position, metres, and rotation vectors of estimated * true^-1.
        geometric: [N, 6, 6], `geometric_covariance` of each.
        blocks: int64 [N], which block of consecutive images each belongs to.
    """

    residuals: Array
    geometric: Array
    blocks: npt.NDArray[np.int64]

    def rows(self, chosen: npt.NDArray[np.bool_]) -> HeldOutErrors:
        """Keep some of the images."""
        return HeldOutErrors(self.residuals[chosen], self.geometric[chosen], self.blocks[chosen])

    def weights(self) -> Array:
        """Return each image's weight [N], in all 1: blocks count alike, whatever their length."""
        numbers = np.unique(self.blocks, return_inverse=True)[1]
        weights = 1.0 / np.bincount(numbers)[numbers]
        return np.asarray(weights / weights.sum())

    @property
    def is_enough(self) -> bool:
        """Whether a covariance can be told from them."""
        return len(self.blocks) >= _FEWEST_IMAGES and len(np.unique(self.blocks)) >= 2


def fit_covariance(errors: HeldOutErrors) -> CovarianceModel:
    """Fit growth and floor by maximum likelihood, the scale to the 68% and 95% regions of blocks left out.

    Neighbouring images fail together, and a new place may be harder than all that were held out: each block
    is predicted from the others, and the scale is the geometric mean of the factors by which the two regions
    of these predictions hold their shares.

    Args:
        errors: at least ten images in two blocks.
    """
    parts = [_fit_part(errors, slice(3)), _fit_part(errors, slice(3, 6))]
    floors = [np.eye(3) * max(floor, _SMALLEST_DEVIATION**2) for _, floor in parts]
    return CovarianceModel((parts[0][0], parts[1][0]), *floors)


def log_likelihoods(errors: HeldOutErrors) -> tuple[float, float]:
    """Return the mean log-likelihood of an image of a block that was left out of the fit.

    Args:
        errors: at least ten images in two blocks.

    Returns:
        with the fitted covariances, and with one covariance for all, that of the other blocks' errors.
    """
    fitted, constant = np.empty(len(errors.blocks)), np.empty(len(errors.blocks))
    for block in np.unique(errors.blocks):
        new = errors.blocks == block
        others, residuals = errors.rows(~new), errors.residuals[new]
        one = one_covariance(others)
        model = fit_covariance(others) if others.is_enough else None
        own = one if model is None else model.from_geometry(errors.geometric[new])
        fitted[new] = _log_likelihood(residuals, np.broadcast_to(own, (len(residuals), 6, 6)))
        constant[new] = _log_likelihood(residuals, np.broadcast_to(one, (len(residuals), 6, 6)))
    return float(errors.weights() @ fitted), float(errors.weights() @ constant)


def one_covariance(errors: HeldOutErrors) -> Array:
    """Return the covariance [6, 6] of all errors alike."""
    weighted = errors.residuals * errors.weights()[:, np.newaxis]
    return np.asarray(weighted.T @ errors.residuals + np.eye(6) * _SMALLEST_DEVIATION**2)


def known_constant_covariance(content: LandmarkMap) -> Array | None:
    """Return what `one_covariance` found when a map was calibrated, [6, 6]; None where that is not known.

    Raises:
        HyperPoseError: the map's calibration is damaged.
    """
    data = (content.calibration or {}).get(CONSTANT_KEY)
    if data is None:
        return None
    try:
        covariance = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise HyperPoseError(f"the map's calibration is damaged: {CONSTANT_KEY}: {error}") from error
    if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
        raise HyperPoseError(f"the map's calibration is damaged: {CONSTANT_KEY} is no 6x6 matrix")
    return covariance


def _log_likelihood(residuals: Array, covariances: Array) -> Array:
    squares = squared_mahalanobis(residuals, covariances)
    return np.asarray(-0.5 * (squares + np.linalg.slogdet(2.0 * np.pi * covariances)[1]))


def _fit_part(errors: HeldOutErrors, part: slice) -> tuple[float, float]:
    """Return the growth and the floor's variance of position or rotation."""
    predicted = np.empty(len(errors.blocks))
    for block in np.unique(errors.blocks):
        left_out = errors.blocks == block
        growth, floor = _most_likely(errors.rows(~left_out), part)
        new = errors.rows(left_out)
        covariances = growth * new.geometric[:, part, part] + np.eye(3) * floor
        predicted[left_out] = squared_mahalanobis(new.residuals[:, part], covariances)
    factors = [np.quantile(predicted, share) / limit for share, limit in CHI_SQUARE_3.items()]
    scale = max(float(np.sqrt(np.prod(factors))), _TINY)
    growth, floor = _most_likely(errors, part)
    return growth * scale, floor * scale


def _most_likely(errors: HeldOutErrors, part: slice) -> tuple[float, float]:
    """Return the growth and the floor of normal errors, each block counting alike whatever its length."""
    # Along the geometry's own axes all covariances of the family are diagonal.
    variances, axes = np.linalg.eigh(errors.geometric[:, part, part])
    squares = np.square(np.einsum("nij,ni->nj", axes, errors.residuals[:, part]))
    typical = max(float(variances.mean()), _TINY)
    shapes = np.maximum(_SHARES[:, np.newaxis, np.newaxis] * variances / typical, 0.0)
    shapes = shapes + (1.0 - _SHARES)[:, np.newaxis, np.newaxis]
    weights = errors.weights()
    scales = np.maximum((squares / shapes).sum(axis=2) @ weights / 3.0, _TINY)
    costs = 3.0 * np.log(scales) + np.log(shapes).sum(axis=2) @ weights
    best = int(costs.argmin())
    return float(_SHARES[best] * scales[best] / typical), float((1.0 - _SHARES[best]) * scales[best])
