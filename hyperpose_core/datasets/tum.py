"""Adapter for TUM trajectories beside stamped images, and the reading of TUM files.

A TUM file has `stamp x y z qx qy qz qw` a line. Images are listed in `rgb.txt` (`stamp file` a line) or named
by their stamps; the trajectory's poses, which are taken for the camera's unless
`extrinsics` says otherwise, are interpolated to the images' stamps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hyperpose_core.datasets.findings import Findings, read_number
from hyperpose_core.datasets.options import parse_camera, parse_number, parse_numbers
from hyperpose_core.datasets.posed_files import PosedFile, dataset_of
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.rosbag_tracks import NoPoseError, build_track
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_quaternion
from hyperpose_core.geometry.world import World

_NANOSECONDS = 1_000_000_000
_TRAJECTORIES = ("groundtruth.txt", "KeyFrameTrajectory.txt", "CameraTrajectory.txt")
_LISTING = "rgb.txt"
_IMAGE_FOLDERS = ("rgb", "images", ".")
_SUFFIXES = (".png", ".jpg", ".jpeg")


# Not the one in "-1.#IND", as programs for Windows write what is no number.
_COMMENT = re.compile(r"(?:^|\s)#")


def looks_like_tum(path: Path) -> bool:
    """Tell whether a folder holds a trajectory and images in the layout of TUM's RGB-D benchmark."""
    return path.is_dir() and any((path / name).exists() for name in _TRAJECTORIES)


def open_tum(
    path: Path,
    split: str | None = None,
    trajectory: Path | str | None = None,
    camera: str | CameraModel | None = None,
    extrinsics: str | Sequence[float] | None = None,
    max_gap: str | float = 0.1,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
) -> PosedImageSet:
    """Read a sequence; see `splits.SplitPolicy` for how frames are divided.

    Args:
        path: the sequence's folder.
        split: "train", "test", or None for all.
        trajectory: the TUM file; by default groundtruth.txt or what ORB-SLAM writes, in the folder.
        camera: the images' camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels, where it is known.
        extrinsics: pose of the camera's optical frame in the body that the trajectory is of, as
            x,y,z,roll,pitch,yaw in metres and radians; none where it is the camera's own.
        max_gap: the longest time between two poses to interpolate over, seconds.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of the frames is for testing instead.

    Raises:
        HyperPoseError: there is no trajectory or no image, a line is wrong (it is named), or an option is.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction)
    gap_ns = round(parse_number("max_gap", max_gap, above=0.0) * _NANOSECONDS)
    pinhole, arm = parse_camera(camera), _arm(extrinsics)
    found = (path / name for name in _TRAJECTORIES if (path / name).exists())
    file = Path(trajectory) if trajectory else next(found, path / _TRAJECTORIES[0])
    findings, faults = Findings(), Findings()
    stamps_ns, poses = read_tum_file(file, faults)
    findings.take_faults(faults, "trajectory")
    track = build_track(list(zip(stamps_ns.tolist(), poses, strict=True)))
    files = []
    for stamp_ns, name in _images(path):
        try:
            pose = track.at(stamp_ns, gap_ns) @ arm
        except NoPoseError as error:
            findings.leave_out(str(error), name)
            continue
        files.append(PosedFile(name, path / name, pose, pinhole, stamp_ns))
    world = World(description=f"world of {file.name} of {path.absolute().name}")
    return dataset_of(path, files, world, split, policy, findings)


def read_tum_file(path: Path, findings: Findings | None = None) -> tuple[npt.NDArray[np.int64], list[Pose]]:
    """Read stamps [N], nanoseconds, and N poses, in the order of the file.

    Args:
        path: the file.
        findings: counts lines whose numbers are no pose, such as "nan" where tracking was lost; None where
            they do not matter. Either way they are left out.

    Raises:
        HyperPoseError: the file cannot be read, a line is none of the format, or there is no pose.
    """
    findings = Findings() if findings is None else findings
    lines = read_text(path, "file of poses").splitlines()
    stamps, poses = [], []
    for number, line in enumerate(lines, 1):
        words = _COMMENT.split(line)[0].replace(",", " ").split()
        if not words:
            continue
        try:
            x, y, z, qx, qy, qz, qw = (read_number(word) for word in words[1:])
            # Through a decimal number: a float of seconds since 1970 is off by more than 100 ns.
            stamp = np.int64(int(Decimal(words[0]) * _NANOSECONDS))
        except (ValueError, ArithmeticError) as error:
            expected = "timestamp x y z qx qy qz qw"
            raise HyperPoseError(f"{path}:{number}: {line.strip()[:80]!r} is not {expected!r}") from error
        pose = findings.pose([x, y, z], [qw, qx, qy, qz], f"{path.name}:{number}")
        if pose is not None:
            stamps.append(stamp)
            poses.append(pose)
    if not poses:
        raise HyperPoseError(f"{path}: holds no pose")
    return np.array(stamps, dtype=np.int64), poses


def _images(path: Path) -> list[tuple[int, str]]:
    """Return stamps, nanoseconds, and names of the images, by stamp."""
    listing = path / _LISTING
    if listing.exists():
        lines = read_text(listing, "list of images").splitlines()
        rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
        if not all(len(row) == 2 for row in rows):
            raise HyperPoseError(f"{listing}: not of the form 'stamp file' a line")
        return sorted((_stamp_ns(row[0], f"{listing}: {row[0]!r}"), row[1]) for row in rows)
    folder = next((path / name for name in _IMAGE_FOLDERS if _named_by_stamp(path / name)), None)
    if folder is None:
        raise HyperPoseError(
            f"{path}: no {_LISTING}, nor images named by their stamps (1305031102.175304.png)"
        )
    files = _named_by_stamp(folder)
    return sorted((_stamp_ns(file.stem, str(file)), file.relative_to(path).as_posix()) for file in files)


def _named_by_stamp(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return [
        file
        for file in files
        if file.suffix.lower() in _SUFFIXES and file.stem.replace(".", "", 1).isdecimal()
    ]


def _stamp_ns(text: str, where: str) -> int:
    try:
        # Through a decimal number: a float of seconds since 1970 is off by more than 100 ns.
        return int(Decimal(text) * _NANOSECONDS)
    except (InvalidOperation, ValueError) as error:
        raise HyperPoseError(f"{where} is no stamp in seconds") from error


def _arm(extrinsics: str | Sequence[float] | None) -> Pose:
    if extrinsics is None:
        return Pose.identity()
    x, y, z, roll, pitch, yaw = parse_numbers("extrinsics", extrinsics, 6)
    return Pose(np.array([x, y, z]), matrix_to_quaternion(euler_to_matrix(roll, pitch, yaw)))
