"""Names of the `efficientnet_pytorch` package's tensors, in terms of torchvision's `efficientnet_b0`.

The released EfficientNet networks and the EfficientNet-Lite0 package carry the former; the backbones of this
project carry the latter. The map is one to one.
"""

from __future__ import annotations

STAGE_SIZES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks in each of the seven stages of EfficientNet-B0 and -Lite0."""

_CONVOLUTION: tuple[str, ...] = ("weight",)
_WITH_BIAS: tuple[str, ...] = ("weight", "bias")
_BATCH_NORM: tuple[str, ...] = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

_OUTER_MODULES = (
    ("_conv_stem", "features.0.0", _CONVOLUTION),
    ("_bn0", "features.0.1", _BATCH_NORM),
    ("_conv_head", "features.8.0", _CONVOLUTION),
    ("_bn1", "features.8.1", _BATCH_NORM),
    ("_fc", "classifier.1", _WITH_BIAS),
)
_EXPANSION = (("_expand_conv", "0", _CONVOLUTION), ("_bn0", "1", _BATCH_NORM))
_DEPTHWISE = (("_depthwise_conv", "0", _CONVOLUTION), ("_bn1", "1", _BATCH_NORM))
_SQUEEZE = (("_se_reduce", "fc1", _WITH_BIAS), ("_se_expand", "fc2", _WITH_BIAS))
_PROJECTION = (("_project_conv", "0", _CONVOLUTION), ("_bn2", "1", _BATCH_NORM))


def torchvision_key_by_released_key() -> dict[str, str]:
    """Give torchvision's key for each of the 360 keys of `efficientnet_pytorch`, both without any prefix.

    EfficientNet-Lite0 has the same keys but those of squeeze-and-excitation.
    """
    keys = {}
    for released, place, tensors in _OUTER_MODULES:
        keys.update({f"{released}.{tensor}": f"{place}.{tensor}" for tensor in tensors})
    block = 0
    for stage, size in enumerate(STAGE_SIZES, start=1):
        for index in range(size):
            # The first block does not expand its channels, so torchvision numbers its groups from one lower.
            groups = (
                (_DEPTHWISE, _SQUEEZE, _PROJECTION)
                if block == 0
                else (_EXPANSION, _DEPTHWISE, _SQUEEZE, _PROJECTION)
            )
            for number, group in enumerate(groups):
                for released, place, tensors in group:
                    outer = f"features.{stage}.{index}.block.{number}.{place}"
                    keys.update(
                        {f"_blocks.{block}.{released}.{tensor}": f"{outer}.{tensor}" for tensor in tensors}
                    )
            block += 1
    return keys
