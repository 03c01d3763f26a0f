"""How near a dataset's test frames are to its training frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.geometry.poses import Array, orientation_errors_deg

_ROWS_AT_ONCE = 256
# What a turn weighs beside a move in choosing the nearest frame: a camera next to the test frame's that looks
# elsewhere shows nothing of what it shows. In a wide place what is seen is farther away.
_METRES_PER_RADIAN = 1.0
_SHARE_OF_EXTENT = 0.05


@dataclass(frozen=True, eq=False)
class Coverage:
    """One scene's test frames and the training frame nearest to each, in position and angle together.

    Attributes:
        scene: its name.
        test: the N test frames; of several conditions, which share their poses, the first.
        nearest: the training frame nearest to each.
        distance_m: between their positions, float64 [N].
        angle_deg: between their orientations, float64 [N].
        training_positions: of all training frames of the scene, float64 [M, 3], metres.
        up: the world's vertical, where the dataset says it.
    """

    scene: str
    test: tuple[PosedImage, ...]
    nearest: tuple[PosedImage, ...]
    distance_m: Array
    angle_deg: Array
    training_positions: Array
    up: tuple[float, float, float] | None


def measure_coverage(splits: Mapping[str, PosedImageSet]) -> tuple[Coverage, ...]:
    """Find the nearest training frame of every test frame, scene by scene, in position and angle together.

    Args:
        splits: the dataset's parts by name; without "train" and "test" the result is empty.
    """
    if "train" not in splits or "test" not in splits:
        return ()
    training, test = splits["train"], splits["test"]
    scenes = [scene for scene in test.scenes if scene in training.scenes]
    return tuple(
        _measure(
            scene,
            [image for image in training.images if image.scene == scene],
            _first_condition([image for image in test.images if image.scene == scene]),
            test.world.up,
        )
        for scene in scenes
    )


def _measure(
    scene: str,
    training: Sequence[PosedImage],
    test: Sequence[PosedImage],
    up: tuple[float, float, float] | None,
) -> Coverage:
    positions = np.array([image.pose.position for image in training])
    wanted = np.array([image.pose.position for image in test])
    facing = np.array([image.pose.orientation for image in test])
    training_facing = np.array([image.pose.orientation for image in training])
    extent = float(np.linalg.norm(np.ptp(np.concatenate([positions, wanted]), axis=0)))
    metres_per_radian = max(_METRES_PER_RADIAN, _SHARE_OF_EXTENT * extent)
    rows: list[int] = []
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        metres = np.linalg.norm(wanted[part, None] - positions, axis=-1)
        # 2 acos |q . p| is near enough to choose by; the angles that are told are not taken from it.
        radians = 2 * np.arccos(np.clip(np.abs(facing[part] @ training_facing.T), 0.0, 1.0))
        rows += np.argmin(metres + metres_per_radian * radians, axis=1).tolist()
    nearest = tuple(training[row] for row in rows)
    nearest_facing = training_facing[rows]
    return Coverage(
        scene=scene,
        test=tuple(test),
        nearest=nearest,
        distance_m=np.linalg.norm(wanted - positions[rows], axis=1),
        angle_deg=orientation_errors_deg(nearest_facing, facing),
        training_positions=positions,
        up=up,
    )


def _first_condition(images: Sequence[PosedImage]) -> list[PosedImage]:
    return [image for image in images if image.condition == images[0].condition]
