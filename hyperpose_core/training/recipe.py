"""Training recipes: YAML in, checked when read."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES
from hyperpose_core.models.registry import default_options
from hyperpose_core.untrusted import parse_yaml, reading

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=_STRICT)
class Schedule:
    """How the learning rate changes.

    Attributes:
        kind: "step" multiplies it by `factor` every `step_epochs`; "one_cycle" raises it over the first
            `warm_up` of all steps and then lets it fall to zero along a cosine.
        step_epochs: epochs between two steps.
        factor: what a step multiplies by.
        warm_up: fraction of all steps.
    """

    kind: Literal["step", "one_cycle"] = "one_cycle"
    step_epochs: int = Field(default=10, gt=0)
    factor: float = Field(default=0.75, gt=0, le=1)
    warm_up: float = Field(default=0.15, gt=0, lt=1)


@dataclass(frozen=True, config=_STRICT)
class LossRecipe:
    """The pose loss (see `hyperpose_core.losses`).

    Attributes:
        position: distance of positions, see `position_loss`.
        orientation: distance of orientations, see `orientation_loss`.
        position_weight: s_x at the start.
        orientation_weight: s_q at the start.
    """

    position: Literal["euclidean", "l1"] = "euclidean"
    orientation: Literal["paper", "hemisphere", "geodesic", "log_quaternion"] = "hemisphere"
    position_weight: float = 0.0
    orientation_weight: float = 0.0


@dataclass(frozen=True, config=_STRICT)
class Stage:
    """One stage of training; everything outside what it trains is frozen, batch norm and dropout included.

    Attributes:
        trains: "everything" with the learned weighting of the losses; "position" or "orientation": only that
            branch's head and hypernetwork, with that branch's loss alone (paper, Section 4).
        epochs: passes over the training images; null takes the recipe's.
        learning_rate: at the schedule's peak; null takes the recipe's.
    """

    trains: Literal["everything", "position", "orientation"] = "everything"
    epochs: int | None = Field(default=None, gt=0)
    learning_rate: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, config=_STRICT)
class Augmentation:
    """What is varied in training images.

    Attributes:
        random_crop: cut the crop anywhere instead of in the centre.
        brightness: largest relative change.
        contrast: largest relative change.
        saturation: largest relative change.
        hue: largest turn of the colour wheel, as a fraction of a full turn.
        motion_blur_px: longest smear, pixels of the network's input.
        virtual_rotation_deg: rotation augmentation: largest virtual rotation about each of the camera's axes,
            degrees; the label is rotated along. Needs the camera's intrinsics.
        virtual_translation_m: view synthesis: largest virtual translation along each of the camera's axes,
            metres; the label moves along. Needs the camera's intrinsics, and training images whose views
            overlap, from which the depth of each is estimated.
        virtual_interpolation_m: moves the camera virtually up to half the way to another training image at
            most so far away, metres, chosen by chance, and turns it along: places between the images, gaps
            in their sweep included. Needs what `virtual_translation_m` needs.
    """

    random_crop: bool = True
    brightness: float = Field(default=0.5, ge=0, lt=1)
    contrast: float = Field(default=0.5, ge=0, lt=1)
    saturation: float = Field(default=0.5, ge=0, lt=1)
    hue: float = Field(default=0.2, ge=0, le=0.5)
    motion_blur_px: float = Field(default=0.0, ge=0, le=32)
    virtual_rotation_deg: float = Field(default=0.0, ge=0, lt=45)
    virtual_translation_m: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    virtual_interpolation_m: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @property
    def synthesizes_views(self) -> bool:
        """Whether images are moved, for which their depth has to be known."""
        return self.virtual_translation_m > 0 or self.virtual_interpolation_m > 0


@dataclass(frozen=True, config=_STRICT)
class ValidationRecipe:
    """Which frames are held out of training: whole blocks of a sequence, so that they aren't neighbours.

    Attributes:
        fraction: how much of the frames, 0 to hold out none.
        block: frames a block.
    """

    fraction: float = Field(default=0.1, ge=0, lt=0.9)
    block: int = Field(default=20, gt=0)


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """Everything that decides a training run but the data, the seed and the device.

    Attributes:
        model: a name of the model registry.
        model_options: that model's options.
        pretrained: start the backbone from ImageNet weights.
        frozen_backbone_stride: the backbone stays as it was loaded up to this stride (8, 16 or 32);
            0 trains them all. Up to 8 leaves out the backward pass through the largest maps.
        batch_norm_momentum: share of a batch in the running statistics that inference uses; null keeps the
            backbone's own, which for EfficientNets (0.01) lags hundreds of steps behind, too many for short
            runs.
        resize: shorter side in pixels, or [height, width].
        crop: side of the square cut out, pixels; null keeps the whole image.
        batch_size: images a step.
        balance_scenes: draw equally often from every scene, whatever its share of the images.
        epochs: passes over the training images in a stage.
        stages: what is trained, one after the other.
        optimizer: "adam" or "adamw".
        learning_rate: at the schedule's peak.
        weight_decay: of the optimizer.
        epsilon: of the optimizer.
        schedule: how the learning rate changes.
        loss: the pose loss.
        augmentation: what is varied.
        validation: what is held out.
        normalise_positions: take the training positions' mean and deviation out.
        feature_variants: of how many augmented variants of each image a stage keeps, on disk, what its frozen
            layers give, instead of running them in every epoch: the augmentation then repeats itself after
            so many epochs. 0 keeps none; null keeps one where the augmentation varies nothing, so that
            nothing is lost.
        precision: "float32", "bfloat16" (autocast), or "auto": bfloat16 on CUDA, float32 on the CPU.
        on_bad_batch: "stop" at a batch whose loss is not finite, or "skip" it; its files are named.
    """

    model: str = "hyperpose"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool = True
    frozen_backbone_stride: Literal[0, 8, 16, 32] = 0
    batch_norm_momentum: float | None = Field(default=None, gt=0, le=1)
    resize: int | tuple[int, int] = 256
    crop: int | None = Field(default=224, gt=0)
    batch_size: int = Field(default=8, gt=1)
    balance_scenes: bool = False
    epochs: int = Field(default=10, gt=0)
    stages: list[Stage] = Field(default_factory=lambda: [Stage()], min_length=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    epsilon: float = Field(default=1e-8, gt=0)
    schedule: Schedule = field(default_factory=lambda: Schedule())
    loss: LossRecipe = field(default_factory=lambda: LossRecipe())
    augmentation: Augmentation = field(default_factory=lambda: Augmentation())
    validation: ValidationRecipe = field(default_factory=lambda: ValidationRecipe())
    normalise_positions: bool = True
    feature_variants: int | None = Field(default=None, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    on_bad_batch: Literal["stop", "skip"] = "stop"

    @field_validator("resize", mode="before")
    @classmethod
    def _check_resize(cls, value: object) -> object:
        # A union's own errors say what is wrong with the last of its kinds only.
        sizes = tuple(value) if isinstance(value, (list, tuple)) and len(value) == 2 else (value,)
        if not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError("expected the shorter side in pixels, or [height, width]")
        return sizes if len(sizes) == 2 else value

    def stage_epochs(self) -> list[int]:
        """Return how many epochs each stage takes."""
        return [stage.epochs or self.epochs for stage in self.stages]


_RECIPE = TypeAdapter(Recipe)


def recipe_from_dict(data: Mapping[str, Any], origin: str) -> Recipe:
    """Check plain data and build a recipe from it.

    Args:
        data: what a YAML file held.
        origin: what to call it in an error.

    Raises:
        HyperPoseError: a key is unknown, or a value has the wrong type or is impossible; the message names
            the key and what would be right.
    """
    try:
        with reading(origin, "recipe"):
            document = json.dumps(data, default=str)
        # Strict checking takes mappings for dataclasses in JSON only.
        return _RECIPE.validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise HyperPoseError(
            f"{origin}: {key}: {first['msg']} (got {reprlib.repr(first['input'])})"
        ) from error


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """Return plain data that YAML and JSON can hold."""
    return _RECIPE.dump_python(recipe, mode="json")


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by its name among the shipped ones, or from a YAML file, with some keys replaced.

    A recipe that says `extends: NAME` takes that shipped recipe's keys where it has none of its own. Where
    the model is replaced, options that the new one doesn't have are left out: architectures can be compared
    by changing one word.

    Raises:
        HyperPoseError: there is no such recipe, or it is wrong.
    """
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else _shipped(name)
    data = _read_with_parents(path)
    if overrides and "model" in overrides and isinstance(data.get("model_options"), dict):
        known = default_options(overrides["model"]).keys()
        kept = known & data["model_options"].keys()
        data["model_options"] = {key: data["model_options"][key] for key in sorted(kept)}
    for key, value in (overrides or {}).items():
        # Options of the model are replaced one by one, other keys whole.
        data[key] = {**data.get(key, {}), **value} if key == "model_options" else value
    return recipe_from_dict(data, str(path))


def _shipped(name: str) -> Path:
    folder = recipe_folder()
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise HyperPoseError(f"recipe {name!r} is unknown; use a YAML file or one of: {known}")
    return path


def _read_with_parents(path: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path in children:
        raise HyperPoseError(f"{children[0]}: extends itself, by way of {path.name}")
    data = _read(path)
    parent = data.pop("extends", None)
    if parent is None:
        return data
    return {**_read_with_parents(_shipped(str(parent)), (*children, path)), **data}


def _read(path: Path) -> dict[str, Any]:
    data = parse_yaml(read_bytes(path, "recipe", LARGEST_DOCUMENT_BYTES), path, "recipe")
    if not isinstance(data, dict):
        raise HyperPoseError(f"{path}: a recipe is a mapping of keys to values")
    return data


def recipe_folder() -> Path:
    """Return the folder of the shipped recipes, in a source tree or in an installation's share folder.

    Raises:
        HyperPoseError: the installation is not whole.
    """
    for parent in Path(__file__).resolve().parents:
        for candidate in (
            parent / "config" / "recipes",
            parent / "share" / "hyperpose_ros" / "config" / "recipes",
        ):
            if candidate.is_dir():
                return candidate
    raise HyperPoseError("the shipped recipes (config/recipes) are missing; install the package again")
