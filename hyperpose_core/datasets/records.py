"""What every dataset adapter gives: posed images in one convention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.images import RgbImage, read_image
from hyperpose_core.untrusted import reading

ImageReader = Callable[[Path], RgbImage]


@dataclass(frozen=True, eq=False)
class PosedImage:
    """One image file and where its camera was.

    Attributes:
        path: the image file.
        pose: the camera's optical frame in the local world frame.
        scene: name of the scene it belongs to.
        sequence: name of the recording within the scene.
        stamp_ns: when it was taken, integer nanoseconds, or None where the dataset doesn't say.
        condition: light or season, where the dataset says it; else empty.
        reader: turns the file into an image; a module-level function or picklable callable.
        camera: its own camera, where the images of the dataset do not share one and it is known.
    """

    path: Path
    pose: Pose
    scene: str
    sequence: str = ""
    stamp_ns: int | None = None
    condition: str = ""
    reader: ImageReader = read_image
    camera: CameraModel | None = None

    def read(self) -> RgbImage:
        """Read the image as RGB uint8 [H, W, 3].

        Raises:
            HyperPoseError: the file is missing or no image.
        """
        with reading(self.path, "image"):
            return self.reader(self.path)


@dataclass(frozen=True, eq=False)
class PosedImageSet:
    """The images of one split of a dataset, in the order of their recording.

    Attributes:
        name: what to call it in tables and reports.
        images: the records.
        world: the frame of their poses.
        camera: the camera model where it is known and one for all images.
        dropped: why frames were left out, as cause -> count.
        faults: what is wrong in the dataset's files, as cause -> count: frames that were left out for it,
            which `dropped` counts too, and values that were put right.
    """

    name: str
    images: tuple[PosedImage, ...]
    world: World = field(default_factory=World)
    camera: CameraModel | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)

    @property
    def scenes(self) -> tuple[str, ...]:
        """The scenes' names in alphabetical order: a scene's id is its place here."""
        return tuple(sorted({image.scene for image in self.images}))

    def cameras(self) -> tuple[CameraModel | None, ...]:
        """Return each image's camera: its own, or the one that all share; None where neither is known."""
        return tuple(image.camera or self.camera for image in self.images)

    def positions(self) -> Array:
        """Return the camera centres [N, 3] in metres."""
        return np.array([image.pose.position for image in self.images]).reshape(-1, 3)

    def orientations(self) -> Array:
        """Return the orientations [N, 4] as (w, x, y, z)."""
        return np.array([image.pose.orientation for image in self.images]).reshape(-1, 4)
