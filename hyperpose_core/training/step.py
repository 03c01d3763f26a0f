"""One training step: from features and labels to the loss, in memory that the next step takes over."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperpose_core.losses import PoseLoss
from hyperpose_core.models.base import PoseModel
from hyperpose_core.training.cuts import Cut
from hyperpose_core.training.recipe import Recipe

Autocast = Callable[[], AbstractContextManager[object]]
"""Gives the context in which the network runs."""

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER_TRIM = 2**31 - 1
# Where glibc's own adaptation to large blocks ends, and how many blocks it maps at most.
_ADAPTED_MMAP_THRESHOLD, _ADAPTED_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 32 << 20, 64 << 20, 65536


class StepInputs(NamedTuple):
    """What a step takes of N samples, on a device.

    Attributes:
        features: what lies at the network's cut, tensors [N, ...]; the images where nothing is frozen.
        positions: [N, 3], in the network's units.
        orientations: unit quaternions [N, 4].
        scenes: scene ids [N].
    """

    features: tuple[Tensor, ...]
    positions: Tensor
    orientations: Tensor
    scenes: Tensor


class Step(nn.Module):
    """Network and loss in one module, so that both take part in averaging gradients over processes."""

    def __init__(self, network: PoseModel, loss: PoseLoss, cut: Cut, autocast: Autocast) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self._cut = cut
        self._autocast = autocast

    def forward(
        self, features: tuple[Tensor, ...], positions: Tensor, orientations: Tensor, scenes: Tensor
    ) -> Tensor:
        """Return the total loss of `StepInputs`."""
        with self._autocast():
            output = self._cut.after(self.network, features, scenes)
        return self.loss(output, positions, orientations, scenes)["total"]


def autocast_of(recipe: Recipe, device: torch.device) -> Autocast:
    """Return what gives the context that a recipe's precision means on a device."""
    wanted = recipe.precision
    if wanted == "bfloat16" or (wanted == "auto" and device.type == "cuda"):
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Take memory that a training step frees for the next step, instead of giving it back in between.

    glibc maps every large block anew from the system, which clears it page by page: a tenth to a fifth of a
    training step on a CPU. Afterwards large blocks are mapped again. Does nothing where the C library is
    another one.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        library.mallopt(_MMAP_THRESHOLD, _ADAPTED_MMAP_THRESHOLD)
        library.mallopt(_TRIM_THRESHOLD, _ADAPTED_TRIM_THRESHOLD)
        library.malloc_trim(0)
