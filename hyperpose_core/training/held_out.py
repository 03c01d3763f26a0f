"""Calibrates a trained network's covariances on the blocks of frames that its training held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.training.samples import Samples
from hyperpose_core.training.split import block_numbers
from hyperpose_core.uncertainty.covariance import Uncertainty, pose_residuals
from hyperpose_core.uncertainty.feature_distance import Predictions, TrainingMemory
from hyperpose_core.uncertainty.fit import HeldOut, calibrate

_BATCH = 32


def calibrated(checkpoint: Checkpoint, samples: Samples, seed: int, device: str = "auto") -> Checkpoint:
    """Return the checkpoint with the covariances that its errors on held-out frames call for.

    Every held-out frame counts twice: as it is, and with its colours changed as in training, because a robot
    will see it in other light. Frames whose scene a multi-scene network took for another one say nothing of
    the poses in either; the scene's probability predictions for them.

    Args:
        checkpoint: the trained network.
        samples: what it was trained on, and what was held out.
        seed: of the changed colours.
        device: where to run the network.
    """
    held_out = np.asarray(samples.validation, dtype=np.int64)
    if not len(held_out):
        return replace(checkpoint, uncertainty=Uncertainty.unknown())
    estimator = PoseEstimator(checkpoint, device, engine="eager")
    device_of_images = torch.device(estimator.device)
    blocks = block_numbers(samples.validation)
    copies = [
        _predict(estimator, held_out, lambda indices: samples.plain_batch(indices, device_of_images).images),
        _predict(
            estimator, held_out, lambda indices: samples.recoloured_batch(indices, seed, device_of_images)
        ),
    ]
    predictions = Predictions(*(np.concatenate(values) for values in zip(*copies, strict=True)))
    frames = np.concatenate([held_out, held_out])
    usable = _finite(predictions)
    usable &= predictions.scenes == samples.scene_indices()[frames]
    predictions, frames = predictions.rows(usable), frames[usable]
    data = samples.data
    residuals = pose_residuals(
        predictions.positions, predictions.orientations, data.positions()[frames], data.orientations()[frames]
    )
    source = f"{len(held_out)} frames in {blocks[-1] + 1} blocks held out of training"
    constant = Uncertainty.from_residuals(*residuals, source=source)
    memory = _remember(estimator, samples)
    known = HeldOut(predictions, *residuals, np.concatenate([blocks, blocks])[usable])
    return replace(checkpoint, uncertainty=calibrate(constant, known, memory))


def _remember(estimator: PoseEstimator, samples: Samples) -> TrainingMemory:
    training = np.asarray(samples.training, dtype=np.int64)
    kept = training[TrainingMemory.choose(samples.scene_indices()[training])]
    device = torch.device(estimator.device)
    predictions = _predict(estimator, kept, lambda indices: samples.plain_batch(indices, device).images)
    kept, predictions = kept[_finite(predictions)], predictions.rows(_finite(predictions))
    return TrainingMemory(
        predictions.features,
        samples.data.positions()[kept],
        samples.data.orientations()[kept],
        samples.scene_indices()[kept],
    )


def _finite(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """Return of which images every value is finite, [N]."""
    values = np.hstack([predictions.features, predictions.positions, predictions.orientations])
    return np.asarray(np.isfinite(values).all(axis=1))


def _predict(
    estimator: PoseEstimator, frames: npt.NDArray[np.int64], batch: Callable[[Sequence[int]], Tensor]
) -> Predictions:
    parts = [
        estimator.predict(batch(frames[start : start + _BATCH].tolist()))[0]
        for start in range(0, len(frames), _BATCH)
    ]
    return Predictions(*(np.concatenate(values) for values in zip(*parts, strict=True)))
