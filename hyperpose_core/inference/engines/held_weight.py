"""Weights of prepared layers that stay as small as the checkpoint holds them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.compressed import store_weight

_SMALLEST = 4096
"""Weights; smaller tensors are not worth a conversion in each call."""


class HeldWeight(nn.Module):
    """A weight in int8 (with a float32 scale a row) or bfloat16, made dense in each call."""

    _values: Tensor
    _scale: Tensor | None

    def __init__(self, weight: Tensor, storage: str, target: Target) -> None:
        """Take a dense weight [out, ...]; rows that were int8 before become the same integers again."""
        super().__init__()
        self._dtype = target.dtype
        self._memory_format = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
        stored = store_weight(weight.float(), storage, torch.float32)
        values = stored.values.to(target.device, memory_format=self._memory_format)
        scale = None if stored.scale is None else stored.scale.view(-1, *[1] * (weight.ndim - 1))
        self.register_buffer("_values", values)
        self.register_buffer("_scale", None if scale is None else scale.to(target.device))

    def forward(self) -> Tensor:
        """Give the weight in the type that the target computes in."""
        weight = self._values.to(self._dtype)
        return weight if self._scale is None else weight.mul_(self._scale)


def held_weight(weight: Tensor, storage: str, target: Target) -> HeldWeight | None:
    """Hold a weight in a storage of `STORAGES`, or give None where that would not make it smaller."""
    saves = getattr(torch, storage).itemsize < target.dtype.itemsize
    return HeldWeight(weight, storage, target) if saves and weight.numel() >= _SMALLEST else None
