"""What a network in training scores on the frames that are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hyperpose_core.geometry.poses import Array, orientation_errors_deg, position_errors
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.training.samples import Samples
from hyperpose_core.uncertainty.covariance import Uncertainty, pose_residuals

_BATCH = 32


@dataclass(frozen=True, eq=False)
class Validation:
    """What a network makes of N frames held out.

    Attributes:
        position_m: errors [N], metres; infinite where the answer is not finite.
        orientation_deg: errors [N], degrees; infinite where the answer is not finite.
        uncertainty: the covariance that the finite answers call for.
    """

    position_m: Array
    orientation_deg: Array
    uncertainty: Uncertainty

    def medians(self) -> tuple[float, float]:
        """Return the median errors of position (m) and orientation (deg); NaN where nothing is held out."""
        if not len(self.position_m):
            return float("nan"), float("nan")
        return float(np.median(self.position_m)), float(np.median(self.orientation_deg))


@torch.no_grad()
def validate(network: PoseModel, samples: Samples, device: torch.device) -> Validation:
    """Ask a network about the frames held out; leaves it in evaluation mode."""
    held_out, data = samples.validation, samples.data
    if not held_out:
        return Validation(np.zeros(0), np.zeros(0), Uncertainty.unknown())
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
    uncertainty = Uncertainty.from_residuals(*pose_residuals(*answered), source=source)
    return Validation(position_m, orientation_deg, uncertainty)


def _chosen_scenes(outputs: Sequence[PoseOutput]) -> npt.NDArray[np.int64]:
    """Return the scene ids [N] that a multi-scene network chose; zeros for a single-scene one."""
    chosen = [
        torch.zeros(len(output.position), dtype=torch.long)
        if output.scene_log_probabilities is None
        else output.scene_log_probabilities.argmax(dim=1)
        for output in outputs
    ]
    return torch.cat(chosen).cpu().numpy()
