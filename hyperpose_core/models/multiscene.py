"""What the multi-scene networks share: from images to one descriptor a branch and the scene it belongs to.

The position branch reads the backbone's endpoint with stride 16, the orientation branch the one with stride
8. In each, a transformer turns the map into one descriptor a scene; the two descriptors of a scene say how
probable it is; those of the chosen scene go on to the heads (Shavit, Ferens and Keller, ICCV 2021).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperpose_core.models.backbones import Endpoints
from hyperpose_core.models.base import PoseModel, check_image_size
from hyperpose_core.models.options import ModelOptions, require
from hyperpose_core.models.precision import OutputLinear
from hyperpose_core.models.transformer import POSITIONS, LearnedPositions, Transformer

MULTI_SCENE_LIMIT = 8 * POSITIONS
"""Largest side of an image in pixels: positions are learned for so many rows and columns of stride 8."""

_LARGEST_LOGIT = 1e4


@dataclass(frozen=True)
class MultiSceneOptions(ModelOptions):
    """Options of the multi-scene networks.

    Attributes:
        scene_count: number of scenes.
        position_layers: encoder and decoder layers of the position branch.
        orientation_layers: encoder and decoder layers of the orientation branch.
        width: width of tokens and descriptors.
        feed_forward_width: width of the transformer's feed-forward layers.
        attention_heads: the released weights were trained with 8, whatever their configuration says.
        head_width: width of the fixed heads' hidden layer.
    """

    scene_count: int = 1
    position_layers: tuple[int, int] = (6, 6)
    orientation_layers: tuple[int, int] = (6, 6)
    width: int = 256
    feed_forward_width: int = 256
    attention_heads: int = 8
    head_width: int = 1024

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HyperPoseError: an impossible value; names the option.
        """
        for name in ("position_layers", "orientation_layers"):
            require(
                min(getattr(self, name)) >= 1, name, getattr(self, name), "[encoder, decoder], each 1 or more"
            )
        for name in ("scene_count", "feed_forward_width", "attention_heads", "head_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        good = self.width >= 2 and self.width % 2 == 0 and self.width % self.attention_heads == 0
        require(good, "width", self.width, f"an even multiple of attention_heads ({self.attention_heads})")
        super().__post_init__()


class Descriptors(NamedTuple):
    """What is known of N images before their poses are regressed.

    Attributes:
        position: [N, width], the position branch's descriptor of the chosen scene.
        orientation: [N, width], the orientation branch's.
        scene: [N] int64, index of the chosen scene.
        scene_log_probabilities: [N, S], finite.
        features: [N, F], see `PoseOutput`.
    """

    position: Tensor
    orientation: Tensor
    scene: Tensor
    scene_log_probabilities: Tensor
    features: Tensor


class Branch(nn.Module):
    """One branch: 1x1 convolution, transformer, one learned query a scene."""

    def __init__(self, channels: int, layers: tuple[int, int], options: MultiSceneOptions) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, options.width, kernel_size=1)
        self.transformer = Transformer(
            *layers,
            options.width,
            options.feed_forward_width,
            options.attention_heads,
            options.dropout,
        )
        self.queries = nn.Parameter(torch.randn(options.scene_count, options.width))

    def forward(self, feature_map: Tensor, positions: LearnedPositions) -> Tensor:
        """Map an endpoint [N, C, h, w] to descriptors [N, S, width]."""
        rows, columns = feature_map.shape[-2:]
        tokens = self.projection(feature_map).flatten(2).transpose(1, 2)
        return self.transformer(tokens, positions(rows, columns), self.queries)


class FixedHead(nn.Module):
    """The fixed head of a branch: linear, GELU, linear."""

    def __init__(self, width: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.output = OutputLinear(hidden, out_features)

    def forward(self, descriptor: Tensor) -> Tensor:
        """Map descriptors [N, width] to [N, out_features]."""
        return self.output(nn.functional.gelu(self.hidden(descriptor)))


class MultiSceneModel(PoseModel):
    """Backbone, transformers and scene classifier of the multi-scene networks; subclasses add the heads."""

    part_of_module = {
        "backbone": "backbone",
        "positions": "transformer",
        "position_branch": "transformer",
        "orientation_branch": "transformer",
        "scene_classifier": "scene",
        "position_head": "position_head",
        "orientation_head": "orientation_head",
    }

    def __init__(self, options: MultiSceneOptions) -> None:
        super().__init__(options)
        self.positions = LearnedPositions(options.width)
        self.position_branch = Branch(self.backbone.channels[1], options.position_layers, options)
        self.orientation_branch = Branch(self.backbone.channels[0], options.orientation_layers, options)
        self.scene_classifier = OutputLinear(2 * options.width, 1)

    @property
    def scene_count(self) -> int:
        """Number of scenes that the network tells apart."""
        return self.position_branch.queries.shape[0]

    def check_images(self, images: Tensor) -> None:
        """Refuse images of more than 400 pixels a side."""
        check_image_size(images, largest=MULTI_SCENE_LIMIT)

    def descriptors(self, endpoints: Endpoints, scene: Tensor | None) -> Descriptors:
        """Run both transformers and the scene classifier.

        Args:
            endpoints: the backbone's feature maps.
            scene: [N] int64, the true scene in training; None takes the most probable one.
        """
        position = self.position_branch(endpoints.stride16, self.positions)
        orientation = self.orientation_branch(endpoints.stride8, self.positions)
        logits = self.scene_classifier(torch.cat([position, orientation], dim=2)).squeeze(2)
        # A scene whose descriptor overflowed is no candidate: its NaN must not take the others along.
        logits = logits.nan_to_num(-_LARGEST_LOGIT).clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        log_probabilities = logits.log_softmax(dim=1)
        # Not of the logits: whoever reads the probabilities must find the same scene, rounding included.
        chosen = log_probabilities.argmax(dim=1) if scene is None else scene
        return Descriptors(
            select_scene(position, chosen),
            select_scene(orientation, chosen),
            chosen,
            log_probabilities,
            endpoints.summary(),
        )


def select_scene(descriptors: Tensor, scene: Tensor) -> Tensor:
    """Take from descriptors [N, S, width] those of the scenes [N]; no NaN of the others leaks."""
    index = scene.view(-1, 1, 1).expand(-1, 1, descriptors.shape[2])
    return descriptors.gather(1, index).squeeze(1)
