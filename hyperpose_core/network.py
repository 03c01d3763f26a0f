"""From a checkpoint to its network."""

from __future__ import annotations

from torch import nn

from hyperpose_core.checkpoint import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.registry import build_model


def build_network(checkpoint: Checkpoint) -> nn.Module:
    """Build a checkpoint's network and fill it with its tensors.

    Raises:
        HyperPoseError: the architecture is unknown or the tensors don't fit it.
    """
    network = build_model(checkpoint.architecture, checkpoint.options)
    try:
        network.load_state_dict(dict(checkpoint.state), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise HyperPoseError(
            f"the tensors don't fit the architecture {checkpoint.architecture!r}: {reason}"
        ) from error
    return network
