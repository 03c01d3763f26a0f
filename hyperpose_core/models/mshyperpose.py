"""MS-HyperPose: MS-Transformer with a hypernetwork in each branch (paper, Section 3.3 and Figure 3).

    d = descriptor of the chosen scene as in `multiscene.py`, f = global average pooling of the backbone
    u = d + condition(f)
    W_i = generator_i(swish(hidden_i(u))) for the three generated layers i of a branch
    generated = layer_2(swish(layer_1(swish(layer_0(d)))))
    pose = fixed head(d) + generated, branch by branch

The generators hold nine tenths of the parameters.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from hyperpose_core.models.base import check_image_size
from hyperpose_core.models.hypernetwork import GeneratedLinear
from hyperpose_core.models.multiscene import MULTI_SCENE_LIMIT, FixedHead, MultiSceneModel, MultiSceneOptions
from hyperpose_core.models.options import HypernetworkOptions, require
from hyperpose_core.models.output import PoseOutput

POSITION_WIDTHS = (256, 128)
ORIENTATION_WIDTHS = (512, 512)


@dataclass(frozen=True)
class MSHyperPoseOptions(HypernetworkOptions, MultiSceneOptions):
    """Options of MS-HyperPose.

    Attributes:
        position_generated_widths: widths of the position branch's two hidden generated layers.
        orientation_generated_widths: widths of the orientation branch's.
    """

    position_layers: tuple[int, int] = (4, 4)
    orientation_layers: tuple[int, int] = (4, 4)
    position_generated_widths: tuple[int, int] = POSITION_WIDTHS
    orientation_generated_widths: tuple[int, int] = ORIENTATION_WIDTHS

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HyperPoseError: an impossible value; names the option.
        """
        for name in ("position_generated_widths", "orientation_generated_widths"):
            require(min(getattr(self, name)) >= 1, name, getattr(self, name), "two widths of 1 or more")
        super().__post_init__()


class GeneratedBranch(nn.Module):
    """The hypernetwork of a branch: three generated layers on the descriptor.

    Args:
        pooled_features: width of the backbone's pooled features.
        widths: widths of the two hidden generated layers.
        out_features: 3 for positions, 4 for quaternions.
        options: the network's options.
    """

    def __init__(
        self, pooled_features: int, widths: tuple[int, int], out_features: int, options: MSHyperPoseOptions
    ) -> None:
        super().__init__()
        width = options.width
        generator_width = options.generator_width or width
        self.condition = nn.Linear(pooled_features, width)
        if options.hypernetwork_initialisation == "released":
            nn.init.kaiming_normal_(self.condition.weight)
        sizes = (width, *widths, out_features)
        self.layers = nn.ModuleList()
        for index in range(3):
            is_last = index == 2
            layer = GeneratedLinear(
                width, sizes[index], sizes[index + 1], generator_width, keep_precision=is_last
            )
            layer.initialise(options.hypernetwork_initialisation, starts_at_zero=is_last)
            self.layers.append(layer)

    def forward(self, descriptor: Tensor, pooled: Tensor) -> Tensor:
        """Map descriptors [N, width] and pooled features [N, C] to [N, out_features]."""
        condition = descriptor + self.condition(pooled)
        first, second, last = self.layers
        hidden = nn.functional.silu(first(descriptor, condition))
        hidden = nn.functional.silu(second(hidden, condition))
        return last(hidden, condition)


class MSHyperPose(MultiSceneModel):
    """MS-HyperPose: fixed heads shared by all scenes, plus heads generated for each image."""

    architecture = "mshyperpose"
    options_kind = MSHyperPoseOptions
    part_of_module = {
        **MultiSceneModel.part_of_module,
        "position_hypernetwork": "position_hypernetwork",
        "orientation_hypernetwork": "orientation_hypernetwork",
    }

    def __init__(self, options: MSHyperPoseOptions) -> None:
        super().__init__(options)
        self.position_head = FixedHead(options.width, options.head_width, 3)
        self.orientation_head = FixedHead(options.width, options.head_width, 4)
        pooled = self.backbone.channels[2]
        self.position_hypernetwork = GeneratedBranch(pooled, options.position_generated_widths, 3, options)
        self.orientation_hypernetwork = GeneratedBranch(
            pooled, options.orientation_generated_widths, 4, options
        )

    def forward(self, images: Tensor, scene: Tensor | None = None) -> PoseOutput:
        """Regress poses of images [N, 3, H, W], at most 400 pixels a side; see `PoseModel.forward`."""
        check_image_size(images, largest=MULTI_SCENE_LIMIT)
        endpoints = self.backbone(images)
        described = self.describe(endpoints, scene)
        pooled = endpoints.stride32.mean((2, 3))
        position, orientation = described.position, described.orientation
        return PoseOutput(
            self.position_head(position) + self.position_hypernetwork(position, pooled),
            self.orientation_head(orientation) + self.orientation_hypernetwork(orientation, pooled),
            described.scene_log_probabilities,
            endpoints.summary(),
        )
