"""The engine that is always there with PyTorch: the prepared network, operation by operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.inference.engines.preparation import prepare
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseArrays

if TYPE_CHECKING:
    from hyperpose_core.inference.engines.engine import Images


class EagerEngine(Engine):
    """Runs a prepared network in PyTorch."""

    name = "eager"
    runtime = "torch"

    def __init__(self, network: PoseModel, target: Target, threads: int = 0) -> None:
        """Take a network over, which must not be used otherwise any more, and prepare it.

        Args:
            network: the network.
            target: what to prepare for.
            threads: CPU threads of one inference; 0 leaves PyTorch's choice.
        """
        self.device = str(target.device)
        self.precision = str(target.dtype).removeprefix("torch.")
        self.threads = threads or torch.get_num_threads()
        self._asked_threads = threads
        self._dtype = target.dtype
        self._network = prepare(network, target)

    def __call__(self, inputs: Images) -> PoseArrays:
        """Run the network; see `Engine.__call__`."""
        # PyTorch's number of threads is a thread's own, and the engine may have been built in another one.
        if self._asked_threads and torch.get_num_threads() != self._asked_threads:
            torch.set_num_threads(self._asked_threads)
        with torch.inference_mode():
            images = torch.as_tensor(inputs)
            output = self._network(images.to(self.device, self._dtype, memory_format=torch.channels_last))
            return output.arrays()
