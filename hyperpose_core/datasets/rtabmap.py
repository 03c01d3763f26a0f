"""Adapter for what `rtabmap-export --poses_camera --images` writes: camera-to-world, optical frame, metres.

Poses are in `NAME_camera_poses.txt` (format 11: stamp, position, quaternion x, y, z, w, id), images in
`NAME_rgb`, named by id or by stamp, calibrations in `NAME_calib`, one an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.options import parse_camera
from hyperpose_core.datasets.posed_files import PosedFile, dataset_of
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes, read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.world import World
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES
from hyperpose_core.untrusted import parse_yaml, reading

_NANOSECONDS = 1_000_000_000
_CAMERA_POSES = "*camera_poses.txt"
_SUFFIXES = (".jpg", ".jpeg", ".png")
_COLUMNS = 9


def looks_like_rtabmap(path: Path) -> bool:
    """Tell whether a folder holds what rtabmap-export writes."""
    return path.is_dir() and (any(path.glob(_CAMERA_POSES)) or _has_robot_poses(path))


def open_rtabmap(
    path: Path,
    split: str | None = None,
    poses: Path | str | None = None,
    camera: str | CameraModel | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
) -> PosedImageSet:
    """Read an export; see `splits.SplitPolicy` for how frames are divided.

    Args:
        path: the folder of the export.
        split: "train", "test", or None for all.
        poses: the file of the camera's poses, where there are several.
        camera: the images' camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels; by default the calibrations'.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of the frames is for testing instead.

    Raises:
        HyperPoseError: there are no poses of the camera, a row is wrong (it is named), images are missing, or
            an option is wrong.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction)
    file = Path(poses) if poses else _pose_file(path)
    known = parse_camera(camera)
    images, calibrations = _by_name(path, "rgb", _SUFFIXES), _by_name(path, "calib", (".yaml",))
    if not images:
        raise HyperPoseError(f"{path}: no images in a folder *rgb; export with --images")
    cameras = {name: _camera(found) for name, found in calibrations.items()} if known is None else {}
    findings = Findings()
    files = []
    for stamp, name, position, quaternion in _rows(file):
        key = next((key for key in (name, stamp) if key in images), None)
        if key is None:
            findings.leave_out("no image of this id", name)
            continue
        pose = findings.pose(position, quaternion, name)
        if pose is not None:
            stamp_ns = int(Decimal(stamp) * _NANOSECONDS) or None
            files.append(PosedFile(name, images[key], pose, known or cameras.get(key), stamp_ns))
    world = World(description=f"RTAB-Map's world of {path.absolute().name}", up=(0.0, 0.0, 1.0))
    return dataset_of(path, files, world, split, policy, findings)


def _pose_file(path: Path) -> Path:
    found = sorted(path.glob(_CAMERA_POSES))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(file.name for file in found)
        raise HyperPoseError(f"{path}: several files of poses ({names}); give option poses")
    raise HyperPoseError(f"{path}: only the robot's poses are there; export with --poses_camera, too")


def _has_robot_poses(path: Path) -> bool:
    return any(path.glob("*_poses.txt")) and any(path.glob("*_rgb"))


def _rows(path: Path) -> list[tuple[str, str, list[float], list[float]]]:
    """Return stamp, id, position and quaternion (w, x, y, z) of each row."""
    rows = []
    for number, line in enumerate(read_text(path, "file of poses").splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        try:
            if len(words) != _COLUMNS:
                raise ValueError
            Decimal(words[0])
            x, y, z, qx, qy, qz, qw = (float(word) for word in words[1:8])
        except (ValueError, ArithmeticError) as error:
            raise HyperPoseError(
                f"{path}:{number}: {line.strip()[:80]!r} is not 'stamp x y z qx qy qz qw id'; export with "
                "--poses_format 11"
            ) from error
        rows.append((words[0], words[8], [x, y, z], [qw, qx, qy, qz]))
    return rows


def _by_name(path: Path, ending: str, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files of the folder whose name ends so, by name without suffix."""
    folders = [folder for folder in sorted(path.glob(f"*{ending}")) if folder.is_dir()]
    return {
        file.stem: file
        for folder in folders
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in suffixes
    }


def _camera(path: Path) -> CameraModel | None:
    """Read a calibration as OpenCV writes it; None for another lens than a plumb-bob pinhole."""
    data = read_bytes(path, "calibration", LARGEST_DOCUMENT_BYTES)
    # OpenCV's directive and tags are not YAML's.
    lines = [line for line in data.splitlines() if not line.startswith(b"%")]
    content = parse_yaml(b"\n".join(lines).replace(b"!!opencv-matrix", b""), path, "calibration")
    with reading(path, "calibration"):
        matrix = np.array(content["camera_matrix"]["data"], dtype=np.float64).reshape(3, 3)
        lens = content.get("distortion_coefficients") or {"data": []}
        distortion = tuple(float(value) for value in lens["data"])
        width, height = int(content["image_width"]), int(content["image_height"])
        if content.get("distortion_model", "plumb_bob") != "plumb_bob" or len(distortion) not in (0, 4, 5):
            return None
        padded = (*distortion, 0.0)[:5] if any(distortion) else ()
        (fx, _, cx), (_, fy, cy), _ = matrix
        return CameraModel(width, height, float(fx), float(fy), float(cx), float(cy), padded)
