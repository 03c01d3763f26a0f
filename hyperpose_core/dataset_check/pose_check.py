"""Holds a dataset's poses and camera against its own images, and names the mistake that they show.

Features of neighbouring frames are matched without believing any pose; the epipolar error under the labels is
compared with that under the usual mistakes. Scale cannot be seen this way: poses in feet fit as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hyperpose_core.dataset_check.diagnosis import FEWEST_PAIRS, FoundMistake, diagnose_scene
from hyperpose_core.dataset_check.image_evidence import SampleSize, gather_evidence
from hyperpose_core.datasets.findings import natural_order
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.geometry.poses import Array

_UPRIGHT = 0.7
"""The length of the mean of all upward directions, above which the images have one."""


@dataclass(frozen=True)
class SceneFit:
    """How one scene's labels fit its images.

    Attributes:
        scene: its name.
        pairs: how many pairs of frames could be matched.
        error_px: the median epipolar error under the labels; NaN without pairs.
        focal_px: the focal length that fits best where the dataset has no camera model, else None.
        up: the direction in the world that is up in the images, of unit norm; None where they differ.
        world_up: the world's vertical, where the dataset says it.
    """

    scene: str
    pairs: int
    error_px: float
    focal_px: float | None
    up: tuple[float, float, float] | None
    world_up: tuple[float, float, float] | None

    def notes(self) -> list[str]:
        """Return what is worth knowing, a line each."""
        if self.pairs < FEWEST_PAIRS:
            notes = [
                f"{self.scene}: poses were not checked by the images: {self.pairs} pairs of frames could be "
                f"matched, {FEWEST_PAIRS} are needed"
            ]
        else:
            camera = "" if self.focal_px is None else f", for a focal length of about {self.focal_px:.0f} px"
            notes = [
                f"{self.scene}: epipolar error {self.error_px:.1f} px (median of {self.pairs} pairs of "
                f"frames{camera}); scale cannot be seen this way"
            ]
        if self.up is not None:
            notes.append(
                f"{self.scene}: up in the images is ({_listing(self.up)}) in the world" + self._tilt()
            )
        return notes

    def _tilt(self) -> str:
        if self.up is None or self.world_up is None:
            return ""
        angle = float(np.degrees(np.arccos(np.clip(np.dot(self.up, self.world_up), -1.0, 1.0))))
        return f", {angle:.0f} degrees from its vertical"


@dataclass(frozen=True)
class PoseCheck:
    """What the images say of the labels.

    Attributes:
        scenes: how the labels fit, scene by scene.
        mistakes: what is wrong; empty where nothing is, or nothing could be said.
    """

    scenes: tuple[SceneFit, ...]
    mistakes: tuple[FoundMistake, ...]

    def notes(self) -> list[str]:
        """Return what is worth knowing, a line each."""
        return [note for scene in self.scenes for note in scene.notes()]


def check_poses(splits: Sequence[PosedImageSet], sample: SampleSize | None = None) -> PoseCheck:
    """Hold a dataset's poses and camera against its images.

    Args:
        splits: the parts of one dataset, at least one.
        sample: how much of it is looked at.
    """
    images = _in_recorded_order(splits)
    fits: list[SceneFit] = []
    mistakes: list[FoundMistake] = []
    for evidence in gather_evidence(images, splits[0].camera, sample or SampleSize()):
        diagnosis = diagnose_scene(evidence)
        fits.append(
            SceneFit(
                scene=evidence.scene,
                pairs=diagnosis.pairs,
                error_px=diagnosis.error_px,
                focal_px=diagnosis.focal_px,
                up=_common_up([image for image in images if image.scene == evidence.scene]),
                world_up=splits[0].world.up,
            )
        )
        mistakes += diagnosis.mistakes
    return PoseCheck(tuple(fits), tuple(mistakes))


def _in_recorded_order(splits: Sequence[PosedImageSet]) -> list[PosedImage]:
    """Return all records; where splits took a sequence apart, put together again."""
    images = [image for part in splits for image in part.images]
    if len(splits) == 1:
        return images
    stamped = all(image.stamp_ns is not None for image in images)

    def place(image: PosedImage) -> tuple[object, ...]:
        when = image.stamp_ns if stamped else natural_order(str(image.path))
        return image.scene, image.sequence, when

    return sorted(images, key=place)  # type: ignore[arg-type, return-value]


def _common_up(images: Sequence[PosedImage]) -> tuple[float, float, float] | None:
    mean: Array = np.mean([-image.pose.rotation()[:, 1] for image in images], axis=0)
    length = float(np.linalg.norm(mean))
    if length < _UPRIGHT:
        return None
    x, y, z = (mean / length).tolist()
    return x, y, z


def _listing(vector: Sequence[float]) -> str:
    return ", ".join(f"{value + 0.0:.2f}" for value in vector)
