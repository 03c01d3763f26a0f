"""The engine that has torch.compile write a program for the network: slow to start, then fast."""

from __future__ import annotations

import os
import shutil
import threading

import torch
from torch import Tensor

from hyperpose_core.engines.engine import Engine
from hyperpose_core.engines.preparation import prepare
from hyperpose_core.engines.target import Target
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput


class CompiledEngine(Engine):
    """Runs a prepared network that torch.compile translates, once for each shape of the input."""

    name = "compiled"

    def __init__(self, network: PoseModel, target: Target) -> None:
        """Take a network over, which must not be used otherwise any more, and prepare it.

        Args:
            network: the network.
            target: what to prepare for, on the CPU, its layers not packed: the compiler does that.

        Raises:
            HyperPoseError: there is no C++ compiler, or the device is not the CPU.
        """
        if target.device.type != "cpu":
            raise HyperPoseError(
                f"engine 'compiled' is for the CPU, not {target.device}: there, 'eager' replays CUDA graphs"
            )
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise HyperPoseError(
                f"engine 'compiled' needs a C++ compiler, but there is no {compiler}: use eager"
            )
        self.device = target.device
        self.precision = str(target.dtype).removeprefix("torch.")
        self._dtype = target.dtype
        self._network = prepare(network, target)
        self._compiled = torch.compile(self._network, dynamic=False, options={"freezing": True})
        self._seen: set[torch.Size] = set()
        self._lock = threading.Lock()

    def __call__(self, inputs: Tensor) -> PoseOutput:
        """Run the network; see `Engine.__call__`. Takes up to a minute for the first input of a shape."""
        with self._lock, torch.inference_mode():
            images = inputs.to(self.device, self._dtype, memory_format=torch.channels_last)
            if images.shape not in self._seen:
                # Fills the tables that depend on the size, and refuses a wrong one in one line.
                self._network(images)
                self._seen.add(images.shape)
            return self._compiled(images)
