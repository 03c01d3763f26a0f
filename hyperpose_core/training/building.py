"""What a recipe builds: the network and how images become its input."""

from __future__ import annotations

import torch
from torch import nn

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import Preprocessing
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.registry import build_model, default_normalisation, default_options
from hyperpose_core.training.recipe import Recipe


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """Return how images become the network's input.

    Raises:
        HyperPoseError: the recipe's sizes leave no image.
    """
    # Other options may still miss what only the images can say, such as their size.
    backbone = {name: value for name, value in recipe.model_options.items() if name == "backbone"}
    mean, std = default_normalisation(recipe.model, backbone)
    try:
        return Preprocessing(resize=recipe.resize, crop=recipe.crop, mean=mean, std=std)
    except ValueError as error:
        raise HyperPoseError(f"recipe: {error}") from error


def network_of(
    recipe: Recipe, scene_count: int, input_size: tuple[int, int], device: torch.device
) -> PoseModel:
    """Build the network to train, its frozen layers marked by `requires_grad`.

    Args:
        recipe: which network, and how it starts.
        scene_count: of the training data.
        input_size: height and width of the images in pixels.
        device: where to put it.

    Raises:
        HyperPoseError: an option is wrong, or ImageNet weights cannot be had.
    """
    options = dict(recipe.model_options)
    if "scene_count" in default_options(recipe.model):
        options["scene_count"] = scene_count
    if options.get("feature_map_channels"):
        options["input_size"] = list(input_size)
    network = build_model(recipe.model, options)
    if recipe.pretrained:
        network.load_pretrained_backbone()
    if recipe.batch_norm_momentum is not None:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = recipe.batch_norm_momentum
    if recipe.frozen_backbone_stride:
        for layer in network.backbone.layers_up_to(recipe.frozen_backbone_stride):
            layer.requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)
