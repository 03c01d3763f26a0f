"""Linear layers and convolutions with what surrounds them done in the same pass.

The packed kind calls the operators that torch.compile's own CPU backend calls (`torch.ops.mkldnn`); the other
kind is made of stock functions and runs anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperpose_core.inference.engines.held_weight import held_weight
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.backbones import TensorFlowPaddedConv2d
from hyperpose_core.models.compressed import CompressedConv2d, weight_of


class _Activation(NamedTuple):
    """An activation as a stock function, and oneDNN's name, numbers and variant of it."""

    function: Callable[[Tensor], Tensor]
    name: str
    scalars: tuple[float, ...] = ()
    algorithm: str = ""


ACTIVATIONS = {
    "none": _Activation(lambda values: values, "none"),
    "relu": _Activation(functional.relu, "relu"),
    "relu6": _Activation(functional.relu6, "hardtanh", (0.0, 6.0)),
    "silu": _Activation(functional.silu, "swish"),
    "gelu": _Activation(functional.gelu, "gelu", algorithm="none"),
    "sigmoid": _Activation(torch.sigmoid, "sigmoid"),
}


class FusedLinear(nn.Module):
    """y = activation(x W^T + b), or x W^T + b + added."""

    _weight: Tensor
    _bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        target: Target,
        activation: str = "none",
        rows: int = 1,
    ) -> None:
        """Prepare.

        Args:
            weight: W [out, in].
            bias: b [out], or None.
            target: what to prepare for.
            activation: one of `ACTIVATIONS`.
            rows: rows of x that the weights are packed for.
        """
        super().__init__()
        self._is_packed = target.packed
        self._activation = ACTIVATIONS[activation]
        self._scalars = list(self._activation.scalars)
        self.held = held_weight(weight.detach(), target.linears, target)
        if self.held is None:
            weight = weight.detach().to(target.device, target.dtype).contiguous()
            if target.packed:
                weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
            self.register_buffer("_weight", weight)
        self.register_buffer("_bias", None if bias is None else bias.detach().to(target.device, target.dtype))

    @classmethod
    def of(
        cls, layers: nn.Module | list[nn.Module], target: Target, activation: str = "none", rows: int = 1
    ) -> FusedLinear:
        """Prepare a linear layer, or several that read the same x as one; their outputs follow each other."""
        layers = layers if isinstance(layers, list) else [layers]
        weight = torch.cat([weight_of(layer) for layer in layers])
        return cls(weight, torch.cat([bias_of(layer) for layer in layers]), target, activation, rows)

    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """Map x [..., in], and what is added to the result [..., out], to y [..., out]."""
        weight = self._weight if self.held is None else self.held()
        if not self._is_packed:
            result = self._activation.function(functional.linear(inputs, weight, self._bias))
            return result if added is None else result + added
        if added is not None:
            return torch.ops.mkldnn._linear_pointwise.binary(inputs, added, weight, self._bias, "add")
        return torch.ops.mkldnn._linear_pointwise.default(
            inputs,
            weight,
            self._bias,
            self._activation.name,
            self._scalars,
            self._activation.algorithm,
        )


class FusedConvolution(nn.Module):
    """y = activation(convolution(x) + added), batch norm folded into the convolution; channels last."""

    _weight: Tensor
    _bias: Tensor

    def __init__(
        self,
        convolution: nn.Conv2d | CompressedConv2d,
        norm: nn.BatchNorm2d | None,
        target: Target,
        activation: str,
        size: tuple[int, int],
    ) -> None:
        """Prepare.

        Args:
            convolution: the convolution; a `TensorFlowPaddedConv2d` keeps its margins.
            norm: the batch norm that follows it, or None.
            target: what to prepare for.
            activation: one of `ACTIVATIONS`.
            size: (height, width) of x that the weights are packed for.
        """
        super().__init__()
        weight, bias = folded(convolution, norm)
        weight = weight.to(target.device, target.dtype, memory_format=torch.channels_last)
        self._stride = list(cast(tuple[int, int], convolution.stride))
        self._padding = list(cast(tuple[int, int], convolution.padding))
        self._groups = convolution.groups
        self._margins = convolution.margins if isinstance(convolution, TensorFlowPaddedConv2d) else None
        if self._margins is not None and target.packed and self._groups > 1:
            # A row and a column of zeros before the kernel do the same, without a copy of a large map.
            self._padding = [side // 2 for side in weight.shape[2:]]
            weight = functional.pad(weight, (1, 0, 1, 0))
            self._margins = None
        self._is_packed = target.packed
        self._activation = ACTIVATIONS[activation]
        self._scalars = list(self._activation.scalars)
        kernel = weight.shape[2:]
        padded = [side + (sum(self._margins[:2]) if self._margins else 0) for side in size]
        height, width = (
            (side + 2 * padding - extent) // stride + 1
            for side, padding, extent, stride in zip(padded, self._padding, kernel, self._stride, strict=True)
        )
        self.output_size = (height, width)
        storage = target.convolutions if isinstance(convolution, CompressedConv2d) else "float32"
        self._held = held_weight(weight, storage, target)
        if self._held is None:
            if target.packed:
                weight = torch.ops.mkldnn._reorder_convolution_weight(
                    weight,
                    self._padding,
                    self._stride,
                    [1, 1],
                    self._groups,
                    [1, weight.shape[1] * self._groups, *padded],
                )
            self.register_buffer("_weight", weight)
        self.register_buffer("_bias", bias.to(target.device, target.dtype))

    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """Map x [N, C, h, w] to y; `added`, of y's shape, is overwritten by it."""
        if self._margins is not None:
            inputs = functional.pad(inputs, self._margins)
        settings = (self._padding, self._stride, [1, 1], self._groups)
        weight = self._weight if self._held is None else self._held()
        if not self._is_packed:
            padding, stride, dilation, groups = settings
            result = functional.conv2d(inputs, weight, self._bias, stride, padding, dilation, groups)
            return self._activation.function(result if added is None else result.add_(added))
        name, algorithm = self._activation.name, self._activation.algorithm
        if added is None:
            return torch.ops.mkldnn._convolution_pointwise.default(
                inputs, weight, self._bias, *settings, name, self._scalars, algorithm
            )
        after = None if name == "none" else name
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            added, inputs, weight, self._bias, *settings, "add", 1.0, after, self._scalars, algorithm
        )


def folded(convolution: nn.Module, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Give weight and bias of a convolution and the batch norm, in evaluation mode, that follows it."""
    with torch.no_grad():
        weight, bias = weight_of(convolution), bias_of(convolution)
        if norm is None:
            return weight.detach(), bias
        variance, mean = cast(Tensor, norm.running_var), cast(Tensor, norm.running_mean)
        factor = norm.weight / torch.sqrt(variance + norm.eps)
        return weight * factor.view(-1, 1, 1, 1), norm.bias + (bias - mean) * factor


def bias_of(layer: nn.Module) -> Tensor:
    """Give the bias of a linear layer or convolution, compressed or not, in float32; zeros for none."""
    layer = getattr(layer, "expand", layer)  # of the two that a layer of low rank is made of
    bias = cast(Tensor | None, layer.bias)
    weight = cast(Tensor, layer.weight)
    return torch.zeros(len(weight), device=weight.device) if bias is None else bias.detach().float()
