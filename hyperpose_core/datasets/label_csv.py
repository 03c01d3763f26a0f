"""Adapter for the label files of the reference implementation.

One row an image: `scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4`, the quaternion of any norm but zero. What
the pose means is the dataset's own choice, so the caller says it (`CONVENTIONS`, and the quaternion's order).
Two columns more are read where they are there: `stamp_ns` and `condition`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.findings import Findings, read_number
from hyperpose_core.datasets.options import parse_camera, parse_numbers
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.splits import MissingSplitError
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes, read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES
from hyperpose_core.untrusted import parse_json, reading

COLUMNS = ("scene", "split", "seq", "img_path", "t1", "t2", "t3", "q1", "q2", "q3", "q4")
CONVENTIONS = ("camera_to_world", "centre_and_world_to_camera_rotation", "world_to_camera_extrinsics")
"""What t and q are: the camera's pose in the world (7Scenes); the camera's centre in the world, beside the
rotation from the world to the camera (Cambridge Landmarks, PoseNet); or the world's pose in the camera, both
parts inverted (COLMAP, OpenCV's extrinsics)."""
QUATERNION_ORDERS = ("wxyz", "xyzw")
LABELS_FILE = "labels.csv"


def companion_path(path: Path) -> Path:
    """Return the file beside a label file that says the camera and the world."""
    return path.with_suffix(".json")


def looks_like_labels(path: Path) -> bool:
    """Tell whether a folder holds labels with their companion, as `hyperpose reconstruct` writes them."""
    labels = path / LABELS_FILE
    return labels.exists() and companion_path(labels).exists()


def open_label_csv(
    path: Path,
    split: str | None = None,
    image_root: str | None = None,
    convention: str = "camera_to_world",
    camera: str | CameraModel | None = None,
    condition: str = "",
    origin: str | Sequence[float] | None = None,
    quaternion_order: str = "wxyz",
) -> PosedImageSet:
    """Read a label file.

    Args:
        path: the CSV file, or a folder with `labels.csv`.
        split: keep the rows whose `split` column says so; None keeps all.
        image_root: the folder that `img_path` starts from; the CSV's own folder where None.
        convention: what t and q are, one of `CONVENTIONS`.
        camera: the images' pinhole camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels, where it is known;
            by default the companion's.
        condition: the images' light or season, where the file has no such column.
        origin: where local (0, 0, 0) lies in the labels' world, x,y,z in metres; to keep a far world (UTM)
            local.
        quaternion_order: "wxyz" or "xyzw": what q1 to q4 are.

    Raises:
        HyperPoseError: an option is wrong, a column or a value is missing or wrong (the row is named), or no
            row is of the split.
    """
    if convention not in CONVENTIONS:
        raise HyperPoseError(f"convention {convention!r} is unknown; use {' or '.join(CONVENTIONS)}")
    if quaternion_order not in QUATERNION_ORDERS:
        raise HyperPoseError(
            f"quaternion_order {quaternion_order!r} is unknown; use {' or '.join(QUATERNION_ORDERS)}"
        )
    if path.is_dir():
        path = path / LABELS_FILE
    companion = _read_companion(companion_path(path))
    pinhole = parse_camera(camera) or companion[0]
    zero = np.array(parse_numbers("origin", origin, 3) if origin is not None else [0.0, 0.0, 0.0])
    form = _Form(
        Path(image_root) if image_root else path.parent, convention, quaternion_order, condition, zero
    )
    rows = _read_rows(path)
    findings = Findings()
    images = [
        _record(f"{path}, row {number}", row, form, findings)
        for number, row in rows
        if split is None or _text(row, "split") == split
    ]
    if not images:
        present = ", ".join(sorted({_text(row, "split") for _, row in rows})) or "none: the file has no rows"
        raise MissingSplitError(f"{path}: no row of split {split!r}; splits in the file: {present}")
    scenes = sorted({image.scene for image in images})
    return PosedImageSet(
        name=path.stem,
        images=tuple(findings.without_far_positions(images)),
        world=_shifted(companion[1] or World(description=", ".join(scenes)), zero),
        camera=pinhole,
        dropped=findings.dropped,
        faults=findings.faults,
    )


@dataclass(frozen=True, eq=False)
class _Form:
    """How rows are to be read: as the options of `open_label_csv` say."""

    root: Path
    convention: str
    quaternion_order: str
    condition: str
    origin: Array

    def pose(self, position: Array, quaternion: Array, where: str, findings: Findings) -> Pose | None:
        """Return the camera's pose in the local world of t and q; None where they are no pose."""
        if self.quaternion_order == "xyzw":
            quaternion = np.roll(quaternion, 1)
        said = findings.pose(position, quaternion, where)
        if said is None:
            return None
        if self.convention == "world_to_camera_extrinsics":
            said = said.inverse()
        elif self.convention == "centre_and_world_to_camera_rotation":
            said = Pose(said.position, said.inverse().orientation)
        return Pose(said.position - self.origin, said.orientation)


def _read_companion(path: Path) -> tuple[CameraModel | None, World | None]:
    """Read what a companion says; nothing where there is none."""
    if not path.exists():
        return None, None
    with reading(path, "description of camera and world"):
        content = parse_json(read_bytes(path, "companion", LARGEST_DOCUMENT_BYTES), path)
        camera, world = content["camera"], World.from_dict(content["world"])
        return None if camera is None else CameraModel.from_dict(camera), world


def _shifted(world: World, origin: np.ndarray) -> World:
    return replace(world, origin=world.origin + origin)


def _read_rows(path: Path) -> list[tuple[int, dict[str, str | None]]]:
    reader = csv.DictReader(io.StringIO(read_text(path, "label file"), newline=""))
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise HyperPoseError(f"{path}: column {missing[0]!r} is missing; expected {','.join(COLUMNS)}")
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise HyperPoseError(f"{path}: cannot read the label file: {error}") from error


def _record(where: str, row: dict[str, str | None], form: _Form, findings: Findings) -> PosedImage:
    for name in ("scene", "img_path"):
        if not _text(row, name):
            raise HyperPoseError(f"{where}: {name} is empty")
    position = np.array([_number(where, row, f"t{axis}") for axis in (1, 2, 3)])
    quaternion = np.array([_number(where, row, f"q{part}") for part in (1, 2, 3, 4)])
    pose = form.pose(position, quaternion, where, findings)
    if pose is None:
        raise HyperPoseError(f"{where}: a pose is seven finite numbers, its quaternion not zero")
    stamp = _text(row, "stamp_ns")
    try:
        stamp_ns = int(stamp) if stamp else None
    except ValueError as error:
        raise HyperPoseError(f"{where}: stamp_ns {stamp!r} is no whole number of nanoseconds") from error
    return PosedImage(
        path=form.root / _text(row, "img_path"),
        pose=pose,
        scene=_text(row, "scene"),
        sequence=_text(row, "seq"),
        stamp_ns=stamp_ns,
        condition=_text(row, "condition") or form.condition,
    )


def _number(where: str, row: dict[str, str | None], name: str) -> float:
    text = _text(row, name)
    try:
        return read_number(text)
    except ValueError as error:
        raise HyperPoseError(f"{where}: {name} is {text!r}, which is no number") from error


def _text(row: dict[str, str | None], name: str) -> str:
    """Return a cell without blanks around it, empty where the row is too short."""
    return (row.get(name) or "").strip()
