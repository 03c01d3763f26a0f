"""The recipe that suits a dataset, chosen from what the dataset is like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.geometry.poses import Array
from hyperpose_core.training.recipe import Recipe, load_recipe

_FEWEST_TO_HOLD_OUT = 100
_HELD_OUT = 0.1
_BLOCKS = 20
_LARGEST_BLOCK = 50
_IMAGES_SEEN = 30_000
_EPOCHS = (10, 60)
# Of the cameras' extent, in metres where that is the unit; `accurate` was tuned in a room of 3.5 m.
_LARGEST_ROOM_M = 15.0
_TRANSLATION, _LARGEST_TRANSLATION_M = 0.03, 0.1
_INTERPOLATION, _LARGEST_INTERPOLATION_M = 0.17, 0.6
_NEIGHBOUR_DEG = 40.0


@dataclass(frozen=True)
class ChosenRecipe:
    """A recipe, and why it is this one.

    Attributes:
        recipe: what to train by.
        reasons: one line each, for people.
    """

    recipe: Recipe
    reasons: tuple[str, ...]


def choose_recipe(data: PosedImageSet, overrides: dict[str, Any] | None = None) -> ChosenRecipe:
    """Choose a recipe by the number of images and scenes, the intrinsics, and how the cameras stand.

    Args:
        data: the images to train on.
        overrides: keys of the recipe that are given.

    Raises:
        HyperPoseError: an override is wrong.
    """
    name, keys, reasons = _views(data)
    validation, held_out = _held_out(len(data.images))
    epochs = int(np.clip(round(_IMAGES_SEEN / max(1, len(data.images))), *_EPOCHS))
    chosen = {"epochs": epochs, "validation": validation, **keys, **(overrides or {})}
    return ChosenRecipe(load_recipe(name, chosen), (*reasons, held_out))


def _views(data: PosedImageSet) -> tuple[str, dict[str, Any], list[str]]:
    """Return the recipe to start from, the keys to replace in it, and why."""
    if len(data.scenes) > 1:
        return "three_stages_demo", {"stages": [{}]}, [f"{len(data.scenes)} scenes: a multi-scene network"]
    if data.camera is None:
        reason = (
            "intrinsics unknown: no virtual views, and no landmark map (--data-option camera=... gives them)"
        )
        return "small_data", {}, [reason]
    extent = _extent(data.positions())
    if data.world.is_metric and extent > _LARGEST_ROOM_M:
        return "demo", {}, [f"cameras over {extent:.0f} m: slight rotation augmentation, no view synthesis"]
    reach = _INTERPOLATION * extent
    if data.world.is_metric:
        reach = min(reach, _LARGEST_INTERPOLATION_M)
    neighbours = _neighbours(data, reach)
    if np.median(neighbours) < 1.0:
        reason = (
            f"fewer than half of the views have another within {reach:.2g}: rotation augmentation, no view "
            "synthesis"
        )
        return "virtual_turns", _SMALL_NETWORK, [reason]
    augmentation = dict(_AUGMENTATION, virtual_interpolation_m=reach)
    translation = _TRANSLATION * extent
    augmentation["virtual_translation_m"] = (
        min(translation, _LARGEST_TRANSLATION_M) if data.world.is_metric else translation
    )
    reason = (
        f"intrinsics known, {np.median(neighbours):.0f} overlapping views each: view synthesis and "
        "rotation augmentation"
    )
    return "accurate", {"augmentation": augmentation}, [reason]


_SMALL_NETWORK: dict[str, Any] = {
    "model_options": {"dropout": 0.0, "stochastic_depth": 0.0},
    "frozen_backbone_stride": 8,
    "loss": {"position_weight": -1.0, "orientation_weight": -1.0, "orientation": "hemisphere"},
}
_AUGMENTATION: dict[str, Any] = {
    "random_crop": False,
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.3,
    "hue": 0.03,
    "virtual_rotation_deg": 9.0,
}


def _held_out(images: int) -> tuple[dict[str, Any], str]:
    if images < _FEWEST_TO_HOLD_OUT:
        return {"fraction": 0.0}, f"{images} images: none is held out, so errors are not measured per image"
    block = min(_LARGEST_BLOCK, max(1, images // _BLOCKS))
    reason = f"{_HELD_OUT:.0%} of the images, in blocks of {block}, are held out to measure the covariance"
    return {"fraction": _HELD_OUT, "block": block}, reason


def _extent(positions: Array) -> float:
    low, high = np.percentile(positions, [5, 95], axis=0)
    return float(np.linalg.norm(high - low))


def _neighbours(data: PosedImageSet, reach: float) -> NDArray[np.int64]:
    """Return how many other images each has within reach that look the same way, [N]."""
    positions = data.positions()
    forward = np.array([image.pose.rotation()[:, 2] for image in data.images])
    near = np.linalg.norm(positions[:, None] - positions[None], axis=2) <= reach
    alike = forward @ forward.T > np.cos(np.radians(_NEIGHBOUR_DEG))
    return (near & alike).sum(axis=1) - 1
