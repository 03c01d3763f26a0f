"""What a compression changed in the answers to a dataset's images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.evaluation import score
from hyperpose_core.evaluation.offline import estimate_dataset
from hyperpose_core.inference.estimator import PoseEstimator

_BATCH = 8


def with_accuracy(
    full: Checkpoint, compressed: Checkpoint, data: PosedImageSet, split: str | None, device: str
) -> Checkpoint:
    """Ask both networks about a dataset and add the change of the median errors to `compression`.

    Args:
        full: the checkpoint before compression.
        compressed: the one after.
        data: images with true poses.
        split: the part of the dataset that `data` is, None for all of it.
        device: as for `PoseEstimator`.

    Raises:
        HyperPoseError: an image is unreadable, or the device isn't there.
    """
    before, after = (_medians(checkpoint, data, device) for checkpoint in (full, compressed))
    accuracy: dict[str, Any] = {"data": data.name, "split": split, "frames": len(data.images)}
    for name in before:
        accuracy[name] = _change(before[name], after[name])
    return replace(compressed, compression={**(compressed.compression or {}), "accuracy": accuracy})


def _medians(checkpoint: Checkpoint, data: PosedImageSet, device: str) -> dict[str, float]:
    overall = score(estimate_dataset(PoseEstimator(checkpoint, device), data, _BATCH)).overall
    return {
        "position_error_median_m": overall.position_m.median,
        "orientation_error_median_deg": overall.orientation_deg.median,
    }


def _change(before: float, after: float) -> dict[str, float | None]:
    if not (np.isfinite(before) and np.isfinite(after)):
        return {"before": None, "after": None, "change_percent": None}
    return {
        "before": float(before),
        "after": float(after),
        "change_percent": 100 * float(after / before - 1) if before else None,
    }
