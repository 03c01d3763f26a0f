"""The engine that runs the prepared network in PyTorch, operation by operation."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.inference.engines.preparation import prepare
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput


class EagerEngine(Engine):
    """Runs a prepared network in PyTorch."""

    name = "eager"

    def __init__(self, network: PoseModel, target: Target) -> None:
        """Take a network over, which must not be used otherwise any more, and prepare it."""
        self.device = target.device
        self.precision = str(target.dtype).removeprefix("torch.")
        self._dtype = target.dtype
        self._network = prepare(network, target)

    def __call__(self, inputs: Tensor) -> PoseOutput:
        """Run the network; see `Engine.__call__`."""
        with torch.inference_mode():
            return self._network(inputs.to(self.device, self._dtype, memory_format=torch.channels_last))
