"""The map that a training ends with: of the images it was trained on, with what the trained network sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperpose_core.choices import FEWEST_MAP_IMAGES
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.refinement.checkpoint_map import map_beside

if TYPE_CHECKING:
    from hyperpose_core.landmarks.view_graph import Progress


def why_no_map(data: PosedImageSet) -> str | None:
    """Say why training images give no map; None where they do."""
    if None in data.cameras():
        return "the camera's intrinsics are not known (--data-option camera=... gives them)"
    if len(data.images) < FEWEST_MAP_IMAGES:
        return f"{len(data.images)} images are too few, {FEWEST_MAP_IMAGES} are needed"
    return None


def build_training_map(
    checkpoint: Path, data: PosedImageSet, device: str, most_images: int, progress: Progress
) -> LandmarkMap:
    """Build the map beside a trained checkpoint.

    Args:
        checkpoint: the trained network's file.
        data: the training images, whose cameras are known.
        device: where to run the network.
        most_images: how many of them to take; where there are more, evenly spread over each scene's.
        progress: shows how far it is.

    Raises:
        HyperPoseError: an image is unreadable, nothing can be triangulated, or the file cannot be written.
        ImportError: a package that only building a map needs is missing.
    """
    # A package that only building needs must not keep anyone from training.
    from hyperpose_core.landmarks.building import build_map

    chosen = replace(data, images=thinned(data.images, most_images))
    estimator = PoseEstimator.load(checkpoint, device)
    return build_map(chosen, map_beside(checkpoint), progress=progress, estimator=estimator)


def thinned(images: tuple[PosedImage, ...], most: int) -> tuple[PosedImage, ...]:
    """Return at most so many images, evenly spread over the images of each scene, in their order.

    A scene keeps one image at least, whatever their number.
    """
    if len(images) <= most:
        return images
    kept: list[int] = []
    for scene in dict.fromkeys(image.scene for image in images):
        places = np.array([place for place, image in enumerate(images) if image.scene == scene])
        count = max(1, len(places) * most // len(images))
        kept += places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)].tolist()
    return tuple(images[place] for place in sorted(kept))
