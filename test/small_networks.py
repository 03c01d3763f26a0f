"""Reduced networks and drawn inputs that the tests of the models share."""

from __future__ import annotations

import numpy as np
import torch
from conftest import draw_image
from torch import Tensor, nn

from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.registry import build_model

HYPERNETWORKS = ("hyperpose", "hyperatloc", "mshyperpose")
MULTI_SCENE = ("mstransformer", "mshyperpose")


def small(name: str, **changes: object) -> PoseModel:
    """A reduced configuration: two layers, narrow generators and heads, the lightest backbone."""
    options: dict[str, object] = {"backbone": "efficientnet_lite0", "dropout": 0.0, "stochastic_depth": 0.0}
    if name in ("posenet", "hyperpose"):
        options["hidden_width"] = 64
    if name in ("atloc", "hyperatloc"):
        options |= {"embedding_width": 128, "attention_width": 32}
    if name in MULTI_SCENE:
        options |= {"scene_count": 2, "position_layers": [2, 2], "orientation_layers": [2, 2]}
        options |= {"width": 64, "feed_forward_width": 64, "head_width": 64}
    if name in HYPERNETWORKS:
        options["generator_width"] = 16
    if name == "mshyperpose":
        options |= {"position_generated_widths": [16, 16], "orientation_generated_widths": [16, 16]}
    torch.manual_seed(0)
    return build_model(name, {**options, **changes})


def draw_inputs(count: int, height: int = 64, width: int = 64) -> Tensor:
    images = np.stack([draw_image(seed, height, width) for seed in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 64 - 2


def finite(output: PoseOutput) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in output if tensor is not None)


def loss_of(output: PoseOutput, scene: Tensor) -> Tensor:
    loss = (output.position - 1).square().mean() + (output.orientation - 0.5).square().mean()
    if output.scene_log_probabilities is not None:
        loss = loss + nn.functional.nll_loss(output.scene_log_probabilities, scene)
    return loss
