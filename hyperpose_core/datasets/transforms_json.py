"""Adapter for `transforms.json`, the format of NeRF tools (nerfstudio, instant-ngp, Blender's NeRF scenes).

Camera-to-world 4x4 matrices whose camera has OpenGL's axes (x right, y up, z backward); they are turned to
the optical frame here. Splits are the file's own where it has them: lists `train_filenames`, `val_filenames`
and `test_filenames`, or files `transforms_train.json`, `transforms_val.json` and `transforms_test.json`.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.datasets.findings import Findings, first_image_size, natural_order
from hyperpose_core.datasets.options import parse_number
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.splits import MissingSplitError, SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.world import World
from hyperpose_core.limits import LARGEST_TABLE_BYTES
from hyperpose_core.untrusted import parse_json

_FILE = "transforms.json"
_SPLITS = ("train", "val", "test")
_SUFFIXES = (".png", ".jpg", ".jpeg")
_OPENGL_TO_OPTICAL = np.diag([1.0, -1.0, -1.0, 1.0])
_INTRINSIC_KEYS = ("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "k1", "k2", "p1", "p2", "k3")
_PLUMB_BOB_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
_FISHEYE = "OPENCV_FISHEYE"


@dataclass(frozen=True)
class _Intrinsics:
    """The parameters of a camera as the file names them; pixels, camera_angle_x in radians."""

    model: str
    w: float | None = None
    h: float | None = None
    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    camera_angle_x: float | None = None
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0


@dataclass(frozen=True, eq=False)
class _Frame:
    name: str
    split: str | None
    image: PosedImage
    intrinsics: _Intrinsics
    is_colmap: bool


def looks_like_transforms_json(path: Path) -> bool:
    """Tell whether a path is such a file, or a folder that holds one."""
    if path.is_dir():
        return bool(_files(path))
    return path.suffix.lower() == ".json"


def open_transforms_json(
    path: Path,
    split: str | None = None,
    scale: str | float | None = None,
    scene: str | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
    test_sequences: str | Sequence[str] | None = None,
    split_file: Path | str | None = None,
) -> PosedImageSet:
    """Read a transforms.json, or a folder with one or with one a split.

    The images' folders are the sequences, ordered by name. Where neither the file nor an option says how
    frames are divided, blocks are: see `splits.SplitPolicy`.

    Args:
        path: the file, or the folder that holds it.
        split: "train", "val", "test", or None for all.
        scale: metres a unit of the file; by default what undoes the file's `applied_scale`. A file that was
            made from a COLMAP model has no unit without it.
        scene: the scene's name; the folder's by default.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of every sequence is for testing instead.
        test_sequences: these sequences are for testing instead, separated by commas.
        split_file: the images that this text file names are for testing instead.

    Raises:
        HyperPoseError: the file is missing, no JSON or lacks what a frame needs (the frame is named), or an
            option is wrong. Frames whose matrix is no pose are left out and counted instead.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction, test_sequences, split_file)
    own_splits = policy == SplitPolicy()
    metres = None if scale is None else parse_number("scale", scale, above=0.0)
    folder = (path if path.is_dir() else path.parent).absolute()
    files = _files(path)
    if not files:
        raise HyperPoseError(f"{path}: no {_FILE} in it, nor transforms_train.json")
    findings = Findings()
    frames = [
        frame
        for file_split, file in files.items()
        for frame in _read_frames(file, file_split, metres, scene or folder.name, findings)
    ]
    kept = {id(image) for image in findings.without_far_positions([frame.image for frame in frames])}
    frames = [frame for frame in frames if id(frame.image) in kept]
    if not frames:
        raise HyperPoseError(f"{path}: no usable frame; left out: {findings.dropped or 'none'}")
    if len({frame.intrinsics for frame in frames}) > 1:
        frames = [_with_own_camera(frame) for frame in frames]
    return PosedImageSet(
        name=folder.name if split is None else f"{folder.name} {split}",
        images=_select(frames, split, policy, own_splits),
        world=World(
            description=f"world of {path.absolute().name}",
            is_metric=scale is not None or not any(frame.is_colmap for frame in frames),
        ),
        camera=_common_camera(frames),
        dropped=findings.dropped,
        faults=findings.faults,
    )


def _files(path: Path) -> dict[str | None, Path]:
    """Return the files of a folder by the split that their name says, or None for one of all splits."""
    if path.is_file():
        return {None: path}
    if (path / _FILE).exists():
        return {None: path / _FILE}
    named = {split: path / f"transforms_{split}.json" for split in _SPLITS}
    return {split: file for split, file in named.items() if file.exists()}


def _read_frames(
    path: Path, file_split: str | None, metres: float | None, scene: str, findings: Findings
) -> list[_Frame]:
    content = _load(path)
    listed = _SplitLists(content)
    if metres is None:
        metres = 1.0 / parse_number(f"{path}: applied_scale", content.get("applied_scale", 1.0), above=0.0)
    frames = []
    for number, entry in enumerate(content["frames"]):
        where = f"{path}, frame {number}"
        name, matrix = _frame_parts(where, entry)
        matrix[:3, 3] *= metres
        pose = findings.pose_from_matrix(matrix @ _OPENGL_TO_OPTICAL, name)
        if pose is None:
            continue
        file = _image_file(path.parent, name)
        image = PosedImage(path=file, pose=pose, scene=scene, sequence=_sequence(name))
        intrinsics = _intrinsics(where, {**content, **entry})
        split = file_split or listed.split_of(name)
        if split is None and listed:
            findings.leave_out_faulty("in none of the file's split lists, so in no split", name)
        # As nerfstudio writes it.
        is_colmap = "colmap_im_id" in entry
        frames.append(_Frame(name, split, image, intrinsics, is_colmap))
    for name in listed.not_found():
        findings.fault("named by a split list, but no frame", name)
    return sorted(frames, key=lambda frame: natural_order(frame.name))


class _SplitLists:
    """A file's `train_filenames` and their like, whose names need not be written as the frames' are.

    A leading "./", backslashes and the suffix make no difference.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._splits = {
            _bare_name(name): (split, name)
            for split in _SPLITS
            for name in content.get(f"{split}_filenames") or ()
        }
        self._found: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._splits)

    def split_of(self, name: str) -> str | None:
        """Return the split of a frame; None where no list names it."""
        bare = _bare_name(name)
        self._found.add(bare)
        return self._splits.get(bare, (None, ""))[0]

    def not_found(self) -> list[str]:
        """Return the names in lists that no frame has."""
        return [name for bare, (_, name) in self._splits.items() if bare not in self._found]


def _bare_name(name: str) -> str:
    path = posixpath.normpath(name.replace("\\", "/"))
    stem, suffix = posixpath.splitext(path)
    return stem if suffix.lower() in _SUFFIXES else path


def _load(path: Path) -> dict[str, Any]:
    content = parse_json(read_bytes(path, "file of transforms", LARGEST_TABLE_BYTES), path)
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list):
        raise HyperPoseError(f"{path}: has no list 'frames', so it is no {_FILE}")
    for key in (f"{split}_filenames" for split in _SPLITS):
        names = content.get(key) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise HyperPoseError(f"{path}: {key} is no list of file names")
    return content


def _frame_parts(where: str, entry: object) -> tuple[str, np.ndarray]:
    if not isinstance(entry, dict):
        raise HyperPoseError(f"{where}: not an object with file_path and transform_matrix")
    name = entry.get("file_path")
    if not isinstance(name, str) or not name:
        raise HyperPoseError(f"{where}: file_path is missing")
    try:
        matrix = np.array(entry.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    if matrix.shape != (4, 4):
        raise HyperPoseError(f"{where} ({name}): transform_matrix is no 4x4 matrix of numbers")
    return name, matrix


def _image_file(folder: Path, name: str) -> Path:
    file = folder / name.replace("\\", "/")
    if file.suffix.lower() in _SUFFIXES or file.exists():
        return file
    # Blender's NeRF scenes leave the suffix away.
    candidates = [file.with_name(file.name + suffix) for suffix in _SUFFIXES]
    return next((candidate for candidate in candidates if candidate.exists()), candidates[0])


def _sequence(name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/")[:-1] if part not in (".", "..", "")]
    return "/".join(parts)


def _intrinsics(where: str, values: Mapping[str, Any]) -> _Intrinsics:
    try:
        return _Intrinsics(
            # instant-ngp marks its fisheye lenses so, and names no model.
            model=_FISHEYE
            if values.get("is_fisheye")
            else str(values.get("camera_model") or _PLUMB_BOB_MODELS[0]),
            **{key: float(values[key]) for key in _INTRINSIC_KEYS if values.get(key) is not None},
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise HyperPoseError(f"{where}: an intrinsic parameter is no number: {error}") from error


def _select(
    frames: Sequence[_Frame], split: str | None, policy: SplitPolicy, own_splits: bool
) -> tuple[PosedImage, ...]:
    images = [frame.image for frame in frames]
    if split is None or not own_splits or all(frame.split is None for frame in frames):
        return policy.select(images, split, [frame.name for frame in frames])
    chosen = tuple(frame.image for frame in frames if frame.split == split)
    if not chosen:
        present = sorted({frame.split for frame in frames if frame.split})
        raise MissingSplitError(f"there is no split {split!r}; the file has: {', '.join(present)}")
    return chosen


def _with_own_camera(frame: _Frame) -> _Frame:
    return replace(frame, image=replace(frame.image, camera=_common_camera([frame])))


def _common_camera(frames: Sequence[_Frame]) -> CameraModel | None:
    cameras = {frame.intrinsics for frame in frames}
    if len(cameras) > 1:
        return None
    camera = cameras.pop()
    if camera.model not in _PLUMB_BOB_MODELS or not (camera.fl_x or camera.camera_angle_x):
        return None
    width, height = camera.w, camera.h
    if not width or not height:
        size = first_image_size(frame.image for frame in frames)
        if size is None:
            return None
        width, height = size
    fx = camera.fl_x or 0.5 * width / math.tan(0.5 * float(camera.camera_angle_x or 0.0))
    fy = camera.fl_y or fx
    # The files count pixels from the image's corner, as COLMAP does.
    cx = (0.5 * width if camera.cx is None else camera.cx) - 0.5
    cy = (0.5 * height if camera.cy is None else camera.cy) - 0.5
    distortion = (camera.k1, camera.k2, camera.p1, camera.p2, camera.k3)
    return CameraModel(int(width), int(height), fx, fy, cx, cy, distortion if any(distortion) else ())
