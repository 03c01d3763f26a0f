"""MS-Transformer (Shavit, Ferens and Keller, ICCV 2021), the multi-scene baseline (paper, Table 3).

    descriptors of the chosen scene as in `multiscene.py`
    position = head(position descriptor), orientation = head(orientation descriptor)

The heads are one a scene (`mstransposenet` in the released code) or shared by all (`emstransposenet`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hyperpose_core.models.backbones import Endpoints
from hyperpose_core.models.multiscene import Descriptors, FixedHead, MultiSceneModel, MultiSceneOptions
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.precision import full_precision


@dataclass(frozen=True)
class MSTransformerOptions(MultiSceneOptions):
    """Options of MS-Transformer.

    Attributes:
        heads_per_scene: one pair of heads a scene, or one pair for all.
    """

    heads_per_scene: bool = True


class SceneLinear(nn.Module):
    """A linear layer of each scene's own; a sample goes through its scene's only."""

    def __init__(self, scene_count: int, in_features: int, out_features: int) -> None:
        super().__init__()
        layers = [nn.Linear(in_features, out_features) for _ in range(scene_count)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, inputs: Tensor, scene: Tensor) -> Tensor:
        """Map inputs [N, in_features] of scenes [N] to [N, out_features]."""
        weight = self.weight[scene].transpose(1, 2)
        return torch.baddbmm(self.bias[scene].unsqueeze(1), inputs.unsqueeze(1), weight).squeeze(1)


class SceneHead(nn.Module):
    """The fixed head of a branch, one a scene."""

    def __init__(self, scene_count: int, width: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.hidden = SceneLinear(scene_count, width, hidden)
        self.output = SceneLinear(scene_count, hidden, out_features)

    def forward(self, descriptor: Tensor, scene: Tensor) -> Tensor:
        """Map descriptors [N, width] of scenes [N] to [N, out_features]."""
        hidden = nn.functional.gelu(self.hidden(descriptor, scene))
        with full_precision(hidden):
            return self.output(hidden.to(self.output.weight.dtype), scene)


class SharedSceneHead(FixedHead):
    """The fixed head of a branch, the same for all scenes."""

    def forward(self, descriptor: Tensor, scene: Tensor | None = None) -> Tensor:
        """Map descriptors [N, width] to [N, out_features]."""
        return super().forward(descriptor)


class MSTransformer(MultiSceneModel):
    """MS-Transformer. It needs no endpoint with stride 32: the layers behind are neither run nor trained."""

    architecture = "mstransformer"
    options_kind = MSTransformerOptions
    description_kind = Descriptors
    deepest_stride = 16

    def __init__(self, options: MSTransformerOptions) -> None:
        super().__init__(options)
        sizes = (options.width, options.head_width)
        if options.heads_per_scene:
            self.position_head: nn.Module = SceneHead(options.scene_count, *sizes, 3)
            self.orientation_head: nn.Module = SceneHead(options.scene_count, *sizes, 4)
        else:
            self.position_head = SharedSceneHead(*sizes, 3)
            self.orientation_head = SharedSceneHead(*sizes, 4)
        for module in self.backbone.last_layers():
            module.requires_grad_(False)

    def describe(self, endpoints: Endpoints, scene: Tensor | None = None) -> Descriptors:
        """Run both transformers and the scene classifier."""
        return self.descriptors(endpoints, scene)

    def regress(self, description: Descriptors) -> PoseOutput:
        """Run both heads."""
        return PoseOutput(
            self.position_head(description.position, description.scene),
            self.orientation_head(description.orientation, description.scene),
            description.scene_log_probabilities,
            description.features,
        )
