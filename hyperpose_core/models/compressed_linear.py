"""Linear layers whose weights are held in fewer bytes: as int8, as bfloat16, or as the product of two.

A hypernetwork's generator is a matrix of up to 262,656 x 256 that one image multiplies with one vector: the
time goes into reading it. So the large ones are never turned into float32 as a whole.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperpose_core.models.compressed_weight import dense_weight

_SMALL = 2**20
"""Weights up to this size are made dense in each call: as float32, 4 MB, they stay in the cache."""

_CHUNK = {"cpu": 2**20, "cuda": 2**24}
"""Weights that are made dense at a time where the whole is larger than `_SMALL`."""

_KERNEL_ROWS = 16
"""With more inputs the int8 kernel, which reads the weights once for every four of them, is slower."""


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
