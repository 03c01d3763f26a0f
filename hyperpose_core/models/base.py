"""What all pose networks have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.backbones import Endpoints, build_backbone, load_pretrained_weights
from hyperpose_core.models.options import ModelOptions, options_as_data
from hyperpose_core.models.output import PoseOutput

PARTS = (
    "backbone",
    "transformer",
    "scene",
    "shared_head",
    "position_head",
    "orientation_head",
    "position_hypernetwork",
    "orientation_hypernetwork",
)
"""Parts that the parameters of a network belong to; `shared_head` is what both branches of a head read."""

SMALLEST_SIDE = 32


class PoseModel(nn.Module):
    """A network that regresses the pose of the camera from an image.

    A forward pass changes nothing on the module in evaluation mode, so threads may share it.

    Attributes:
        architecture: name in the registry.
        options_kind: the dataclass of the architecture's options.
        part_of_module: the part that each direct child belongs to.
        description_kind: the named tuple of tensors that the heads of both branches read.
        deepest_stride: of the backbone's endpoints that are needed, 16 or 32.
        model_options: the options that this network was built from.
        backbone: the image backbone.
    """

    architecture: ClassVar[str]
    options_kind: ClassVar[type[ModelOptions]] = ModelOptions
    part_of_module: ClassVar[Mapping[str, str]]
    description_kind: ClassVar[type[tuple[Tensor, ...]]]
    deepest_stride: ClassVar[int] = 32

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.model_options = options
        self.backbone = build_backbone(options.backbone, options.stochastic_depth)

    def forward(self, images: Tensor, scene: Tensor | None = None) -> PoseOutput:
        """Regress poses.

        Args:
            images: [N, 3, H, W], float32, normalised as the checkpoint's preprocessing says.
            scene: [N] int64, the true scene's index in training of a multi-scene network; None lets the
                network choose. Single-scene networks ignore it.

        Raises:
            HyperPoseError: images of a size that the network cannot take.
        """
        self.check_images(images)
        return self.regress(self.describe(self.backbone(images, self.deepest_stride), scene))

    def check_images(self, images: Tensor) -> None:
        """Refuse images [N, 3, H, W] that the network cannot take.

        Raises:
            HyperPoseError: says what would be right.
        """
        check_image_size(images)

    def describe(self, endpoints: Endpoints, scene: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute from the backbone's endpoints what the branches read, a `description_kind`.

        Args:
            endpoints: of N images.
            scene: as in `forward`.
        """
        raise NotImplementedError

    # Each architecture's own kind of description.
    def regress(self, description: Any) -> PoseOutput:
        """Compute the poses from what `describe` gave."""
        raise NotImplementedError

    @property
    def options(self) -> dict[str, object]:
        """Options as plain JSON data: `build_model(architecture, options)` builds the same network."""
        return options_as_data(self.model_options)

    @property
    def scene_count(self) -> int | None:
        """Number of scenes of a multi-scene network, None for a single-scene one."""
        return None

    def part_of(self, name: str) -> str:
        """Give the part (one of `PARTS`) that a parameter or buffer belongs to.

        Args:
            name: as in `named_parameters()` or `state_dict()`.

        Raises:
            KeyError: the network has no such tensor.
        """
        return self.part_of_module[name.split(".", 1)[0]]

    def load_pretrained_backbone(self) -> None:
        """Fill the backbone with its ImageNet weights.

        Raises:
            HyperPoseError: the weights cannot be had on this machine.
        """
        self.backbone.load_state_dict(load_pretrained_weights(self.model_options.backbone))


def check_image_size(
    images: Tensor, largest: int | None = None, exact: tuple[int, int] | None = None
) -> None:
    """Refuse images that a network cannot take.

    Args:
        images: [N, 3, H, W].
        largest: largest side in pixels, None for no limit.
        exact: the one (height, width) that the network was built for, None for any.

    Raises:
        HyperPoseError: the images' shape is wrong; says what would be right.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise HyperPoseError(f"expected images of shape [N, 3, H, W], found {list(images.shape)}")
    height, width = images.shape[-2:]
    if exact is not None and (height, width) != exact:
        raise HyperPoseError(
            f"images of {width}x{height} pixels: this network was built for {exact[1]}x{exact[0]} "
            "(option input_size)"
        )
    if min(height, width) < SMALLEST_SIDE:
        raise HyperPoseError(
            f"images of {width}x{height} pixels are too small: both sides must have at least {SMALLEST_SIDE}"
        )
    if largest is not None and max(height, width) > largest:
        raise HyperPoseError(
            f"images of {width}x{height} pixels are too large: this network learned positions for up to "
            f"{largest}x{largest}"
        )
