"""Adapter for 7Scenes folders, as Microsoft Research publishes them.

`<scene>/TrainSplit.txt`, `<scene>/TestSplit.txt` ("sequence1" a line) and `<scene>/seq-01/frame-000000.color.png`
beside `frame-000000.pose.txt`, a camera-to-world 4x4 matrix in metres. Colour may be PNG or JPEG.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.records import CameraModel, PosedImage, PosedImageSet, World
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry import Pose

_COLOUR_SUFFIXES = (".color.png", ".color.jpg", ".color.jpeg")
_SPLIT_FILES = {"train": "TrainSplit.txt", "test": "TestSplit.txt"}
_FRAMES_PER_SECOND = 30
_INTRINSICS_FILE = "camera-intrinsics.txt"


def looks_like_seven_scenes(path: Path) -> bool:
    """Tell whether a folder is a 7Scenes scene, or holds scenes."""
    return path.is_dir() and bool(_scene_folders(path))


def open_seven_scenes(path: Path, split: str | None = None, scene: str | None = None) -> PosedImageSet:
    """Read one scene's folder, or a folder of several scenes.

    Stamps count the frame numbers at the camera's 30 Hz from the start of each sequence, which are laid
    one after the other.

    Args:
        path: `<scene>` or the folder above it.
        split: "train" or "test" after the official split files; None takes every sequence.
        scene: one scene's name, where the folder holds several.

    Raises:
        HyperPoseError: no scene, split file, sequence or frame is where the layout says, or a pose is no pose.
    """
    if split is not None and split not in _SPLIT_FILES:
        raise HyperPoseError(f"7Scenes has no split {split!r}; use train or test")
    folders = _scene_folders(path)
    if scene is not None:
        folders = [folder for folder in folders if folder.name == scene]
    if not folders:
        wanted = f"scene {scene!r}" if scene else "7Scenes scene (a folder with seq-01/frame-000000.color.png)"
        raise HyperPoseError(f"{path}: no {wanted} found")
    images = [image for folder in folders for image in _read_scene(folder, split)]
    cameras = {_read_camera(folder, images[0]) for folder in folders}
    return PosedImageSet(
        name=path.name if split is None else f"{path.name} {split}",
        images=tuple(images),
        world=World(description="7Scenes " + ", ".join(folder.name for folder in folders)),
        camera=cameras.pop() if len(cameras) == 1 else None,
    )


def _scene_folders(path: Path) -> list[Path]:
    if any(path.glob("seq-*")):
        return [path]
    return sorted({sequence.parent for sequence in path.glob("*/seq-*") if sequence.is_dir()})


def _read_scene(folder: Path, split: str | None) -> list[PosedImage]:
    sequences = _sequences(folder, split)
    images: list[PosedImage] = []
    first_frame = 0
    for sequence in sequences:
        frames = _frames(sequence)
        for number, colour in frames:
            stamp_ns = (first_frame + number) * 1_000_000_000 // _FRAMES_PER_SECOND
            images.append(
                PosedImage(
                    path=colour,
                    pose=_read_pose(sequence / f"frame-{number:06d}.pose.txt"),
                    scene=folder.name,
                    sequence=sequence.name,
                    stamp_ns=stamp_ns,
                )
            )
        first_frame += frames[-1][0] + _FRAMES_PER_SECOND
    return images


def _sequences(folder: Path, split: str | None) -> list[Path]:
    if split is None:
        return sorted(sequence for sequence in folder.glob("seq-*") if sequence.is_dir())
    split_file = folder / _SPLIT_FILES[split]
    try:
        lines = split_file.read_text(encoding="utf-8-sig").split()
    except OSError as error:
        raise HyperPoseError(f"{split_file}: cannot read the split file: {error.strerror}") from error
    sequences = []
    for line in lines:
        match = re.fullmatch(r"sequence(\d+)", line)
        if not match:
            raise HyperPoseError(f"{split_file}: {line!r} is not of the form 'sequence1'")
        sequence = folder / f"seq-{int(match.group(1)):02d}"
        if not sequence.is_dir():
            raise HyperPoseError(f"{split_file}: names {line}, but {sequence} is no folder")
        sequences.append(sequence)
    return sequences


def _frames(sequence: Path) -> list[tuple[int, Path]]:
    frames = {}
    for suffix in reversed(_COLOUR_SUFFIXES):
        for colour in sequence.glob(f"frame-*{suffix}"):
            frames[int(colour.name[len("frame-") : -len(suffix)])] = colour
    if not frames:
        raise HyperPoseError(f"{sequence}: no colour frame (frame-000000.color.png or .jpg) in it")
    return sorted(frames.items())


def _read_pose(path: Path) -> Pose:
    try:
        matrix = np.loadtxt(path)
        if matrix.shape != (4, 4):
            raise ValueError("not a 4x4 matrix")
        return Pose.from_matrix(matrix)
    except OSError as error:
        raise HyperPoseError(f"{path}: cannot read the pose: {error}") from error
    except ValueError as error:
        raise HyperPoseError(f"{path}: no camera-to-world pose: {error}") from error


def _read_camera(folder: Path, image: PosedImage) -> CameraModel | None:
    path = folder / _INTRINSICS_FILE
    if not path.exists():
        return None
    matrix = np.loadtxt(path)
    height, width = image.read().shape[:2]
    return CameraModel(width, height, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
