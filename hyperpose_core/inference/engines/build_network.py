"""From a checkpoint to its network."""

from __future__ import annotations

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.registry import restore_model


def build_network(checkpoint: Checkpoint) -> PoseModel:
    """Build a checkpoint's network around its tensors.

    They are the network's own, not copies: change none of them in place.

    Raises:
        HyperPoseError: the architecture is unknown or the tensors don't fit it.
    """
    return restore_model(checkpoint.architecture, checkpoint.options, checkpoint.state)
