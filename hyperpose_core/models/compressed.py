"""Networks with compressed layers: which layers can be, and a network that fits compressed tensors.

The tensors say themselves how each layer is held: an int8 or bfloat16 `weight`, or the weights of `reduce`
and `expand`, into which `low_rank` splits a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from hyperpose_core.models.compressed_conv import CompressedConv2d
from hyperpose_core.models.compressed_linear import CompressedLinear, LowRankLinear
from hyperpose_core.models.compressed_weight import STORAGES
from hyperpose_core.models.precision import OutputLinear

_COMPRESSED_TYPES = (torch.int8, torch.bfloat16)


def compressible_layers(network: nn.Module) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Give the layers that can be held in fewer bytes, by name.

    Layers whose outputs are poses or scenes, depthwise convolutions and those with a padding of their own are
    no such layers: they are small, and every rounding there shows.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and not isinstance(module, OutputLinear):
            yield name, module
        elif type(module) is nn.Conv2d and module.groups == 1:
            yield name, module


def fit_network_to_tensors(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Replace layers of a full network by compressed ones where the tensors are of such.

    Args:
        network: as `build_model` makes it; changed in place. Its tensors are not filled.
        state: a checkpoint's tensors by name.
    """
    for name, layer in list(compressible_layers(network)):
        compressed = _layer_like(name, layer, state)
        if compressed is not None:
            network.set_submodule(name, compressed)


def storages_of(network: nn.Module) -> tuple[str, str]:
    """Give how a network's linears, generators apart, and convolutions are held, the smallest of each."""
    linears, convolutions = {"float32"}, {"float32"}
    for name, module in network.named_modules():
        if isinstance(module, CompressedConv2d):
            convolutions.add(str(module.weight.dtype).removeprefix("torch."))
        elif isinstance(module, CompressedLinear) and "generator" not in name.split("."):
            linears.add(str(module.weight.dtype).removeprefix("torch."))
    return max(linears, key=STORAGES.index), max(convolutions, key=STORAGES.index)


def _layer_like(name: str, layer: nn.Linear | nn.Conv2d, state: Mapping[str, Tensor]) -> nn.Module | None:
    if isinstance(layer, nn.Conv2d):
        storage = _storage_of(name, state)
        return None if storage is None else CompressedConv2d(layer, storage)
    if f"{name}.reduce.weight" in state:
        return LowRankLinear(_linear_like(f"{name}.reduce", state), _linear_like(f"{name}.expand", state))
    return None if _storage_of(name, state) is None else _linear_like(name, state)


def _linear_like(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    out_features, in_features = state[f"{name}.weight"].shape
    bias = state.get(f"{name}.bias")
    storage = _storage_of(name, state)
    if storage is None:
        return nn.Linear(in_features, out_features, bias=bias is not None)
    return CompressedLinear(in_features, out_features, None if bias is None else bias.dtype, storage)


def _storage_of(name: str, state: Mapping[str, Tensor]) -> str | None:
    """Give the storage of a layer's weight, None where it is not compressed (or is missing)."""
    weight = state.get(f"{name}.weight")
    if weight is None or weight.dtype not in _COMPRESSED_TYPES:
        return None
    return str(weight.dtype).removeprefix("torch.")
