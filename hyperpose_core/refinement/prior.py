"""What a network's answer tells a landmark map."""

from __future__ import annotations

from hyperpose_core.inference.estimator import PoseEstimate
from hyperpose_core.landmarks.refinement import Prior


def prior_of(estimate: PoseEstimate, scene: str | None = None) -> Prior:
    """Return where a network says that an image was taken, as the refiner takes it.

    The pose of an output that is not finite is left out; the network's features may still find images that
    look alike.

    Args:
        estimate: the network's answer.
        scene: where the network knows one scene only, which; None searches all of the map's.
    """
    return Prior(estimate.pose, estimate.covariance, estimate.scene or scene, estimate.features)
