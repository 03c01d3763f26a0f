"""Adapter for the label files of the reference implementation.

One row an image: `scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4`, the quaternion as w, x, y, z of any norm
but zero. What the pose means is the dataset's own choice, so the caller says it: camera-to-world (7Scenes) or
a world-to-camera quaternion beside the camera's centre (Cambridge Landmarks).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.records import CameraModel, PosedImage, PosedImageSet, World
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry import Pose

COLUMNS = ("scene", "split", "seq", "img_path", "t1", "t2", "t3", "q1", "q2", "q3", "q4")
CONVENTIONS = ("camera_to_world", "world_to_camera")


def open_label_csv(
    path: Path,
    split: str | None = None,
    image_root: str | None = None,
    convention: str = "camera_to_world",
    camera: str | None = None,
) -> PosedImageSet:
    """Read a label file.

    Args:
        path: the CSV file.
        split: keep the rows whose `split` column says so; None keeps all.
        image_root: the folder that `img_path` starts from; the CSV's own folder where None.
        convention: what the quaternion rotates: "camera_to_world" or "world_to_camera".
        camera: the images' pinhole camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels, where it is known.

    Raises:
        HyperPoseError: an option is wrong, a column or a value is missing or wrong (the row is named), or no row is of the split.
    """
    if convention not in CONVENTIONS:
        raise HyperPoseError(f"convention {convention!r} is unknown; use {' or '.join(CONVENTIONS)}")
    root = Path(image_root) if image_root else path.parent
    rows = _read_rows(path)
    images = tuple(
        _record(path, number, row, root, convention)
        for number, row in rows
        if split is None or row["split"].strip() == split
    )
    if not images:
        present = ", ".join(sorted({row["split"] for _, row in rows})) or "none: the file has no rows"
        raise HyperPoseError(f"{path}: no row of split {split!r}; splits in the file: {present}")
    scenes = sorted({image.scene for image in images})
    return PosedImageSet(
        name=path.stem,
        images=images,
        world=World(description=", ".join(scenes)),
        camera=None if camera is None else _parse_camera(camera),
    )


def _parse_camera(text: str) -> CameraModel:
    try:
        width, height, fx, fy, cx, cy = (float(part) for part in text.split(","))
    except ValueError as error:
        raise HyperPoseError(f"camera {text!r} is not of the form WIDTH,HEIGHT,FX,FY,CX,CY (pixels)") from error
    return CameraModel(int(width), int(height), fx, fy, cx, cy)


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            missing = [name for name in COLUMNS if name not in header]
            if missing:
                raise HyperPoseError(f"{path}: column {missing[0]!r} is missing; expected {','.join(COLUMNS)}")
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise HyperPoseError(f"{path}: cannot read the label file: {error}") from error


def _record(path: Path, number: int, row: dict[str, str], root: Path, convention: str) -> PosedImage:
    try:
        position = np.array([float(row[f"t{axis}"]) for axis in (1, 2, 3)])
        quaternion = np.array([float(row[f"q{part}"]) for part in (1, 2, 3, 4)])
        if convention == "world_to_camera":
            quaternion = quaternion * np.array([1.0, -1.0, -1.0, -1.0])
        pose = Pose(position, quaternion)
    except (TypeError, ValueError) as error:
        raise HyperPoseError(f"{path}, row {number}: {error}") from error
    if not row["img_path"]:
        raise HyperPoseError(f"{path}, row {number}: img_path is empty")
    return PosedImage(
        path=root / row["img_path"].strip(), pose=pose, scene=row["scene"].strip(), sequence=row["seq"].strip()
    )
