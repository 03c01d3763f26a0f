"""PoseNet, the paper's baseline APR (`effposenet` in the released code; paper, Section 3.1 and Table 1).

    f = global average pooling of the backbone
    h = dropout(ReLU(shared_head(f)))
    position = position_head(h), orientation = orientation_head(h)

Beyond the paper, the final feature map may go into the shared layer beside the pooled vector. Pooling
forgets where in the image a feature was seen; the map, reduced by a 1x1 convolution, keeps it, and binds
the network to one image size.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperpose_core.models.backbones import Backbone, Endpoints
from hyperpose_core.models.base import PoseModel, check_image_size
from hyperpose_core.models.options import ModelOptions, require
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.precision import OutputLinear


@dataclass(frozen=True)
class PoseNetOptions(ModelOptions):
    """Options of PoseNet.

    Attributes:
        hidden_width: width of the shared layer.
        feature_map_channels: channels of the reduced feature map beside the pooled vector; 0 (the paper)
            for none.
        input_size: (height, width) of the images in pixels; needed where `feature_map_channels` is not 0.
    """

    hidden_width: int = 1024
    feature_map_channels: int = 0
    input_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HyperPoseError: an impossible value; names the option.
        """
        require(self.hidden_width >= 1, "hidden_width", self.hidden_width, "1 or more")
        require(
            self.feature_map_channels >= 0,
            "feature_map_channels",
            self.feature_map_channels,
            "0 (none) or more",
        )
        if self.feature_map_channels:
            good = self.input_size is not None and min(self.input_size) >= 32
            require(
                good,
                "input_size",
                self.input_size,
                "[height, width] in pixels, needed by feature_map_channels",
            )
        super().__post_init__()


class SharedHead(nn.Module):
    """The layer that both fixed heads read: ReLU(linear([f, feature map])), then dropout."""

    def __init__(self, backbone: Backbone, options: PoseNetOptions) -> None:
        super().__init__()
        in_features = backbone.channels[2]
        self.reduction: nn.Conv2d | None = None
        self.input_size = None
        if options.feature_map_channels and options.input_size is not None:
            self.input_size = options.input_size
            self.reduction = nn.Conv2d(backbone.channels[2], options.feature_map_channels, kernel_size=1)
            rows, columns = backbone.final_map_size(*options.input_size)
            in_features += options.feature_map_channels * rows * columns
        self.linear = nn.Linear(in_features, options.hidden_width)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, feature_map: Tensor, pooled: Tensor) -> Tensor:
        """Map the feature map [N, C, h, w] and its mean [N, C] to [N, hidden_width]."""
        if self.reduction is not None:
            pooled = torch.cat([pooled, self.reduction(feature_map).flatten(1)], dim=1)
        return self.dropout(nn.functional.relu(self.linear(pooled)))


class PoseNetDescription(NamedTuple):
    """What PoseNet's heads read.

    Attributes:
        hidden: [N, hidden_width], the shared layer's.
        features: [N, F], see `PoseOutput`.
    """

    hidden: Tensor
    features: Tensor


class PoseNet(PoseModel):
    """The baseline APR: one fully connected layer and two linear heads on pooled features."""

    architecture = "posenet"
    options_kind = PoseNetOptions
    description_kind = PoseNetDescription
    part_of_module = {
        "backbone": "backbone",
        "shared_head": "shared_head",
        "position_head": "position_head",
        "orientation_head": "orientation_head",
    }

    def __init__(self, options: PoseNetOptions) -> None:
        super().__init__(options)
        self.shared_head = SharedHead(self.backbone, options)
        self.position_head = OutputLinear(options.hidden_width, 3)
        self.orientation_head = OutputLinear(options.hidden_width, 4)

    def check_images(self, images: Tensor) -> None:
        """Refuse images of another size than the feature map's, where it is used."""
        check_image_size(images, exact=self.shared_head.input_size)

    def describe(self, endpoints: Endpoints, scene: Tensor | None = None) -> PoseNetDescription:
        """Run the shared layer on the backbone's final map."""
        feature_map = endpoints.final_map
        hidden = self.shared_head(feature_map, feature_map.mean((2, 3)))
        return PoseNetDescription(hidden, endpoints.summary())

    def regress(self, description: PoseNetDescription) -> PoseOutput:
        """Run both heads."""
        hidden = description.hidden
        return PoseOutput(
            self.position_head(hidden), self.orientation_head(hidden), features=description.features
        )
