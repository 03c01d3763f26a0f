"""The engine for CUDA: the prepared network as a CUDA graph, one for each shape of the input.

Everything here but graphs and pinned memory also runs on the CPU, where it is tested.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.inference.engines.preparation import prepare
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseArrays, PoseOutput

if TYPE_CHECKING:
    from hyperpose_core.inference.engines.engine import Images

_WARM_UP_RUNS = 3
_MOST_GRAPHS = 8


class _Recording(NamedTuple):
    """A graph, the tensor that it reads and those that it writes."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    output: PoseOutput


class CudaEngine(Engine):
    """Copies images to the device, normalises them there, and replays the network's graph.

    One graph is launched in place of hundreds of kernels, whose launches take longer than the kernels run.
    """

    name = "eager"
    runtime = "torch"
    takes_bytes = True

    def __init__(self, network: PoseModel, target: Target, preprocessing: Preprocessing) -> None:
        """Take a network over, which must not be used otherwise any more, and prepare it.

        Args:
            network: the network.
            target: what to prepare for.
            preprocessing: how images that come as bytes are normalised.
        """
        self.device = str(target.device)
        self.threads = torch.get_num_threads()
        self._device = target.device
        self.precision = str(target.dtype).removeprefix("torch.")
        self._dtype = target.dtype
        self._preprocessing = preprocessing
        self._network = prepare(network, target)
        self._recordings: dict[torch.Size, _Recording] = {}
        self._lock = threading.Lock()

    def __call__(self, inputs: Images) -> PoseArrays:
        """Run the network; see `Engine.__call__`. Takes uint8 images too, which are not normalised yet."""
        with self._lock, torch.inference_mode():
            images = self._received(torch.as_tensor(inputs))
            recording = self._recording_for(images)
            if recording is None:
                return self._network(images).arrays()
            recording.images.copy_(images)
            recording.graph.replay()
            # Within the lock: the next replay overwrites what this one gave.
            return recording.output.arrays()

    def _received(self, inputs: Tensor) -> Tensor:
        """Bring images to the device, without waiting for the copy, and to the network's input."""
        if self._device.type == "cuda" and inputs.device.type == "cpu":
            inputs = inputs.pin_memory()
        images = inputs.to(self._device, non_blocking=True)
        if images.dtype == torch.uint8:
            images = self._preprocessing.normalized(images)
        return images.to(self._dtype, memory_format=torch.channels_last)

    def _recording_for(self, images: Tensor) -> _Recording | None:
        """Find or make the graph for images of a shape; None where there is none to be had."""
        known = self._recordings.get(images.shape)
        if known is not None or self._device.type != "cuda" or len(self._recordings) >= _MOST_GRAPHS:
            return known
        recording = self._record(images)
        self._recordings[images.shape] = recording
        return recording

    def _record(self, images: Tensor) -> _Recording:
        # Libraries choose kernels and set up their memory in the first runs, which must not be recorded.
        with torch.cuda.device(self._device):
            static = images.clone(memory_format=torch.preserve_format)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP_RUNS):
                    self._network(static)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # What other threads do on the device meanwhile is no part of the graph, and no error.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                output = self._network(static)
        return _Recording(graph, static, output)
