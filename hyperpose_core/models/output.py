"""What every pose network returns."""

from typing import NamedTuple

from torch import Tensor


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
