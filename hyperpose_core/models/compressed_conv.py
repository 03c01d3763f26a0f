"""Convolutions whose weights are held in fewer bytes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperpose_core.models.compressed_weight import dense_weight


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
