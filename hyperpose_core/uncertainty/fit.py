"""Fits the covariance of each image to the errors on blocks of frames that were held out of training.

What is fitted, for position and for rotation (`uncertainty.GrowingCovariance`), from residuals r:

    covariance = scale * shape * (s1 + s2 f^2 / mean f^2 + s3 p^2 / mean p^2),  s1 + s2 + s3 = 1

by maximum likelihood of normal errors, with few held-out blocks in mind:

- Neighbouring frames fail together. A block counts as four observations, however many frames it has.
- Prior: of the shares s one observation each (a Dirichlet distribution), of the shape three observations that
  no axis is worse than another.
- Errors have heavier tails than a normal distribution, and a new place may be harder than all blocks were. So
  each block is predicted from the others, and the scale is the one with which the 68% and the 95% regions of
  these predictions hold their shares as well as one number can: the geometric mean of the two factors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array
from hyperpose_core.uncertainty.covariance import GrowingCovariance, PerImageCovariance, Uncertainty
from hyperpose_core.uncertainty.feature_distance import Predictions, TrainingMemory

CHI_SQUARE_3 = {0.68: 3.5059, 0.95: 7.8147}
"""Squared Mahalanobis radii of the regions that hold these shares in three dimensions."""

_OBSERVATIONS_A_BLOCK = 4.0
_SHAPE_PRIOR = 3.0
_FEWEST_BLOCKS = 2
_FEWEST_FRAMES = 10
_MOST_FRAMES = 4000
_MOST_FOLDS = 10
_ROUNDS = 5
_SHARE_STEPS = 24
_SMALLEST_DEVIATION = 1e-3
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What a trained network made of N frames that it was not trained on.

    Attributes:
        predictions: what it said.
        position_residuals: estimated minus true, [N, 3], metres.
        rotation_residuals: rotation vectors of estimated * true^-1, [N, 3], radians.
        blocks: [N] which block of consecutive frames each belongs to.
    """

    predictions: Predictions
    position_residuals: Array
    rotation_residuals: Array
    blocks: npt.NDArray[np.int64]


def calibrate(uncertainty: Uncertainty, held_out: HeldOut, memory: TrainingMemory) -> Uncertainty:
    """Tell images apart, where enough blocks were held out to know how.

    A scene with too few blocks of its own takes what the blocks of all scenes say together.

    Args:
        uncertainty: the constant covariance of the same frames.
        held_out: residuals of frames whose scene the network chose rightly.
        memory: training images of all scenes.

    Returns:
        the same with `per_image`, or unchanged where fewer than two blocks are held out.
    """
    if not _is_enough(held_out.blocks):
        return uncertainty
    distances = memory.distances(held_out.predictions)
    parts = (
        (held_out.position_residuals, distances.position),
        (held_out.rotation_residuals, distances.rotation),
    )
    positions, rotations = (
        _fit_scenes(residuals, np.stack([distances.feature, pose], axis=1), held_out, memory)
        for residuals, pose in parts
    )
    return replace(uncertainty, per_image=PerImageCovariance(memory, positions, rotations))


def _fit_scenes(
    residuals: Array, distances: Array, held_out: HeldOut, memory: TrainingMemory
) -> tuple[GrowingCovariance, ...]:
    together = _fit(residuals, distances, held_out.blocks)
    fitted = []
    for scene in range(int(memory.scenes.max()) + 1):
        rows = held_out.predictions.scenes == scene
        is_alone = rows.all() or not _is_enough(held_out.blocks[rows])
        fitted.append(together if is_alone else _fit(residuals[rows], distances[rows], held_out.blocks[rows]))
    return tuple(fitted)


def _is_enough(blocks: npt.NDArray[np.int64]) -> bool:
    return len(blocks) >= _FEWEST_FRAMES and len(np.unique(blocks)) >= _FEWEST_BLOCKS


def _fit(residuals: Array, distances: Array, blocks: npt.NDArray[np.int64]) -> GrowingCovariance:
    """Fit one part of the pose to residuals [N, 3] at distances [N, 2] (feature, pose) in blocks [N]."""
    every = ceil(len(residuals) / _MOST_FRAMES)
    residuals, distances, blocks = residuals[::every], distances[::every], blocks[::every]
    numbers = np.unique(blocks, return_inverse=True)[1]
    folds = numbers * min(numbers.max() + 1, _MOST_FOLDS) // (numbers.max() + 1)
    farthest = max(float(distances[:, 0].max()), _TINY)
    predicted = np.empty(len(residuals))
    for fold in range(folds.max() + 1):
        new = folds == fold
        block_count = len(np.unique(numbers[~new]))
        model = _most_likely(residuals[~new], distances[~new], block_count, farthest)
        covariances = model.at(distances[new, 0], distances[new, 1])
        predicted[new] = squared_mahalanobis(residuals[new], covariances)
    factors = [np.quantile(predicted, share) / limit for share, limit in CHI_SQUARE_3.items()]
    model = _most_likely(residuals, distances, int(numbers.max()) + 1, farthest)
    return replace(model, base=model.base * max(float(np.sqrt(np.prod(factors))), _TINY) + _floor())


def _most_likely(residuals: Array, distances: Array, block_count: int, farthest: float) -> GrowingCovariance:
    """Return the most probable covariance, its scale not yet tried on frames that it has not seen."""
    observations = _OBSERVATIONS_A_BLOCK * block_count
    means = np.square(distances).mean(axis=0)
    # A distance that is always zero tells nothing: nothing grows with it.
    per_mean = np.where(means > _TINY, 1.0 / np.maximum(means, _TINY), 0.0)
    terms = np.column_stack([np.ones(len(distances)), np.square(distances) * per_mean])
    candidates = _share_candidates()
    variances = terms @ candidates.T
    typical = observations * 1.5 * np.log(variances).mean(axis=0) - np.log(candidates).sum(axis=1)
    shape, best, scales = np.eye(3), 0, np.ones(len(candidates))
    for _ in range(_ROUNDS):
        squares = squared_mahalanobis(residuals, np.broadcast_to(shape, (len(residuals), 3, 3)))
        scales = np.maximum((squares[:, np.newaxis] / variances).mean(axis=0) / 3.0, _TINY)
        best = int(np.argmin(typical + observations * 1.5 * np.log(scales)))
        shape = _shape(residuals / np.sqrt(variances[:, best, np.newaxis]), observations)
    share = candidates[best]
    return GrowingCovariance(
        base=scales[best] * share[0] * shape + _floor(),
        feature_growth=float(share[1] / share[0] * per_mean[0]),
        pose_growth=float(share[2] / share[0] * per_mean[1]),
        farthest=farthest,
    )


def _share_candidates() -> Array:
    """Return shares [G, 3] on a regular grid; none is 0."""
    steps = _SHARE_STEPS
    counts = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    return (np.array(counts) + 0.5) / (steps + 1.5)


def _shape(scaled: Array, observations: float) -> Array:
    """Return the covariance of residuals [N, 3] up to a factor, of determinant 1, drawn towards a sphere."""
    moment = scaled.T @ scaled / len(scaled)
    values, axes = np.linalg.eigh(moment + np.eye(3) * max(1e-6 * np.trace(moment), _TINY))
    logarithms = np.log(values) - np.log(values).mean()
    return axes * np.exp(logarithms * observations / (observations + _SHAPE_PRIOR)) @ axes.T


def _floor() -> Array:
    return np.eye(3) * _SMALLEST_DEVIATION**2


def squared_mahalanobis(residuals: Array, covariances: Array) -> Array:
    """Return r^T C^-1 r of residuals [N, K] and covariances [N, K, K]."""
    solved = np.linalg.solve(covariances, residuals[..., np.newaxis])[..., 0]
    return np.asarray(np.sum(residuals * solved, axis=1))
