"""Adapter for Polycam's raw data: `keyframes/images/*.jpg` beside `keyframes/cameras/*.json`, one a frame.

ARKit's camera-to-world in metres, as the entries `t_00` to `t_23` of a 3x4 matrix whose camera has y up and z
back; the world's y is up. Where Polycam corrected the poses, `corrected_images` and `corrected_cameras` are
taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.posed_files import OPENGL_TO_OPTICAL, PosedFile, dataset_of
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.world import World
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES
from hyperpose_core.untrusted import parse_json

_FOLDERS = (("corrected_images", "corrected_cameras"), ("images", "cameras"))


def looks_like_polycam(path: Path) -> bool:
    """Tell whether a folder holds Polycam's raw data."""
    return path.is_dir() and any((path / "keyframes" / cameras).is_dir() for _, cameras in _FOLDERS)


def open_polycam(
    path: Path,
    split: str | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
) -> PosedImageSet:
    """Read a capture; Polycam knows no splits: see `splits.SplitPolicy` for how frames are divided.

    Args:
        path: the unpacked folder, with `keyframes` in it.
        split: "train", "test", or None for all.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of the frames is for testing instead.

    Raises:
        HyperPoseError: there is no such folder, a file is damaged (it is named), or an option is wrong.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction)
    findings = Findings()
    images, cameras = next(
        (
            (path / "keyframes" / images, path / "keyframes" / cameras)
            for images, cameras in _FOLDERS
            if (path / "keyframes" / cameras).is_dir()
        ),
        (path, path),
    )
    files = [
        file
        for description in sorted(cameras.glob("*.json"))
        if (file := _frame(description, images, findings)) is not None
    ]
    world = World(description=f"Polycam capture {path.absolute().name}", up=(0.0, 1.0, 0.0))
    return dataset_of(path, files, world, split, policy, findings)


def _frame(description: Path, images: Path, findings: Findings) -> PosedFile | None:
    try:
        content: dict[str, Any] = parse_json(
            read_bytes(description, "description of a frame", LARGEST_DOCUMENT_BYTES), description
        )
        rows = [[float(content[f"t_{row}{column}"]) for column in range(4)] for row in range(3)]
        fx, fy, cx, cy = (float(content[key]) for key in ("fx", "fy", "cx", "cy"))
        # ARKit counts pixels from the image's corner.
        camera = CameraModel(int(content["width"]), int(content["height"]), fx, fy, cx - 0.5, cy - 0.5)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HyperPoseError(f"{description}: not a camera of Polycam's raw data: {error!r}") from error
    pose = findings.pose_from_matrix(np.array([*rows, [0, 0, 0, 1]]) @ OPENGL_TO_OPTICAL, description.stem)
    if pose is None:
        return None
    path = next(
        (file for suffix in (".jpg", ".png") if (file := images / f"{description.stem}{suffix}").exists()),
        images / f"{description.stem}.jpg",
    )
    return PosedFile(description.stem, path, pose, camera)
