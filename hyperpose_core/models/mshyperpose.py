"""MS-HyperPose: MS-Transformer with a hypernetwork in each branch (paper, Section 3.3 and Figure 3).

    d = descriptor of the chosen scene as in `multiscene.py`, f = global average pooling of the backbone
    u = d + condition(f)
    W_i = generator_i(swish(hidden_i(u))) for the three generated layers i of a branch
    generated = layer_2(swish(layer_1(swish(layer_0(d)))))
    pose = fixed head(d) + generated, branch by branch

The generators hold nine tenths of the parameters.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from hyperpose_core.models.backbones import Endpoints
from hyperpose_core.models.hypernetwork import GeneratedLinear
from hyperpose_core.models.multiscene import FixedHead, MultiSceneModel, MultiSceneOptions
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


class MSHyperPoseDescription(NamedTuple):
    """What MS-HyperPose's branches read.

    Attributes:
        position: see `Descriptors`, as the next four.
        orientation: [N, width].
        scene: [N].
        scene_log_probabilities: [N, S].
        features: [N, F].
        pooled: [N, C], the mean of the backbone's final map.
    """

    position: Tensor
    orientation: Tensor
    scene: Tensor
    scene_log_probabilities: Tensor
    features: Tensor
    pooled: Tensor


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
    description_kind = MSHyperPoseDescription
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

    def describe(self, endpoints: Endpoints, scene: Tensor | None = None) -> MSHyperPoseDescription:
        """Run both transformers and the scene classifier, and pool the backbone's final map."""
        described = self.descriptors(endpoints, scene)
        return MSHyperPoseDescription(*described, endpoints.final_map.mean((2, 3)))

    def regress(self, description: MSHyperPoseDescription) -> PoseOutput:
        """Add up the fixed and the generated heads."""
        position, orientation, pooled = description.position, description.orientation, description.pooled
        return PoseOutput(
            self.position_head(position) + self.position_hypernetwork(position, pooled),
            self.orientation_head(orientation) + self.orientation_hypernetwork(orientation, pooled),
            description.scene_log_probabilities,
            description.features,
        )
