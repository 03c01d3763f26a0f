"""Adapter for Record3D's `.r3d` files: a zip of `metadata` (JSON) and `rgbd/N.jpg`, which is not unpacked.

Poses are [qx, qy, qz, qw, x, y, z], camera-to-world in metres, whose camera has y up and z back. The first
one is zero, so that nothing says which way is up.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.posed_files import OPENGL_TO_OPTICAL, PosedFile, dataset_of
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.images import RgbImage, decode_image

_SUFFIX = ".r3d"
_LARGEST_METADATA = 256 * 2**20
_LARGEST_IMAGE = 64 * 2**20
_NANOSECONDS = 1_000_000_000
_DAMAGED = (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class ZippedImage:
    """Reads an image of a zip file: the reader of its record.

    Attributes:
        member: its name in the zip.
    """

    member: str

    def __call__(self, path: Path) -> RgbImage:
        """Read the image as RGB uint8 [H, W, 3].

        Raises:
            HyperPoseError: the zip is damaged, or the member is no image.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                data = _member(archive, self.member, _LARGEST_IMAGE)
        except _DAMAGED as error:
            raise HyperPoseError(f"{path}: cannot read {self.member}: {error}") from error
        return decode_image(data, f"{path}, {self.member}")


def looks_like_record3d(path: Path) -> bool:
    """Tell whether a path is such a file."""
    return path.is_file() and path.suffix.lower() == _SUFFIX


def open_record3d(
    path: Path,
    split: str | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
) -> PosedImageSet:
    """Read a recording; see `splits.SplitPolicy` for how frames are divided.

    Args:
        path: the `.r3d` file.
        split: "train", "test", or None for all.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of the frames is for testing instead.

    Raises:
        HyperPoseError: the file is damaged or lacks poses, or an option is wrong.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction)
    findings = Findings()
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(_member(archive, "metadata", _LARGEST_METADATA))
            present = set(archive.namelist())
        rows = np.array(content["poses"], dtype=np.float64).reshape(-1, 7)
        stamps = content.get("frameTimestamps") or []
        k = np.array(content["K"], dtype=np.float64).reshape(3, 3).T
        width, height = int(content["w"]), int(content["h"])
    except _DAMAGED as error:
        raise HyperPoseError(f"{path}: not a recording of Record3D: {error!r}") from error
    # Pixels are counted from the image's corner.
    camera = CameraModel(width, height, k[0, 0], k[1, 1], k[0, 2] - 0.5, k[1, 2] - 0.5)
    files = []
    for number, (qx, qy, qz, qw, *position) in enumerate(rows):
        member = f"rgbd/{number}.jpg"
        pose = findings.pose(position, [qw, qx, qy, qz], member)
        if pose is None:
            continue
        if member not in present:
            findings.leave_out("no image in the file", member)
            continue
        stamp_ns = round(float(stamps[number]) * _NANOSECONDS) if number < len(stamps) else None
        optical = pose @ Pose.from_matrix(OPENGL_TO_OPTICAL)
        files.append(PosedFile(str(number), path, optical, camera, stamp_ns, ZippedImage(member)))
    return dataset_of(
        path, files, World(description=f"Record3D recording {path.stem}"), split, policy, findings
    )


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """Read a member, unless it says or turns out to be larger than what it should be."""
    if archive.getinfo(name).file_size > largest:
        raise ValueError(f"{name} is larger than {largest // 2**20} MB")
    with archive.open(name) as stream:
        return stream.read(largest)
