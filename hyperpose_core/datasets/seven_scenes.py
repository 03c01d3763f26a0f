"""Adapter for 7Scenes folders, as Microsoft Research publishes them.

`<scene>/TrainSplit.txt`, `<scene>/TestSplit.txt` ("sequence1" a line) and
`<scene>/seq-01/frame-000000.color.png`, PNG or JPEG, beside `frame-000000.pose.txt`, a camera-to-world 4x4
matrix in metres.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.findings import Findings, first_image_size, read_number
from hyperpose_core.datasets.options import parse_camera
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.splits import MissingSplitError
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.world import World
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES

_COLOUR_SUFFIXES = (".color.png", ".color.jpg", ".color.jpeg")
_SPLIT_FILES = {"train": "TrainSplit.txt", "test": "TestSplit.txt"}
_FRAMES_PER_SECOND = 30

COLOUR_CAMERA = CameraModel(640, 480, 525.5, 525.5, 319.5, 239.5)
"""The Kinect's colour camera, its focal length from structure from motion.

The 585 px that circulate (`camera-intrinsics.txt` in some copies) are those of the depth camera.
"""


def looks_like_seven_scenes(path: Path) -> bool:
    """Tell whether a folder is a 7Scenes scene, or holds scenes."""
    return path.is_dir() and bool(_scene_folders(path))


def open_seven_scenes(
    path: Path,
    split: str | None = None,
    scene: str | None = None,
    camera: str | CameraModel | None = None,
) -> PosedImageSet:
    """Read one scene's folder, or a folder of several scenes.

    Stamps count the frame numbers at the camera's 30 Hz from the start of each sequence, which are laid
    one after the other.

    Args:
        path: `<scene>` or the folder above it.
        split: "train" or "test" after the official split files; None takes every sequence.
        scene: one scene's name, where the folder holds several.
        camera: the colour camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels; by default `COLOUR_CAMERA` where the
            images have its size.

    Raises:
        HyperPoseError: no scene, split file, sequence or frame is where the layout says. Frames without a
            pose, or whose matrix is none, are left out and counted instead.
    """
    if split is not None and split not in _SPLIT_FILES:
        raise MissingSplitError(f"7Scenes has no split {split!r}; use train or test")
    folders = _scene_folders(path)
    if scene is not None:
        folders = [folder for folder in folders if folder.name == scene]
    if not folders:
        wanted = f"scene {scene!r}" if scene else "7Scenes scene (with seq-01/frame-000000.color.png)"
        raise HyperPoseError(f"{path}: no {wanted} found")
    findings = Findings()
    images = [image for folder in folders for image in _read_scene(folder, split, findings)]
    if not images:
        raise HyperPoseError(f"{path}: no usable frame; left out: {findings.dropped or 'none'}")
    pinhole = parse_camera(camera)
    if pinhole is None and first_image_size(images) == (COLOUR_CAMERA.width, COLOUR_CAMERA.height):
        pinhole = COLOUR_CAMERA
    return PosedImageSet(
        name=path.name if split is None else f"{path.name} {split}",
        images=tuple(findings.without_far_positions(images)),
        world=World(description="7Scenes " + ", ".join(folder.absolute().name for folder in folders)),
        camera=pinhole,
        dropped=findings.dropped,
        faults=findings.faults,
    )


def _scene_folders(path: Path) -> list[Path]:
    if any(path.glob("seq-*")):
        return [path]
    return sorted({sequence.parent for sequence in path.glob("*/seq-*") if sequence.is_dir()})


def _read_scene(folder: Path, split: str | None, findings: Findings) -> list[PosedImage]:
    sequences = _sequences(folder, split)
    images: list[PosedImage] = []
    first_frame = 0
    for sequence in sequences:
        frames = _frames(sequence)
        for number, colour in frames:
            pose_file = sequence / f"frame-{number:06d}.pose.txt"
            matrix = _read_matrix(pose_file, findings)
            pose = None if matrix is None else findings.pose_from_matrix(matrix, str(pose_file))
            if pose is None:
                continue
            images.append(
                PosedImage(
                    path=colour,
                    pose=pose,
                    scene=folder.absolute().name,
                    sequence=sequence.name,
                    stamp_ns=(first_frame + number) * 1_000_000_000 // _FRAMES_PER_SECOND,
                )
            )
        first_frame += frames[-1][0] + _FRAMES_PER_SECOND
    return images


def _sequences(folder: Path, split: str | None) -> list[Path]:
    if split is None:
        return sorted(sequence for sequence in folder.glob("seq-*") if sequence.is_dir())
    split_file = folder / _SPLIT_FILES[split]
    if not split_file.exists():
        raise MissingSplitError(f"{split_file}: no such file, so the scene has no such split")
    lines = read_text(split_file, "split file", LARGEST_DOCUMENT_BYTES).split()
    if not lines:
        raise HyperPoseError(f"{split_file}: names no sequence; expected 'sequence1' a line")
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
            number = colour.name[len("frame-") : -len(suffix)]
            if not number.isdecimal():
                raise HyperPoseError(f"{colour}: not named as frame-000000{suffix}")
            frames[int(number)] = colour
    if not frames:
        raise HyperPoseError(f"{sequence}: no colour frame (frame-000000.color.png or .jpg) in it")
    return sorted(frames.items())


def _read_matrix(path: Path, findings: Findings) -> np.ndarray | None:
    """Read a frame's matrix [4, 4]; None, and counted, where its file is missing or holds none.

    Recordings lose track of the camera, and write an empty file or none for such frames.
    """
    if not path.exists():
        findings.leave_out_faulty("no pose file", str(path))
        return None
    rows = read_text(path, "pose", LARGEST_DOCUMENT_BYTES).split()
    if not rows:
        findings.leave_out_faulty("empty pose file", str(path))
        return None
    try:
        return np.array([read_number(value) for value in rows]).reshape(4, 4)
    except ValueError:
        findings.leave_out_faulty("pose file without a 4x4 matrix", str(path))
        return None
