"""The image backbones: torchvision's, with TensorFlow's constants where the released weights need them."""

from __future__ import annotations

from functools import partial

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE_8, STRIDE_16, STRIDE_32 = 3, 5, 8
"""Places in `features` of the modules whose outputs are the endpoints."""


def efficientnet(lite: bool) -> nn.Sequential:
    """Build the `features` of torchvision's `efficientnet_b0`, or of EfficientNet-Lite0."""
    network = torchvision.models.efficientnet_b0(
        weights=None, norm_layer=partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
    )
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.padding = (0, 0)
            module.register_forward_pre_hook(_pad_like_tensorflow)
        for name, child in module.named_children():
            if lite and isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6(inplace=True))
            elif lite and isinstance(child, torchvision.ops.SqueezeExcitation):
                setattr(module, name, nn.Identity())
    return network.features


def endpoints(features: nn.Sequential, images: Tensor) -> dict[int, Tensor]:
    """Run all layers on images [N, 3, H, W] and return the endpoints [N, C, h, w] by their place."""
    kept = {}
    outputs = images
    for place, layer in enumerate(features):
        outputs = layer(outputs)
        if place in (STRIDE_8, STRIDE_16, STRIDE_32):
            kept[place] = outputs
    return kept


def _pad_like_tensorflow(module: nn.Conv2d, inputs: tuple[Tensor]) -> Tensor:
    before = module.kernel_size[0] // 2 - 1
    return F.pad(inputs[0], (before, before + 1, before, before + 1))
