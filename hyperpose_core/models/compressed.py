"""Layers whose weights are held in fewer bytes than float32, and networks that have such layers.

A weight is int8 with one scale an output row, or bfloat16, or the product of two (`low_rank` of a plan). A
checkpoint's tensors say themselves how each layer is held: an int8 or bfloat16 `weight`, or the weights of
`reduce` and `expand`, into which `low_rank` splits a layer.

A hypernetwork's generator is a matrix of up to 262,656 x 256 that one image multiplies with one vector: the
time goes into reading it. So the large ones are never turned into float32 as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperpose_core.models.precision import OutputLinear

STORAGES = ("float32", "bfloat16", "int8")

_LARGEST_INT8 = 127

_COMPRESSED_TYPES = (torch.int8, torch.bfloat16)

_SMALL = 2**20
"""Weights up to this size are made dense in each call: as float32, 4 MB, they stay in the cache."""

_CHUNK = {"cpu": 2**20, "cuda": 2**24}
"""Weights that are made dense at a time where the whole is larger than `_SMALL`."""

_KERNEL_ROWS = 16
"""With more inputs the int8 kernel, which reads the weights once for every four of them, is slower."""


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


class CompressedLinear(nn.Module):
    """A linear layer, y = x W^T + b, with W in int8 (a scale a row) or bfloat16.

    On the CPU a large W multiplies x rounded to bfloat16, which costs no more than W's own rounding; sums are
    float32. Small ones, and all of them on CUDA, compute in the type of x.

    Args:
        in_features: width of x.
        out_features: width of y.
        bias: type of b, None for no bias.
        storage: "int8" or "bfloat16".
    """

    def __init__(self, in_features: int, out_features: int, bias: torch.dtype | None, storage: str) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        values = torch.zeros(out_features, in_features, dtype=getattr(torch, storage))
        self.weight = nn.Parameter(values, requires_grad=False)
        self.scale: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if storage == "int8":
            self.scale = nn.Parameter(torch.ones(out_features, dtype=torch.bfloat16), requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(torch.zeros(out_features, dtype=bias), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features], of the inputs' type."""
        rows = inputs.reshape(-1, self.in_features)
        outputs = multiply(rows, self.weight, self.scale)
        if self.bias is not None:
            outputs = outputs + self.bias.to(outputs.dtype)
        return outputs.view(*inputs.shape[:-1], self.out_features)

    def dense_weight(self) -> Tensor:
        """Give W [out_features, in_features] in float32."""
        return dense_weight(self.weight, self.scale, torch.float32)

    def extra_repr(self) -> str:
        """Say the layer's shape and how it is held, for `print(network)`."""
        return f"{self.in_features}, {self.out_features}, {self.weight.dtype}"


class LowRankLinear(nn.Module):
    """A linear layer with W = U V: y = (x V^T) U^T + b, computed one factor after the other.

    Args:
        reduce: x to x V^T, [rank, in_features], without bias.
        expand: to y, [out_features, rank], with the bias.
    """

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce = reduce
        self.expand = expand

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        return self.expand(self.reduce(inputs))

    @property
    def rank(self) -> int:
        """Width between the factors."""
        return len(weight_of(self.reduce))

    def dense_weight(self) -> Tensor:
        """Give W [out_features, in_features] in float32."""
        return weight_of(self.expand) @ weight_of(self.reduce)


def weight_of(layer: nn.Module) -> Tensor:
    """Give the weight of a linear layer or convolution, compressed or not, in float32."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return layer.weight.float()
    return cast(CompressedLinear, layer).dense_weight()


def multiply(inputs: Tensor, values: Tensor, scale: Tensor | None) -> Tensor:
    """Multiply inputs with the transpose of a stored weight: the one place that decides how.

    Args:
        inputs: [N, in_features].
        values: [out_features, in_features], int8 or bfloat16.
        scale: [out_features] for int8, else None.

    Returns:
        [N, out_features], of the inputs' type.
    """
    if values.numel() <= _SMALL or torch.compiler.is_exporting():
        return functional.linear(inputs, dense_weight(values, scale, inputs.dtype))
    if values.device.type == "cpu":
        if scale is None and _multiplies_bfloat16():
            return functional.linear(inputs.bfloat16(), values).to(inputs.dtype)
        if scale is not None and _kernel_takes(inputs, values):
            rounded = inputs.bfloat16().contiguous()
            return torch._weight_int8pack_mm(rounded, values, scale.bfloat16()).to(inputs.dtype)
    return _multiply_in_chunks(inputs, values, scale)


class CompressedConv2d(nn.Module):
    """A convolution with its weights in int8 (a scale an output channel) or bfloat16.

    They are made dense in each call: a convolution uses each of them once for every pixel of its map, so this
    takes little of its time.

    Args:
        template: a convolution of the same shape; zeros around the image are the only padding it may have.
        storage: "int8" or "bfloat16".
    """

    def __init__(self, template: nn.Conv2d, storage: str) -> None:
        super().__init__()
        self.stride = template.stride
        self.padding = template.padding
        self.dilation = template.dilation
        self.groups = template.groups
        values = torch.zeros(template.weight.shape, dtype=getattr(torch, storage))
        self.weight = nn.Parameter(values, requires_grad=False)
        self.scale: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if storage == "int8":
            channels = template.out_channels
            self.scale = nn.Parameter(torch.ones(channels, dtype=torch.bfloat16), requires_grad=False)
        if template.bias is not None:
            self.bias = nn.Parameter(torch.zeros(template.out_channels), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Convolve [N, C, H, W] in the type of the inputs."""
        weight = dense_weight(self.weight, self.scale, inputs.dtype)
        bias = None if self.bias is None else self.bias.to(inputs.dtype)
        return functional.conv2d(inputs, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def dense_weight(self) -> Tensor:
        """Give the weight [out, in / groups, h, w] in float32."""
        return dense_weight(self.weight, self.scale, torch.float32)

    def extra_repr(self) -> str:
        """Say the layer's shape and how it is held, for `print(network)`."""
        return f"{list(self.weight.shape)}, {self.weight.dtype}, stride={self.stride}"


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


def _kernel_takes(inputs: Tensor, values: Tensor) -> bool:
    """Tell whether PyTorch's int8 kernel may be used: it reads 16 values at a time and checks nothing."""
    return (
        0 < len(inputs) <= _KERNEL_ROWS
        and values.shape[1] % 16 == 0
        and values.is_contiguous()
        and hasattr(torch, "_weight_int8pack_mm")
    )


def _multiplies_bfloat16() -> bool:
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _multiply_in_chunks(inputs: Tensor, values: Tensor, scale: Tensor | None) -> Tensor:
    """Make some rows of the weight dense at a time, so that the whole never is."""
    on_cpu = values.device.type == "cpu"
    dtype = torch.bfloat16 if on_cpu and _multiplies_bfloat16() else inputs.dtype
    rounded = inputs.to(dtype)
    outputs = inputs.new_empty(len(inputs), len(values))
    step = max(1, _CHUNK[values.device.type] // values.shape[1])
    for start in range(0, len(values), step):
        rows = slice(start, start + step)
        # Values up to 127 are exact in bfloat16; the scale is applied to the sums.
        product = functional.linear(rounded, values[rows].to(dtype)).to(inputs.dtype)
        outputs[:, rows] = product if scale is None else product * scale[rows].to(inputs.dtype)
    return outputs
