"""How well covariances describe the errors that were made: regions, NEES, likelihood and rank correlation."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.statistics import (
    Bootstrap,
    Interval,
    block_length,
    compare_paired,
    confidence_interval,
)
from hyperpose_core.uncertainty.covariance import are_unknown, pose_residuals

PARTS = {"position": slice(0, 3), "rotation": slice(3, 6)}
"""Rows and columns of a covariance that belong to the parts of a pose."""


@dataclass(frozen=True)
class RegionScores:
    """Consistency of one part of the pose, position or rotation, with its 3x3 covariance.

    Attributes:
        coverage_68: share of all frames whose true value is inside the 68% region of its estimate.
        coverage_95: the same for the 95% region.
        coverage_68_interval: with its confidence interval, from draws of blocks of frames.
        coverage_95_interval: the same for the 95% region.
        nees_mean: mean normalised estimation error squared, e^T C^-1 e; 3 for a consistent Gaussian estimate.
        nees_median: its median; 2.37 for a consistent Gaussian estimate.
        negative_log_likelihood: mean of -ln N(e; 0, C), with e in metres or radians: smaller is better, and
            both too large and too small covariances cost.
        rank_correlation: Spearman's, of the length of the error with the predicted deviation, the square root
            of C's trace: 1 where worse frames always say so, 0 where the covariance tells nothing. None where
            it is the same for all frames.
    """

    coverage_68: float
    coverage_95: float
    coverage_68_interval: Interval
    coverage_95_interval: Interval
    nees_mean: float
    nees_median: float
    negative_log_likelihood: float
    rank_correlation: float | None


@dataclass(frozen=True)
class ConstantScores:
    """The same frames with one covariance for all, from the same calibration data.

    Attributes:
        position: the position part.
        rotation: the rotation part.
        position_gain: by how much a frame's negative log-likelihood is smaller with its own covariance, with
            the interval of this mean; positive where telling images apart pays.
        rotation_gain: the same for rotation.
    """

    position: RegionScores
    rotation: RegionScores
    position_gain: Interval
    rotation_gain: Interval


@dataclass(frozen=True)
class ConsistencyScores:
    """Consistency of all estimates with their covariances.

    Attributes:
        frames: number of frames; all count.
        failed: frames without an estimate or without a positive definite covariance. They lie in no region,
            and their NEES and negative log-likelihood are infinite.
        not_measured: frames whose covariance stands for one that nobody has measured. They lie in every
            region.
        position: the position part.
        rotation: the rotation part.
        pose_nees_mean: mean NEES of position and rotation together; 6 for a consistent Gaussian estimate.
        constant: what a constant covariance would score; None where none is known.
    """

    frames: int
    failed: int
    not_measured: int
    position: RegionScores
    rotation: RegionScores
    pose_nees_mean: float
    constant: ConstantScores | None


@dataclass(frozen=True, eq=False)
class FrameConsistency:
    """Consistency of each frame, in one part of the pose; infinite where it failed.

    Attributes:
        errors: [N] length of the error, metres or radians.
        deviations: [N] square root of the covariance's trace, metres or radians.
        nees: [N].
        negative_log_likelihoods: [N].
    """

    errors: NDArray[np.float64]
    deviations: NDArray[np.float64]
    nees: NDArray[np.float64]
    negative_log_likelihoods: NDArray[np.float64]


def score_consistency(comparison: Comparison) -> ConsistencyScores | None:
    """Score the covariances of a comparison; None where it has none, or none that was measured."""
    if comparison.covariances is None or lacks_measured_covariances(comparison):
        return None
    frames = {name: frame_consistency(comparison, part) for name, part in PARTS.items()}
    pose = frame_consistency(comparison, slice(0, 6))
    return ConsistencyScores(
        frames=len(comparison),
        failed=int(np.isinf(pose.nees).sum()),
        not_measured=int(are_unknown(comparison.covariances).sum()),
        position=_region_scores(frames["position"]),
        rotation=_region_scores(frames["rotation"]),
        pose_nees_mean=float(pose.nees.mean()),
        constant=_constant_scores(comparison, frames),
    )


def lacks_measured_covariances(comparison: Comparison) -> bool:
    """Tell whether there are covariances, and all of them stand for one that nobody has measured.

    All errors lie in every region of such a covariance, and its NEES is 0: figures that would say nothing.
    """
    if comparison.covariances is None:
        return False
    finite = np.isfinite(comparison.covariances).all(axis=(1, 2))
    return bool(finite.any() and are_unknown(comparison.covariances[finite]).all())


def frame_consistency(comparison: Comparison, part: slice, constant: bool = False) -> FrameConsistency:
    """Score each frame's covariance.

    Args:
        comparison: estimates with covariances, or with a constant one.
        part: rows and columns of the covariances.
        constant: take the constant covariance for all frames.
    """
    covariances = comparison.covariances
    if constant and comparison.constant_covariance is not None:
        covariances = np.repeat(comparison.constant_covariance[np.newaxis], len(comparison), axis=0)
    if covariances is None:
        raise ValueError("the comparison has no covariances")
    usable = np.flatnonzero(comparison.estimated & _positive_definite(covariances))
    residuals = np.hstack(
        pose_residuals(
            comparison.estimated_positions[usable],
            comparison.estimated_orientations[usable],
            comparison.true_positions[usable],
            comparison.true_orientations[usable],
        )
    )[:, part]
    blocks = covariances[usable][:, part, part]
    squares = np.sum(residuals * np.linalg.solve(blocks, residuals[..., None])[..., 0], axis=1)
    constants = np.linalg.slogdet(blocks)[1] + residuals.shape[1] * log(2.0 * pi)
    return FrameConsistency(
        errors=_spread(np.linalg.norm(residuals, axis=1), usable, len(comparison)),
        deviations=_spread(np.sqrt(np.trace(blocks, axis1=1, axis2=2)), usable, len(comparison)),
        nees=_spread(squares, usable, len(comparison)),
        negative_log_likelihoods=_spread((squares + constants) / 2.0, usable, len(comparison)),
    )


def chi_square_3_cdf(value: float) -> float:
    """Probability that a chi-square variable of three degrees of freedom is at most `value`."""
    if value <= 0.0:
        return 0.0
    if np.isinf(value):
        return 1.0
    return erf(sqrt(value / 2.0)) - sqrt(2.0 * value / pi) * exp(-value / 2.0)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Return Spearman's correlation of values [N]; equal values share a rank. None where one is constant."""
    ranks = [_ranks(values) for values in (first, second)]
    deviations = [rank - rank.mean() for rank in ranks]
    lengths = [float(np.linalg.norm(deviation)) for deviation in deviations]
    if min(lengths) == 0.0:
        return None
    return float(deviations[0] @ deviations[1] / (lengths[0] * lengths[1]))


def _constant_scores(comparison: Comparison, frames: dict[str, FrameConsistency]) -> ConstantScores | None:
    if comparison.constant_covariance is None:
        return None
    constant = {name: frame_consistency(comparison, part, constant=True) for name, part in PARTS.items()}
    gains = {
        name: compare_paired(
            frames[name].negative_log_likelihoods,
            constant[name].negative_log_likelihoods,
            np.mean,
            Bootstrap(block=block_length(frames[name].nees)),
        ).difference
        for name in PARTS
    }
    return ConstantScores(
        position=_region_scores(constant["position"]),
        rotation=_region_scores(constant["rotation"]),
        position_gain=gains["position"],
        rotation_gain=gains["rotation"],
    )


def _region_scores(frames: FrameConsistency) -> RegionScores:
    probability = np.array([chi_square_3_cdf(value) for value in frames.nees])
    bootstrap = Bootstrap(block=block_length(frames.nees))
    intervals = [
        confidence_interval((probability <= share).astype(np.float64), np.mean, bootstrap)
        for share in (0.68, 0.95)
    ]
    return RegionScores(
        coverage_68=intervals[0].estimate,
        coverage_95=intervals[1].estimate,
        coverage_68_interval=intervals[0],
        coverage_95_interval=intervals[1],
        nees_mean=float(frames.nees.mean()),
        nees_median=float(np.median(frames.nees)),
        negative_log_likelihood=float(frames.negative_log_likelihoods.mean()),
        rank_correlation=rank_correlation(frames.errors, frames.deviations),
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2.0)[places])


def _spread(values: NDArray[np.float64], usable: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    spread = np.full(count, np.inf)
    spread[usable] = values
    return spread


def _positive_definite(covariances: NDArray[np.float64]) -> NDArray[np.bool_]:
    finite = np.asarray(np.isfinite(covariances).all(axis=(1, 2)))
    candidates = np.where(finite[:, np.newaxis, np.newaxis], covariances, 0.0)
    eigenvalues = np.linalg.eigvalsh((candidates + candidates.transpose(0, 2, 1)) / 2.0)
    return finite & (eigenvalues[:, 0] > 0.0)
