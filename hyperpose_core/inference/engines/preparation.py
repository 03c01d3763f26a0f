"""From a trained network to the same network with its parts prepared for inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from hyperpose_core.inference.engines.fused_backbones import fuse_backbone
from hyperpose_core.inference.engines.fused_heads import (
    FusedGeneratedBranch,
    FusedGeneratedHead,
    FusedSelfAttention,
)
from hyperpose_core.inference.engines.fused_layers import FusedLinear
from hyperpose_core.inference.engines.fused_transformer import FusedBranch
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.atloc import SelfAttention
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.compressed import CompressedLinear, LowRankLinear, storages_of
from hyperpose_core.models.hypernetwork import GeneratedHead
from hyperpose_core.models.mshyperpose import GeneratedBranch
from hyperpose_core.models.mstransformer import SceneHead
from hyperpose_core.models.multiscene import MultiSceneModel
from hyperpose_core.models.posenet import SharedHead
from hyperpose_core.models.precision import OutputLinear


def prepare(network: PoseModel, target: Target) -> PoseModel:
    """Replace a network's parts by prepared ones and put it on the device.

    The network is changed in place, its tensors are not, so they may belong to somebody else; those that are
    no longer needed are let go, part by part. Layers that give poses and scene probabilities stay in float32.
    """
    network.eval().requires_grad_(False)
    linears, convolutions = storages_of(network)
    target = replace(target, linears=linears, convolutions=convolutions)
    if isinstance(network, MultiSceneModel):
        for name, stride in (("position_branch", 16), ("orientation_branch", 8)):
            setattr(network, name, FusedBranch(getattr(network, name), stride, target))
    setattr(network, "backbone", fuse_backbone(network.backbone, target))  # noqa: B010 (another type)
    _replace_children(network, target)
    return network.to(target.device)


def _replace_children(module: nn.Module, target: Target) -> None:
    for name, child in module.named_children():
        replace = _replacement_for(child)
        if replace is not None:
            setattr(module, name, replace(child, target))
        elif type(child).__module__.startswith("hyperpose_core.models"):
            _replace_children(child, target)


def _replacement_for(module: nn.Module) -> Callable[..., nn.Module] | None:
    if isinstance(module, OutputLinear):
        return None
    for kind, replacement in _REPLACEMENTS.items():
        if isinstance(module, kind):
            return replacement
    return None


def _prepare_scene_head(head: SceneHead, target: Target) -> SceneHead:
    head.hidden.to(target.dtype)
    return head


def _prepare_reduction(head: SharedHead, target: Target) -> SharedHead:
    if head.reduction is not None:
        head.reduction.to(target.dtype)
    setattr(head, "linear", FusedLinear.of(head.linear, target))  # noqa: B010 (another type)
    return head


_REPLACEMENTS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    GeneratedHead: FusedGeneratedHead,
    GeneratedBranch: FusedGeneratedBranch,
    SelfAttention: FusedSelfAttention,
    SceneHead: _prepare_scene_head,
    SharedHead: _prepare_reduction,
    nn.Linear: FusedLinear.of,
    CompressedLinear: FusedLinear.of,
    LowRankLinear: FusedLinear.of,
}
