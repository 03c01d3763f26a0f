"""Builds a plain network and fills it, from released weights or from a network of the project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.plain.multi_scene import PlainMSHyperPose, PlainMSTransformer
from benchmarks.plain.single_scene import PlainAtLoc, PlainHyperAtLoc, PlainHyperPose, PlainPoseNet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.released_keys import torchvision_key_by_released_key
from hyperpose_core.released.layout import BACKBONE_PREFIXES, released_tensors

_POSITIONS_PREFIX = "backbone.1."


def plain_network(network: PoseModel) -> nn.Module:
    """Build the plain counterpart of a network of the project, with a copy of its weights.

    Raises:
        HyperPoseError: the network has something that the paper's have not.
    """
    _check(network.architecture, network.options)
    return build_plain_network(network.architecture, network.options, released_state(network))


def build_plain_network(
    architecture: str, options: Mapping[str, object], state: Mapping[str, Tensor]
) -> nn.Module:
    """Build a plain network around released weights, in evaluation mode.

    Args:
        architecture: the project's name for it.
        options: all options of the project's network.
        state: tensors under their released names.

    Raises:
        HyperPoseError: the options ask for something that the paper's networks have not.
    """
    _check(architecture, options)
    with torch.device("meta"):
        network = _build(architecture, dict(options))
    network.load_state_dict(_renamed(architecture, options, state), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def released_state(network: PoseModel) -> dict[str, Tensor]:
    """Copy a network's tensors under the names of a released file, without the classifier it carries."""
    state = {}
    with torch.no_grad():
        for name, tensor in released_tensors(network).items():
            if tensor.destinations:
                value = torch.empty(tensor.shape, dtype=tensor.dtype)
                for part, rows in tensor.destinations:
                    (value[rows] if value.ndim else value).copy_(part)
                state[name] = value
    return state


def _check(architecture: str, options: Mapping[str, object]) -> None:
    is_resnet = options["backbone"] == "resnet34"
    if is_resnet != (architecture in ("atloc", "hyperatloc")) or options.get("feature_map_channels"):
        raise HyperPoseError(f"there is no plain {architecture} with these options: {dict(options)}")


def _build(architecture: str, options: dict[str, Any]) -> nn.Module:
    if architecture in ("atloc", "hyperatloc"):
        outputs = 4 if options["orientation_head"] == "quaternion" else 3
        sizes = (options["embedding_width"], options["attention_width"], outputs)
        if architecture == "atloc":
            return PlainAtLoc(*sizes)
        return PlainHyperAtLoc(*sizes, options["generator_width"])
    lite = options["backbone"] == "efficientnet_lite0"
    if architecture == "posenet":
        return PlainPoseNet(lite, options["hidden_width"])
    if architecture == "hyperpose":
        return PlainHyperPose(lite, options["hidden_width"], options["generator_width"])
    return {"mstransformer": PlainMSTransformer, "mshyperpose": PlainMSHyperPose}[architecture](options)


def _renamed(
    architecture: str, options: Mapping[str, object], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Give released tensors their names here; the backbone's unused classifier is left out."""
    if options["backbone"] == "resnet34":
        return dict(state)
    prefix = BACKBONE_PREFIXES[architecture]
    names = {prefix + released: name for released, name in torchvision_key_by_released_key().items()}
    renamed = {}
    for key, tensor in state.items():
        name = names.get(key, key.removeprefix(_POSITIONS_PREFIX))
        if not name.startswith("classifier."):
            renamed[name] = tensor
    return renamed
