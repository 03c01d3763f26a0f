"""The engine that runs the network in PyTorch, operation by operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyperpose_core.engines.engine import Engine
from hyperpose_core.models.output import PoseOutput


class EagerEngine(Engine):
    """Runs a network in PyTorch."""

    name = "eager"
    precision = "float32"

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        """Take a network over; it is put on the device and must not be used otherwise any more."""
        self.device = device
        self._network = network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)

    def __call__(self, inputs: Tensor) -> PoseOutput:
        """Run the network; see `Engine.__call__`."""
        with torch.inference_mode():
            return self._network(inputs.to(self.device, memory_format=torch.channels_last))
