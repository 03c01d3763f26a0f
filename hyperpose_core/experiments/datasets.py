"""Datasets put together for an experiment, and told apart from each other."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.geometry.world import World


def join_datasets(parts: Sequence[PosedImageSet], name: str, by_part: bool = False) -> PosedImageSet:
    """Put the images of several datasets into one, in the first one's world.

    Args:
        parts: one dataset or more.
        name: what to call the result.
        by_part: give images without a condition the name of their part as condition, so that errors are
            told apart by part.

    Raises:
        HyperPoseError: two parts lie in different UTM zones.
    """
    world = parts[0].world
    images: list[PosedImage] = []
    dropped: Counter[str] = Counter()
    for part in parts:
        if part.world.utm_zone != world.utm_zone:
            raise HyperPoseError(
                f"{part.name} lies in UTM zone {part.world.utm_zone}, {parts[0].name} in {world.utm_zone}: "
                "they have no common world"
            )
        shift = part.world.origin - world.origin if world.utm_zone else np.zeros(3)
        images += [_moved(image, shift, part.name if by_part else "") for image in part.images]
        dropped.update(part.dropped)
    cameras = {part.camera for part in parts}
    ups = {part.world.up for part in parts}
    descriptions = dict.fromkeys(part.world.description for part in parts if part.world.description)
    return PosedImageSet(
        name=name,
        images=tuple(images),
        world=World(
            description=", ".join(descriptions),
            origin=world.origin,
            utm_zone=world.utm_zone,
            up=ups.pop() if len(ups) == 1 else None,
        ),
        camera=cameras.pop() if len(cameras) == 1 else None,
        dropped=dict(dropped),
    )


def fingerprint(data: PosedImageSet) -> str:
    """Return a digest of a dataset: its files' paths and sizes, poses, scenes and conditions.

    Raises:
        HyperPoseError: an image is missing.
    """
    digest = hashlib.sha256()
    for image in data.images:
        try:
            size = image.path.stat().st_size
        except OSError as error:
            raise HyperPoseError(f"{image.path}: cannot read the image: {error.strerror}") from error
        digest.update(f"{image.path.resolve()}\0{size}\0{image.scene}\0{image.condition}\n".encode())
    digest.update(data.positions().tobytes() + data.orientations().tobytes() + data.world.origin.tobytes())
    return digest.hexdigest()


def frame_groups(test: PosedImageSet) -> list[tuple[str, NDArray[np.intp]]]:
    """Return the name of each group of test frames and its frames' places.

    Frames are told apart by condition and scene. "All" is there only where there is one condition: the same
    places under several conditions are not so many independent frames.
    """
    several_scenes = len(test.scenes) > 1
    several_conditions = len({image.condition for image in test.images}) > 1
    names = np.array(
        [
            ", ".join([image.condition or "unnamed"] * several_conditions + [image.scene] * several_scenes)
            for image in test.images
        ]
    )
    groups = [(name, np.flatnonzero(names == name)) for name in dict.fromkeys(names.tolist()) if name]
    return groups if several_conditions else [*groups, ("all", np.arange(len(test.images)))]


def _moved(image: PosedImage, shift: Array, condition: str) -> PosedImage:
    pose = image.pose if not shift.any() else Pose(image.pose.position + shift, image.pose.orientation)
    return dataclasses.replace(image, pose=pose, condition=image.condition or condition)
