"""What a network in training scores on the frames that are held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from hyperpose_core.geometry.poses import orientation_errors_deg, position_errors
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.training.samples import Samples
from hyperpose_core.uncertainty.covariance import Uncertainty, pose_residuals

_BATCH = 32


@torch.no_grad()
def validate(network: PoseModel, samples: Samples, device: torch.device) -> tuple[float, float, Uncertainty]:
    """Return median position (m) and orientation (deg) errors and the covariance on held-out blocks.

    NaN and an unknown covariance where nothing is held out. An answer that is not finite is an infinite
    error, and says nothing of the covariance. Leaves the network in evaluation mode.
    """
    held_out, data = samples.validation, samples.data
    if not held_out:
        return float("nan"), float("nan"), Uncertainty.unknown()
    network.eval()
    outputs = [
        network(samples.plain_batch(held_out[start : start + _BATCH], device).images)
        for start in range(0, len(held_out), _BATCH)
    ]
    positions = torch.cat([output.position for output in outputs]).double().cpu().numpy()
    orientations = torch.cat([output.orientation for output in outputs]).double().cpu().numpy()
    positions = samples.normalisation.denormalize(positions, _chosen_scenes(outputs))
    true_positions, true_orientations = data.positions()[held_out], data.orientations()[held_out]
    finite = np.isfinite(np.hstack([positions, orientations])).all(axis=1)
    finite &= np.any(np.nan_to_num(orientations) != 0.0, axis=1)
    answered = (positions[finite], orientations[finite], true_positions[finite], true_orientations[finite])
    position_m, orientation_deg = np.full((2, len(held_out)), np.inf)
    position_m[finite] = position_errors(answered[0], answered[2])
    orientation_deg[finite] = orientation_errors_deg(answered[1], answered[3])
    source = f"{len(held_out)} frames held out of training"
    return (
        float(np.median(position_m)),
        float(np.median(orientation_deg)),
        Uncertainty.from_residuals(*pose_residuals(*answered), source=source),
    )


def _chosen_scenes(outputs: Sequence[PoseOutput]) -> npt.NDArray[np.int64]:
    """Return the scene ids [N] that a multi-scene network chose; zeros for a single-scene one."""
    chosen = [
        torch.zeros(len(output.position), dtype=torch.long)
        if output.scene_log_probabilities is None
        else output.scene_log_probabilities.argmax(dim=1)
        for output in outputs
    ]
    return torch.cat(chosen).cpu().numpy()
