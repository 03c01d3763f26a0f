"""What runs a network: the seam between `PoseEstimator` and everything that is about speed. No PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.output import PoseArrays

if TYPE_CHECKING:
    from torch import Tensor

    Images: TypeAlias = Tensor | npt.NDArray[np.float32]

ENGINE_NAMES = ("auto", "eager", "exported")
EXPORTED_SUFFIX = ".onnx"
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


class Engine(ABC):
    """A trained network, ready to be asked; threads may share it.

    Attributes:
        name: one of `ENGINE_NAMES` but "auto".
        runtime: the package that computes, as `importlib.metadata` knows it.
        precision: of its arithmetic, "float32", "bfloat16", "float16" or "int8".
        device: where it runs: "cpu", "cuda" or "cuda:N".
        threads: of the CPU that one inference takes.
        takes_arrays: whether images come to it as arrays, without PyTorch.
        takes_bytes: whether it takes images as uint8, too, resized and cropped, and normalises them itself.
    """

    name: str
    runtime: str
    precision: str
    device: str
    threads: int
    takes_arrays: bool = False
    takes_bytes: bool = False

    @abstractmethod
    def __call__(self, inputs: Images) -> PoseArrays:
        """Run the network.

        Args:
            inputs: images [N, 3, h, w], float32, normalised as the checkpoint's preprocessing says: an array,
                or a tensor on the CPU or the engine's device.

        Returns:
            the network's outputs; the caller may keep them.

        Raises:
            HyperPoseError: images of a size that the network cannot take.
        """


def check_choice(kind: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        HyperPoseError: names the value, what kind of thing it is and the choices.
    """
    if value not in choices:
        raise HyperPoseError(f"{kind} {value!r} is unknown; use one of {', '.join(choices)}")
