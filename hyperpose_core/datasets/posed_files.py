"""From files with poses to a dataset: what the adapters of phone applications and photogrammetry share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.findings import Findings, natural_order
from hyperpose_core.datasets.records import ImageReader, PosedImage, PosedImageSet
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.images import read_image

OPENGL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Multiplied from the right, takes a camera-to-world matrix with y up and z back to the optical frame."""


@dataclass(frozen=True, eq=False)
class PosedFile:
    """An image file and what its dataset says of it.

    Attributes:
        name: what the dataset calls it; frames are ordered by it, its folders are the sequence.
        path: the file.
        pose: camera-to-world, optical frame.
        camera: its camera, where it is a pinhole and known.
        stamp_ns: when it was taken.
        reader: turns the file into an image.
    """

    name: str
    path: Path
    pose: Pose
    camera: CameraModel | None = None
    stamp_ns: int | None = None
    reader: ImageReader = read_image


def dataset_of(
    path: Path,
    files: Sequence[PosedFile],
    world: World,
    split: str | None,
    policy: SplitPolicy,
    findings: Findings,
) -> PosedImageSet:
    """Build a dataset of one scene, which is called like its folder or file.

    Raises:
        HyperPoseError: there is no usable frame, or none in the split.
    """
    scene = path.absolute().stem if path.is_file() else path.absolute().name
    ordered = sorted(files, key=lambda file: natural_order(file.name))
    records = [
        PosedImage(
            path=file.path,
            pose=file.pose,
            scene=scene,
            sequence=file.name.rpartition("/")[0],
            stamp_ns=file.stamp_ns,
            reader=file.reader,
            camera=file.camera,
        )
        for file in ordered
    ]
    kept = findings.without_far_positions(records)
    if not kept:
        raise HyperPoseError(f"{path}: no usable frame; left out: {findings.dropped or 'none'}")
    names = {id(record): file.name for record, file in zip(records, ordered, strict=True)}
    cameras = {file.camera for file in files}
    return PosedImageSet(
        name=scene if split is None else f"{scene} {split}",
        images=policy.select(kept, split, [names[id(record)] for record in kept]),
        world=world,
        camera=cameras.pop() if len(cameras) == 1 else None,
        dropped=findings.dropped,
        faults=findings.faults,
    )
