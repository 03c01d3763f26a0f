"""What a stage trains, and at which rate: parameters, statistics, dropout; everything else stands still."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import nn

from hyperpose_core.losses import PoseLoss
from hyperpose_core.models.base import PARTS, PoseModel
from hyperpose_core.training.recipe import Recipe, Schedule, Stage

_TRAINED_PARTS = {
    "everything": frozenset(PARTS),
    "position": frozenset({"position_head", "position_hypernetwork"}),
    "orientation": frozenset({"orientation_head", "orientation_hypernetwork"}),
}


def enter_stage(
    stage: Stage, recipe: Recipe, network: PoseModel, loss: PoseLoss, learnable: Collection[str]
) -> torch.optim.Optimizer:
    """Freeze what the stage does not train, choose its loss and build its optimizer.

    Args:
        stage: the stage.
        recipe: its recipe.
        network: the network; parameters outside the stage lose `requires_grad`.
        loss: the pose loss; its weights are learned where everything is trained.
        learnable: names of the parameters that any stage may train.
    """
    trained = _TRAINED_PARTS[stage.trains]
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in learnable and network.part_of(name) in trained)
    loss.branch = stage.trains
    loss.requires_grad_(stage.trains == "everything")
    parameters = [
        parameter
        for module in (network, loss)
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    rate = stage.learning_rate or recipe.learning_rate
    # One pass over all parameters, where PyTorch has it.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return kind(parameters, lr=rate, weight_decay=recipe.weight_decay, eps=recipe.epsilon, fused=fused)


def set_training_mode(stage: Stage, recipe: Recipe, network: PoseModel) -> None:
    """Put what the stage trains into training mode and the rest into evaluation mode."""
    if stage.trains == "everything":
        network.train()
    else:
        network.eval()
        for name, module in network.named_children():
            if network.part_of_module.get(name) in _TRAINED_PARTS[stage.trains]:
                module.train()
    if recipe.frozen_backbone_stride:
        for layer in network.backbone.layers_up_to(recipe.frozen_backbone_stride):
            layer.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def learning_rate_factor(schedule: Schedule, epoch: float, epochs: int) -> float:
    """Return what the recipe's learning rate is multiplied by; of no state, so that resuming needs none.

    Args:
        schedule: the recipe's schedule.
        epoch: how many epochs have passed, fractions included.
        epochs: how many there will be.
    """
    if schedule.kind == "step":
        return float(schedule.factor ** (math.floor(epoch) // schedule.step_epochs))
    progress = epoch / epochs
    if progress < schedule.warm_up:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * progress / schedule.warm_up))
    return 0.5 * (1 + math.cos(math.pi * (progress - schedule.warm_up) / (1 - schedule.warm_up)))
