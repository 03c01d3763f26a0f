"""Adapter for OpenSfM's `reconstruction.json`, which OpenDroneMap writes, too: world-to-camera, angle-axis.

Its world is local east-north-up in metres where `reference_lla.json` lies beside it; else its unit is
not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.posed_files import PosedFile, dataset_of
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import rotation_vector_to_quaternion
from hyperpose_core.geometry.world import World
from hyperpose_core.limits import LARGEST_TABLE_BYTES
from hyperpose_core.untrusted import parse_json

_FILE = "reconstruction.json"
_PLACES = (_FILE, f"opensfm/{_FILE}")
_PINHOLES = ("perspective", "brown", "simple_radial", "radial")


def looks_like_opensfm(path: Path) -> bool:
    """Tell whether a folder is a project of OpenSfM or OpenDroneMap."""
    return path.is_dir() and any((path / place).exists() for place in _PLACES)


def open_opensfm(
    path: Path,
    split: str | None = None,
    images: Path | str | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
) -> PosedImageSet:
    """Read the largest reconstruction; see `splits.SplitPolicy` for how frames are divided.

    Args:
        path: the project's folder.
        split: "train", "test", or None for all.
        images: the folder of the images; `images` in the project by default.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of the frames is for testing instead.

    Raises:
        HyperPoseError: there is no reconstruction, it is damaged, or an option is wrong.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction)
    file = next((path / place for place in _PLACES if (path / place).exists()), path / _FILE)
    findings = Findings()
    root = Path(images) if images else path / "images"
    try:
        content: list[dict[str, Any]] = parse_json(
            read_bytes(file, "reconstruction", LARGEST_TABLE_BYTES), file
        )
        largest = max(content, key=lambda part: len(part["shots"]))
        cameras = {name: _camera(values) for name, values in largest["cameras"].items()}
        files = [
            posed
            for name, shot in largest["shots"].items()
            if (posed := _frame(name, shot, cameras, root, findings)) is not None
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HyperPoseError(f"{file}: not a reconstruction of OpenSfM: {error!r}") from error
    is_metric = (file.parent / "reference_lla.json").exists()
    world = World(
        description=f"OpenSfM reconstruction {path.absolute().name}",
        up=(0.0, 0.0, 1.0) if is_metric else None,
        is_metric=is_metric,
    )
    return dataset_of(path, files, world, split, policy, findings)


def _frame(
    name: str,
    shot: Mapping[str, Any],
    cameras: Mapping[str, CameraModel | None],
    root: Path,
    findings: Findings,
) -> PosedFile | None:
    turn = np.array(shot["rotation"], dtype=np.float64)
    quaternion = rotation_vector_to_quaternion(turn) if np.isfinite(turn).all() else np.full(4, np.nan)
    world_to_camera = findings.pose(shot["translation"], quaternion, name)
    if world_to_camera is None:
        return None
    return PosedFile(name, root / name, world_to_camera.inverse(), cameras[shot["camera"]])


def _camera(values: Mapping[str, Any]) -> CameraModel | None:
    """Return a pinhole; OpenSfM's lengths are shares of the image's larger side, from its middle."""
    if values.get("projection_type", "perspective") not in _PINHOLES:
        return None
    width, height = int(values["width"]), int(values["height"])
    side = max(width, height)
    fx = float(values.get("focal_x", values.get("focal", 0.0))) * side
    fy = float(values.get("focal_y", values.get("focal", 0.0))) * side
    if not (fx > 0.0 and fy > 0.0):
        return None
    cx = (width - 1) / 2.0 + float(values.get("c_x", 0.0)) * side
    cy = (height - 1) / 2.0 + float(values.get("c_y", 0.0)) * side
    distortion = tuple(float(values.get(key, 0.0)) for key in ("k1", "k2", "p1", "p2", "k3"))
    return CameraModel(width, height, fx, fy, cx, cy, distortion if any(distortion) else ())
