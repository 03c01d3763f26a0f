"""Compressed layers made from full ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hyperpose_core.compression.factors import split_by_energy
from hyperpose_core.models.compressed import CompressedConv2d, CompressedLinear, LowRankLinear, store_weight

_LARGEST_EXACT_BIAS = 4096
"""Larger biases, which only generators have, are held in bfloat16 where the weights are not in float32."""


def compressed_linear(layer: nn.Linear, storage: str, energy: float | None) -> nn.Module:
    """Make a layer of a full one.

    Args:
        layer: the full layer, which is left as it is.
        storage: one of `compressed.STORAGES`.
        energy: split the weight into factors that keep this share, where that makes it smaller; None: never.
    """
    factors = None if energy is None else split_by_energy(layer.weight.detach(), energy)
    if factors is None:
        return layer if storage == "float32" else _stored_linear(layer.weight.detach(), layer.bias, storage)
    first, second = factors
    # The second factor is small and its rows, the singular values, are far from equal.
    reduce = _stored_linear(second, None, "bfloat16" if storage == "int8" else storage)
    return LowRankLinear(reduce, _stored_linear(first, layer.bias, storage))


def compressed_convolution(layer: nn.Conv2d, storage: str) -> nn.Module:
    """Make a convolution of a full one, which is left as it is."""
    if storage == "float32":
        return layer
    with torch.device("meta"):
        compressed = CompressedConv2d(layer, storage)
    _fill(compressed, layer.weight.detach(), layer.bias, storage)
    return compressed


def _stored_linear(weight: Tensor, bias: Tensor | None, storage: str) -> nn.Module:
    out_features, in_features = weight.shape
    stored: nn.Module
    if storage != "float32" and bias is not None and len(bias) > _LARGEST_EXACT_BIAS:
        bias = bias.detach().bfloat16()
    with torch.device("meta"):
        if storage == "float32":
            stored = nn.Linear(in_features, out_features, bias=bias is not None)
        else:
            bias_type = None if bias is None else bias.dtype
            stored = CompressedLinear(in_features, out_features, bias_type, storage)
    _fill(stored, weight, bias, storage)
    return stored


def _fill(layer: nn.Module, weight: Tensor, bias: Tensor | None, storage: str) -> None:
    stored = store_weight(weight, storage)
    tensors = {"weight": stored.values, "scale": stored.scale, "bias": bias}
    layer.load_state_dict(
        {name: tensor for name, tensor in tensors.items() if tensor is not None}, assign=True
    )
