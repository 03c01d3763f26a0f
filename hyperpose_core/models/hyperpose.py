"""HyperPose: the baseline APR with a hypernetwork (paper, Section 3.2 and Figure 2).

f = global average pooling of the backbone
fixed heads as in PoseNet
for each branch: W = generator(swish(hidden(condition(f)))), generated = [inputs(f), 1] W
position = fixed position + generated position, and so the orientation
"""

from dataclasses import dataclass

from torch import Tensor

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


class HyperPose(PoseModel):
    """The baseline APR, to whose heads generated heads are added. Dropout touches the fixed heads only."""

    architecture = "hyperpose"
    options_kind = HyperPoseOptions
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

    def forward(self, images: Tensor, scene: Tensor | None = None) -> PoseOutput:
        """Regress poses of images [N, 3, H, W]; see `PoseModel.forward`."""
        check_image_size(images, exact=self.shared_head.input_size)
        endpoints = self.backbone(images)
        feature_map = endpoints.stride32
        pooled = feature_map.mean((2, 3))
        hidden = self.shared_head(feature_map, pooled)
        return PoseOutput(
            position=self.position_head(hidden) + self.position_hypernetwork(pooled),
            orientation=self.orientation_head(hidden) + self.orientation_hypernetwork(pooled),
            features=endpoints.summary(),
        )
