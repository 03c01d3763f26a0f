"""Adapter for kapture 1.1: tables below `sensors/`, poses world-to-device, cameras as COLMAP has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.colmap_model import ColmapCamera
from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.posed_files import PosedFile, dataset_of
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World

_SENSORS, _RECORDS = "sensors/sensors.txt", "sensors/records_camera.txt"
_TRAJECTORIES, _RIGS = "sensors/trajectories.txt", "sensors/rigs.txt"
_IMAGES = "sensors/records_data"
_LONGEST_RIG_CHAIN = 8

_Poses = Mapping[tuple[str, str], Pose | None]


def looks_like_kapture(path: Path) -> bool:
    """Tell whether a folder is a kapture dataset."""
    return path.is_dir() and (path / _RECORDS).exists() and (path / _SENSORS).exists()


def open_kapture(
    path: Path,
    split: str | None = None,
    images: Path | str | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
) -> PosedImageSet:
    """Read the images that have a trajectory; see `splits.SplitPolicy` for how frames are divided.

    Args:
        path: the dataset's folder, in which `sensors` is.
        split: "train", "test", or None for all.
        images: the folder of the images; `sensors/records_data` by default.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of the frames is for testing instead.

    Raises:
        HyperPoseError: a table is missing or has a wrong row (it is named), or an option is wrong.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction)
    findings = Findings()
    cameras = _read_cameras(path / _SENSORS)
    poses = _read_trajectories(path / _TRAJECTORIES, findings)
    rigs = _read_rigs(path / _RIGS)
    root = Path(images) if images else path / _IMAGES
    files = []
    for where, (stamp, device, name) in _rows(path / _RECORDS, 3):
        if device not in cameras:
            raise HyperPoseError(f"{where}: no camera {device!r} in {_SENSORS}")
        pose = _world_to_camera(stamp, device, poses, rigs)
        if pose is None:
            findings.leave_out("no pose in the trajectories", name)
            continue
        files.append(PosedFile(name, root / name, pose.inverse(), cameras[device]))
    world = World(description=f"kapture dataset {path.absolute().name}")
    return dataset_of(path, files, world, split, policy, findings)


def _world_to_camera(
    stamp: str, device: str, poses: _Poses, rigs: Mapping[str, tuple[str, Pose]]
) -> Pose | None:
    """Return the device's own pose, or that of the rig that carries it."""
    chain = Pose.identity()
    for _ in range(_LONGEST_RIG_CHAIN):
        pose = poses.get((stamp, device))
        if pose is not None:
            return chain @ pose
        if device not in rigs:
            return None
        device, sensor_from_rig = rigs[device]
        chain = chain @ sensor_from_rig
    return None


def _read_cameras(path: Path) -> dict[str, CameraModel | None]:
    cameras: dict[str, CameraModel | None] = {}
    for where, row in _rows(path, 3):
        device, _, kind, *parameters = row
        if kind != "camera":
            continue
        try:
            model, width, height, *values = parameters
            found = ColmapCamera(model, int(width), int(height), tuple(float(value) for value in values))
            cameras[device] = found.pinhole()
        except (ValueError, IndexError) as error:
            raise HyperPoseError(f"{where}: no camera parameters: {', '.join(parameters)!r}") from error
    return cameras


def _read_trajectories(path: Path, findings: Findings) -> dict[tuple[str, str], Pose | None]:
    poses: dict[tuple[str, str], Pose | None] = {}
    for where, (stamp, device, *numbers) in _rows(path, 9):
        values = _numbers(where, numbers)
        poses[stamp, device] = findings.pose(values[4:7], values[:4], f"{device} at {stamp}")
    return poses


def _read_rigs(path: Path) -> dict[str, tuple[str, Pose]]:
    """Return for each sensor the rig that carries it, and what takes the rig's frame to the sensor's."""
    if not path.exists():
        return {}
    rigs = {}
    for where, (rig, sensor, *numbers) in _rows(path, 9):
        values = _numbers(where, numbers)
        try:
            rigs[sensor] = rig, Pose(values[4:7], values[:4])
        except ValueError as error:
            raise HyperPoseError(f"{where}: {error}") from error
    return rigs


def _numbers(where: str, texts: list[str]) -> np.ndarray:
    try:
        # A partial pose leaves what is not known empty.
        return np.array([float(text) if text else np.nan for text in texts[:7]])
    except ValueError as error:
        raise HyperPoseError(f"{where}: {', '.join(texts)!r} are no qw, qx, qy, qz, tx, ty, tz") from error


def _rows(path: Path, fewest: int) -> list[tuple[str, list[str]]]:
    """Return each row of a table with where it is."""
    rows = []
    for number, line in enumerate(read_text(path, "table of kapture").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        row = [cell.strip() for cell in line.split(",")]
        if len(row) < fewest:
            raise HyperPoseError(f"{path}:{number}: {len(row)} values, at least {fewest} expected")
        rows.append((f"{path}:{number}", row))
    return rows
