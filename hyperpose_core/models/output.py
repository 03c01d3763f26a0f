"""What every pose network returns: tensors, or arrays once an engine hands it out. Needs no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = npt.NDArray[np.float32]


class PoseArrays(NamedTuple):
    """`PoseOutput` as arrays in float32, on the CPU; the attributes are the same."""

    position: FloatArray
    orientation: FloatArray
    scene_log_probabilities: FloatArray | None = None
    features: FloatArray | None = None


class PoseOutput(NamedTuple):
    """Raw outputs of a pose network for N images.

    Attributes:
        position: [N, 3] camera centres in the units that the network was trained in. Whoever holds the
            checkpoint undoes its position normalisation; the networks know nothing of it.
        orientation: [N, 4] quaternions (w, x, y, z) as the head gave them, not normalised.
        scene_log_probabilities: [N, S] natural logarithms of the scenes' probabilities, always finite, or
            None for a single-scene network.
        features: [N, F], a summary of what the backbone saw, by which images are compared; no gradient flows
            through it. None where the network gives none.
    """

    position: Tensor
    orientation: Tensor
    scene_log_probabilities: Tensor | None = None
    features: Tensor | None = None

    def arrays(self) -> PoseArrays:
        """Bring the outputs to the CPU."""
        parts = {name: part for name, part in self._asdict().items() if part is not None}
        return PoseArrays(**{name: part.detach().float().cpu().numpy() for name, part in parts.items()})
