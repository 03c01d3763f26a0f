"""The image backbones, prepared: batch norm folded, activations and additions done with the convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn
from torchvision.models.efficientnet import MBConv

from hyperpose_core.inference.engines.fused_layers import FusedConvolution, FusedLinear, bias_of
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.backbones import Backbone, EfficientNetBackbone, Endpoints, ResNetBackbone
from hyperpose_core.models.compressed import weight_of

_ACTIVATION_NAMES = {nn.SiLU: "silu", nn.ReLU6: "relu6", nn.ReLU: "relu"}


class FusedBackbone(nn.Module):
    """Runs three groups of fused layers, whose ends are the endpoints at strides 8, 16 and 32."""

    def __init__(self, groups: tuple[list[nn.Module], ...]) -> None:
        """Take the layers that lead to each endpoint, from the former one."""
        super().__init__()
        self._groups = nn.ModuleList(nn.Sequential(*layers) for layers in groups)

    def forward(self, images: Tensor, deepest_stride: int = 32) -> Endpoints:
        """Compute the endpoints of images [N, 3, H, W], channels last; see `Backbone.forward`."""
        to_stride8, to_stride16, to_stride32 = self._groups
        stride8 = to_stride8(images)
        stride16 = to_stride16(stride8)
        return Endpoints(stride8, stride16, to_stride32(stride16) if deepest_stride == 32 else None)


def fuse_backbone(backbone: Backbone, target: Target) -> FusedBackbone:
    """Prepare a backbone, which is left as it is."""
    if isinstance(backbone, EfficientNetBackbone):
        return _fuse_efficientnet(backbone, target)
    return _fuse_resnet(cast(ResNetBackbone, backbone), target)


def _fuse_efficientnet(backbone: EfficientNetBackbone, target: Target) -> FusedBackbone:
    size = target.input_size
    groups: tuple[list[nn.Module], ...] = ([], [], [])
    for index, stage in enumerate(backbone.features):
        group = groups[0 if index < 4 else 1 if index < 6 else 2]
        blocks = stage if isinstance(stage[0], MBConv) else [stage]
        for block in blocks:
            fused = (
                FusedInvertedResidual(block, target, size)
                if isinstance(block, MBConv)
                else _fuse_triple(block, target, size)
            )
            size = fused.output_size
            group.append(fused)
    return FusedBackbone(groups)


def _fuse_resnet(backbone: ResNetBackbone, target: Target) -> FusedBackbone:
    stem = FusedConvolution(backbone.conv1, backbone.bn1, target, "relu", target.input_size)
    pool = cast(nn.MaxPool2d, backbone.maxpool)
    size = ((stem.output_size[0] + 1) // 2, (stem.output_size[1] + 1) // 2)
    groups: tuple[list[nn.Module], ...] = ([stem, pool], [], [])
    layers = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    for group, layer in zip((0, 0, 1, 2), layers, strict=True):
        for block in layer:
            fused = FusedBasicBlock(block, target, size)
            size = fused.output_size
            groups[group].append(fused)
    return FusedBackbone(groups)


def _fuse_triple(layers: Any, target: Target, size: tuple[int, int]) -> FusedConvolution:
    """Prepare convolution, batch norm and, where there is one, activation."""
    activation = _ACTIVATION_NAMES[type(layers[2])] if len(layers) > 2 else "none"
    return FusedConvolution(layers[0], layers[1], target, activation, size)


class FusedInvertedResidual(nn.Module):
    """EfficientNet's block: widen, convolve each channel, weigh the channels, narrow, add the input."""

    def __init__(self, block: Any, target: Target, size: tuple[int, int]) -> None:
        """Prepare torchvision's MBConv for inputs of a size."""
        super().__init__()
        self._adds_input = block.use_res_connect
        layers = [layer for layer in block.block if not isinstance(layer, nn.Identity)]
        before = nn.Sequential()
        self._channel_weights: FusedChannelWeights | None = None
        for layer in layers[:-1]:
            if isinstance(layer, nn.Sequential):
                fused = _fuse_triple(layer, target, size)
                size = fused.output_size
                before.append(fused)
            else:
                self._channel_weights = FusedChannelWeights(layer, target)
        self._before = before
        self._narrow = _fuse_triple(layers[-1], target, size)
        self.output_size = size

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, C, h, w] to [N, D, h', w']; the input may be overwritten."""
        wide = self._before(inputs)
        if self._channel_weights is not None:
            wide = wide.mul_(self._channel_weights(wide))
        return self._narrow(wide, inputs if self._adds_input else None)


class FusedChannelWeights(nn.Module):
    """Squeeze-and-excitation's weights: two linear layers on each channel's mean."""

    def __init__(self, layer: Any, target: Target) -> None:
        """Prepare torchvision's SqueezeExcitation."""
        super().__init__()
        first, second = layer.fc1, layer.fc2
        target = replace(target, linears=target.convolutions)  # which these are, 1x1, in a checkpoint
        self._narrow = FusedLinear(weight_of(first).flatten(1), bias_of(first), target, "silu")
        self._widen = FusedLinear(weight_of(second).flatten(1), bias_of(second), target, "sigmoid")

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, C, h, w] to weights [N, C, 1, 1]."""
        return self._widen(self._narrow(features.mean((2, 3))))[:, :, None, None]


class FusedBasicBlock(nn.Module):
    """ResNet-34's block: two convolutions, to which the input, or a convolution of it, is added."""

    def __init__(self, block: Any, target: Target, size: tuple[int, int]) -> None:
        """Prepare torchvision's block for inputs of a size."""
        super().__init__()
        self._first = FusedConvolution(block.conv1, block.bn1, target, "relu", size)
        self.output_size = self._first.output_size
        self._second = FusedConvolution(block.conv2, block.bn2, target, "relu", self.output_size)
        self._shortcut: FusedConvolution | None = None
        if block.downsample is not None:
            convolution, norm = block.downsample
            self._shortcut = FusedConvolution(convolution, norm, target, "none", size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [N, C, h, w] to [N, D, h', w']; the input may be overwritten."""
        kept = inputs if self._shortcut is None else self._shortcut(inputs)
        return self._second(self._first(inputs), kept)
