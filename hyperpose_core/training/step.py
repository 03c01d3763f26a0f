"""One training step: from features and labels to the loss."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperpose_core.losses import PoseLoss
from hyperpose_core.models.base import PoseModel
from hyperpose_core.training.cuts import Cut
from hyperpose_core.training.recipe import Recipe

Autocast = Callable[[], AbstractContextManager[object]]
"""Gives the context in which the network runs."""


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
