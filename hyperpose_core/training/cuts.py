"""Where a stage's network is cut: what lies before the cut is frozen, so its outputs can be kept.

A frozen part without dropout and with frozen batch norm gives the same outputs for the same images in every
epoch. Which part that is follows from the stage and the recipe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.training.recipe import Recipe, Stage

_BRANCHES = ("position_head", "orientation_head", "position_hypernetwork", "orientation_hypernetwork")


class Cut(ABC):
    """A place between two parts of a network.

    Attributes:
        is_behind_frozen_part: whether anything that can be kept lies before the cut.
    """

    is_behind_frozen_part = True

    @abstractmethod
    def before(self, network: PoseModel, images: Tensor, scenes: Tensor) -> tuple[Tensor, ...]:
        """Run what lies before the cut on images [N, 3, H, W] of scenes [N]; tensors [N, ...]."""

    @abstractmethod
    def after(self, network: PoseModel, features: tuple[Tensor, ...], scenes: Tensor) -> PoseOutput:
        """Run what lies behind the cut on what `before` gave."""

    @abstractmethod
    def frozen_state(self, network: PoseModel) -> Mapping[str, Tensor]:
        """Return the parameters and buffers that `before` depends on."""


class AtImages(Cut):
    """Nothing is frozen: the features are the images."""

    is_behind_frozen_part = False

    def before(self, network: PoseModel, images: Tensor, scenes: Tensor) -> tuple[Tensor, ...]:
        """Return the images."""
        return (images,)

    def after(self, network: PoseModel, features: tuple[Tensor, ...], scenes: Tensor) -> PoseOutput:
        """Run the whole network."""
        return network(features[0], scenes)

    def frozen_state(self, network: PoseModel) -> Mapping[str, Tensor]:
        """Return nothing."""
        return {}


class AtEndpoints(Cut):
    """The backbone is frozen up to a stride: the features are its endpoints up to there."""

    def __init__(self, stride: int, network: PoseModel) -> None:
        """Cut behind the endpoint with a stride of 8, 16 or 32, or the deepest that the network needs."""
        self._stride = min(stride, network.deepest_stride)

    def before(self, network: PoseModel, images: Tensor, scenes: Tensor) -> tuple[Tensor, ...]:
        """Run the frozen layers of the backbone."""
        network.check_images(images)
        if self._stride == 8:
            return (network.backbone.to_stride8(images),)
        endpoints = network.backbone(images, self._stride)
        return tuple(endpoint for endpoint in endpoints if endpoint is not None)

    def after(self, network: PoseModel, features: tuple[Tensor, ...], scenes: Tensor) -> PoseOutput:
        """Run the rest of the backbone and what follows it."""
        endpoints = network.backbone.deepened(features, network.deepest_stride)
        return network.regress(network.describe(endpoints, scenes))

    def frozen_state(self, network: PoseModel) -> Mapping[str, Tensor]:
        """Return the frozen layers' tensors."""
        layers = network.backbone.layers_up_to(self._stride)
        return {
            f"{place}.{name}": tensor
            for place, layer in enumerate(layers)
            for name, tensor in layer.state_dict().items()
        }


class AtDescription(Cut):
    """One branch is trained: the features are what both branches read."""

    def before(self, network: PoseModel, images: Tensor, scenes: Tensor) -> tuple[Tensor, ...]:
        """Run everything but the branches."""
        network.check_images(images)
        return network.describe(network.backbone(images, network.deepest_stride), scenes)

    def after(self, network: PoseModel, features: tuple[Tensor, ...], scenes: Tensor) -> PoseOutput:
        """Run the branches."""
        return network.regress(network.description_kind(*features))

    def frozen_state(self, network: PoseModel) -> Mapping[str, Tensor]:
        """Return the tensors of everything but the branches, which are the same in both of their stages."""
        return {
            name: tensor
            for name, tensor in network.state_dict().items()
            if network.part_of(name) not in _BRANCHES
        }


def cut_of(stage: Stage, recipe: Recipe, network: PoseModel) -> Cut:
    """Return the deepest cut of a stage with nothing but frozen layers before it."""
    if stage.trains != "everything":
        return AtDescription()
    if recipe.frozen_backbone_stride:
        return AtEndpoints(recipe.frozen_backbone_stride, network)
    return AtImages()
