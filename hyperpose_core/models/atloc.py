"""AtLoc (Wang et al., AAAI 2020), and AtLoc with the paper's hypernetwork (paper, Section 4 and Table 4).

    x = ReLU(embedding(global average pooling of the backbone)), 2048 features
    A = softmax over the last axis of phi(x) theta(x)^T, 256 x 256 for each image
    z = x + expand(A g(x))
    fixed heads on dropout(z); `hyperatloc` adds generated heads on z itself

Files of the first AtLoc release predict the logarithm of a quaternion, v = (half the angle) * axis; option
`orientation_head: log_quaternion` reads it through the exponential map, (cos|v|, sin|v| / |v| * v).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hyperpose_core.geometry.torch_rotations import quaternion_exponential
from hyperpose_core.models.backbones import Endpoints
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.hypernetwork import GeneratedHead
from hyperpose_core.models.hyperpose import ORIENTATION_WIDTH, POSITION_WIDTH
from hyperpose_core.models.options import HypernetworkOptions, ModelOptions, require, require_choice
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.precision import OutputLinear

ORIENTATION_HEADS = ("quaternion", "log_quaternion")


@dataclass(frozen=True)
class AtLocOptions(ModelOptions):
    """Options of AtLoc.

    Attributes:
        embedding_width: width of the attended vector.
        attention_width: width of the attention's three projections.
        orientation_head: what the heads' numbers are, one of `ORIENTATION_HEADS`.
    """

    backbone: str = "resnet34"
    dropout: float = 0.5
    embedding_width: int = 2048
    attention_width: int = 256
    orientation_head: str = "quaternion"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HyperPoseError: an impossible value; names the option.
        """
        require(self.embedding_width >= 1, "embedding_width", self.embedding_width, "1 or more")
        require(self.attention_width >= 1, "attention_width", self.attention_width, "1 or more")
        require_choice("orientation_head", self.orientation_head, ORIENTATION_HEADS)
        super().__post_init__()

    @property
    def orientation_outputs(self) -> int:
        """Numbers that the orientation head gives."""
        return 4 if self.orientation_head == "quaternion" else 3


@dataclass(frozen=True)
class HyperAtLocOptions(HypernetworkOptions, AtLocOptions):
    """Options of AtLoc with hypernetwork: AtLoc's and those of its hypernetwork."""


class SelfAttention(nn.Module):
    """AtLoc's attention of a feature vector's components to each other."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.g = nn.Linear(features, width)
        self.theta = nn.Linear(features, width)
        self.phi = nn.Linear(features, width)
        self.expand = nn.Linear(width, features)

    def forward(self, features: Tensor) -> Tensor:
        """Attend over [N, features]; the result has the same shape."""
        scores = self.phi(features).unsqueeze(2) * self.theta(features).unsqueeze(1)
        attended = torch.bmm(scores.softmax(dim=-1), self.g(features).unsqueeze(2))
        return features + self.expand(attended.squeeze(2))


class AtLocDescription(NamedTuple):
    """What AtLoc's heads read.

    Attributes:
        attended: [N, embedding_width].
        features: [N, F], see `PoseOutput`.
    """

    attended: Tensor
    features: Tensor


class AtLoc(PoseModel):
    """AtLoc: ResNet-34, attention over its features, two linear heads."""

    architecture = "atloc"
    options_kind: ClassVar[type[ModelOptions]] = AtLocOptions
    description_kind = AtLocDescription
    part_of_module = {
        "backbone": "backbone",
        "embedding": "shared_head",
        "attention": "shared_head",
        "position_head": "position_head",
        "orientation_head": "orientation_head",
    }

    def __init__(self, options: AtLocOptions) -> None:
        super().__init__(options)
        self.embedding = nn.Linear(self.backbone.channels[2], options.embedding_width)
        self.attention = SelfAttention(options.embedding_width, options.attention_width)
        self.dropout = nn.Dropout(options.dropout)
        self.position_head = OutputLinear(options.embedding_width, 3)
        self.orientation_head = OutputLinear(options.embedding_width, options.orientation_outputs)
        self.is_logarithm = options.orientation_head == "log_quaternion"

    def describe(self, endpoints: Endpoints, scene: Tensor | None = None) -> AtLocDescription:
        """Embed the pooled final map and attend over it."""
        pooled = endpoints.final_map.mean((2, 3))
        attended = self.attention(nn.functional.relu(self.embedding(pooled)))
        return AtLocDescription(attended, endpoints.summary())

    def regress(self, description: AtLocDescription) -> PoseOutput:
        """Run both heads."""
        hidden = self.dropout(description.attended)
        position, orientation = self.position_head(hidden), self.orientation_head(hidden)
        return self._as_pose(position, orientation, description.features)

    def _as_pose(self, position: Tensor, orientation: Tensor, features: Tensor) -> PoseOutput:
        if self.is_logarithm:
            orientation = quaternion_exponential(orientation)
        return PoseOutput(position, orientation, features=features)


class HyperAtLoc(AtLoc):
    """AtLoc, to whose heads generated heads are added; those read the attended vector before dropout."""

    architecture = "hyperatloc"
    options_kind = HyperAtLocOptions
    part_of_module = {
        **AtLoc.part_of_module,
        "position_hypernetwork": "position_hypernetwork",
        "orientation_hypernetwork": "orientation_hypernetwork",
    }

    def __init__(self, options: HyperAtLocOptions) -> None:
        super().__init__(options)
        features = options.embedding_width
        generator = (options.generator_width, options.hypernetwork_initialisation)
        outputs = options.orientation_outputs
        self.position_hypernetwork = GeneratedHead(features, POSITION_WIDTH, 3, *generator)
        self.orientation_hypernetwork = GeneratedHead(features, ORIENTATION_WIDTH, outputs, *generator)

    def regress(self, description: AtLocDescription) -> PoseOutput:
        """Add up the fixed and the generated heads."""
        attended, features = description
        hidden = self.dropout(attended)
        return self._as_pose(
            self.position_head(hidden) + self.position_hypernetwork(attended),
            self.orientation_head(hidden) + self.orientation_hypernetwork(attended),
            features,
        )
