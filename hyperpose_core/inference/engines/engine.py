"""What runs a network: the seam between `PoseEstimator` and everything that is about speed.

The engine that is always there runs the prepared network in PyTorch, operation by operation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.engines.preparation import prepare
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput

ENGINE_NAMES = ("auto", "eager", "exported")
EXPORTED_SUFFIX = ".onnx"
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class Engine(ABC):
    """A trained network, ready to be asked; threads may share it.

    Attributes:
        name: one of `ENGINE_NAMES` but "auto".
        precision: of its arithmetic, "float32", "bfloat16", "float16" or "int8".
        device: where it runs.
        takes_bytes: whether it takes images as uint8, too, resized and cropped, and normalises them itself.
    """

    name: str
    precision: str
    device: torch.device
    takes_bytes: bool = False

    @abstractmethod
    def __call__(self, inputs: Tensor) -> PoseOutput:
        """Run the network.

        Args:
            inputs: images [N, 3, h, w], float32, normalised as the checkpoint's preprocessing says, on the
                CPU or the engine's device.

        Returns:
            the network's outputs, float32, on the engine's device; the caller may keep them.

        Raises:
            HyperPoseError: images of a size that the network cannot take.
        """


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


def check_choice(kind: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        HyperPoseError: names the value, what kind of thing it is and the choices.
    """
    if value not in choices:
        raise HyperPoseError(f"{kind} {value!r} is unknown; use one of {', '.join(choices)}")
