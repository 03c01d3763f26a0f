"""What the released weights of a dataset have in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetPreset:
    """What the weights released for a dataset have in common.

    Attributes:
        title: the dataset's name, for people.
        scenes: names of all scenes, in the order of their ids.
        orientation_convention: what the predicted quaternion rotates.
    """

    title: str
    scenes: tuple[str, ...]
    orientation_convention: str


DATASET_PRESETS = {
    "7scenes": DatasetPreset(
        "7Scenes",
        ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs"),
        "camera_to_world",
    ),
    "cambridge": DatasetPreset(
        "Cambridge Landmarks",
        ("KingsCollege", "OldHospital", "ShopFacade", "StMarysChurch"),
        "world_to_camera",
    ),
}


RESIZE = 256
"""Shorter side of the images that the released weights were trained on, before the crop, pixels."""
