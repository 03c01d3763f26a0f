"""HyperPose: the baseline APR with a hypernetwork (paper, Section 3.2 and Figure 2).

f = global average pooling of the backbone
fixed heads as in PoseNet
for each branch: W = generator(swish(hidden(condition(f)))), generated = [inputs(f), 1] W
position = fixed position + generated position, and so the orientation
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from hyperpose_core.models.backbones import Endpoints
from hyperpose_core.models.base import PoseModel, check_image_size
from hyperpose_core.models.hypernetwork import GeneratedHead
from hyperpose_core.models.options import HypernetworkOptions
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.posenet import PoseNetOptions, SharedHead
from hyperpose_core.models.precision import OutputLinear

POSITION_WIDTH = 256
ORIENTATION_WIDTH = 512


@dataclass(frozen=True)
class HyperPoseOptions(HypernetworkOptions, PoseNetOptions):
    """Options of HyperPose: PoseNet's and those of its hypernetwork."""


class HyperPoseDescription(NamedTuple):
    """What HyperPose's branches read.

    Attributes:
        hidden: [N, hidden_width], the fixed heads' shared layer.
        pooled: [N, C], the mean of the backbone's final map.
        features: [N, F], see `PoseOutput`.
    """

    hidden: Tensor
    pooled: Tensor
    features: Tensor


class HyperPose(PoseModel):
    """The baseline APR, to whose heads generated heads are added. Dropout touches the fixed heads only."""

    architecture = "hyperpose"
    options_kind = HyperPoseOptions
    description_kind = HyperPoseDescription
    part_of_module = {
        "backbone": "backbone",
        "shared_head": "shared_head",
        "position_head": "position_head",
        "orientation_head": "orientation_head",
        "position_hypernetwork": "position_hypernetwork",
        "orientation_hypernetwork": "orientation_hypernetwork",
    }

    def __init__(self, options: HyperPoseOptions) -> None:
        super().__init__(options)
        self.shared_head = SharedHead(self.backbone, options)
        self.position_head = OutputLinear(options.hidden_width, 3)
        self.orientation_head = OutputLinear(options.hidden_width, 4)
        features = self.backbone.channels[2]
        generator = (options.generator_width, options.hypernetwork_initialisation)
        self.position_hypernetwork = GeneratedHead(features, POSITION_WIDTH, 3, *generator)
        self.orientation_hypernetwork = GeneratedHead(features, ORIENTATION_WIDTH, 4, *generator)

    def check_images(self, images: Tensor) -> None:
        """Refuse images of another size than the feature map's, where it is used."""
        check_image_size(images, exact=self.shared_head.input_size)

    def describe(self, endpoints: Endpoints, scene: Tensor | None = None) -> HyperPoseDescription:
        """Pool the backbone's final map and run the shared layer."""
        feature_map = endpoints.final_map
        pooled = feature_map.mean((2, 3))
        return HyperPoseDescription(self.shared_head(feature_map, pooled), pooled, endpoints.summary())

    def regress(self, description: HyperPoseDescription) -> PoseOutput:
        """Add up the fixed and the generated heads."""
        hidden, pooled, features = description
        return PoseOutput(
            position=self.position_head(hidden) + self.position_hypernetwork(pooled),
            orientation=self.orientation_head(hidden) + self.orientation_hypernetwork(pooled),
            features=features,
        )
