"""Weights held in fewer bytes than float32: int8 with one scale an output row, or bfloat16."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STORAGES = ("float32", "bfloat16", "int8")

_LARGEST_INT8 = 127


class StoredWeight(NamedTuple):
    """A weight as it is held.

    Attributes:
        values: [out, ...], float32, bfloat16 or int8.
        scale: [out]; the weight is values * scale. None unless the values are int8.
    """

    values: Tensor
    scale: Tensor | None


def store_weight(weight: Tensor, storage: str, scale_type: torch.dtype = torch.bfloat16) -> StoredWeight:
    """Round a float32 weight [out, ...] to one of `STORAGES`.

    The scale of an int8 row takes the row's largest value to 127 steps. It is rounded to `scale_type` before
    the values are, so it adds no error of its own.
    """
    if storage != "int8":
        return StoredWeight(weight.to(getattr(torch, storage)), None)
    rows = weight.flatten(1)
    largest = torch.maximum(rows.amax(dim=1), -rows.amin(dim=1))
    scale = (largest / _LARGEST_INT8).to(scale_type)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    values = rows / scale.float().unsqueeze(1)
    values = values.round_().clamp_(-_LARGEST_INT8, _LARGEST_INT8).to(torch.int8)
    return StoredWeight(values.view(weight.shape), scale)


def dense_weight(values: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Give a stored weight [out, ...] in a type that one can compute with."""
    weight = values.to(dtype)
    if scale is None:
        return weight
    return weight * scale.to(dtype).view(-1, *[1] * (values.ndim - 1))
