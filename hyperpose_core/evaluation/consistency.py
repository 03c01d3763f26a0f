"""How well covariances describe the errors that were made: coverage of regions and NEES."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.uncertainty import pose_residuals


@dataclass(frozen=True)
class RegionScores:
    """Consistency of one part of the pose, position or rotation, with its 3x3 covariance.

    Attributes:
        coverage_68: share of all frames whose true value is inside the 68% region of its estimate.
        coverage_95: the same for the 95% region.
        nees_mean: mean normalised estimation error squared, e^T C^-1 e; 3 for a consistent Gaussian estimate.
        nees_median: its median; 2.37 for a consistent Gaussian estimate.
    """

    coverage_68: float
    coverage_95: float
    nees_mean: float
    nees_median: float


@dataclass(frozen=True)
class ConsistencyScores:
    """Consistency of all estimates with their covariances.

    Attributes:
        frames: number of frames; all count.
        failed: frames without an estimate or without a positive definite covariance. They lie in no region
            and their NEES is infinite.
        position: the position part.
        rotation: the rotation part.
        pose_nees_mean: mean NEES of position and rotation together; 6 for a consistent Gaussian estimate.
    """

    frames: int
    failed: int
    position: RegionScores
    rotation: RegionScores
    pose_nees_mean: float


def score_consistency(comparison: Comparison) -> ConsistencyScores | None:
    """Score the covariances of a comparison; None where it has none."""
    if comparison.covariances is None:
        return None
    usable = np.flatnonzero(comparison.answered & _positive_definite(comparison.covariances))
    residuals = np.hstack(
        pose_residuals(
            comparison.estimated_positions[usable],
            comparison.estimated_orientations[usable],
            comparison.true_positions[usable],
            comparison.true_orientations[usable],
        )
    )
    position, rotation, pose = (
        _nees(residuals, comparison.covariances, usable, part)
        for part in (slice(0, 3), slice(3, 6), slice(0, 6))
    )
    return ConsistencyScores(
        frames=len(comparison),
        failed=len(comparison) - len(usable),
        position=_region_scores(position),
        rotation=_region_scores(rotation),
        pose_nees_mean=float(pose.mean()),
    )


def chi_square_3_cdf(value: float) -> float:
    """Probability that a chi-square variable of three degrees of freedom is at most `value`."""
    if value <= 0.0:
        return 0.0
    return erf(sqrt(value / 2.0)) - sqrt(2.0 * value / pi) * exp(-value / 2.0)


def _positive_definite(covariances: NDArray[np.float64]) -> NDArray[np.bool_]:
    finite = np.asarray(np.isfinite(covariances).all(axis=(1, 2)))
    candidates = np.where(finite[:, np.newaxis, np.newaxis], covariances, 0.0)
    eigenvalues = np.linalg.eigvalsh((candidates + candidates.transpose(0, 2, 1)) / 2.0)
    return finite & (eigenvalues[:, 0] > 0.0)


def _nees(
    residuals: NDArray[np.float64], covariances: NDArray[np.float64], usable: NDArray[np.intp], part: slice
) -> NDArray[np.float64]:
    nees = np.full(len(covariances), np.inf)
    errors = residuals[:, part]
    solved = np.linalg.solve(covariances[usable][:, part, part], errors[..., None])[..., 0]
    nees[usable] = np.sum(errors * solved, axis=1)
    return nees


def _region_scores(nees: NDArray[np.float64]) -> RegionScores:
    probability = np.array([1.0 if np.isinf(value) else chi_square_3_cdf(value) for value in nees])
    return RegionScores(
        coverage_68=float(np.mean(probability <= 0.68)),
        coverage_95=float(np.mean(probability <= 0.95)),
        nees_mean=float(nees.mean()),
        nees_median=float(np.median(nees)),
    )
