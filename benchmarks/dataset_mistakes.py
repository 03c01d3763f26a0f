"""Plants the usual mistakes in real datasets and prints what `hyperpose dataset check` names: a table.

    python benchmarks/dataset_mistakes.py [--data ../shared/data]

RedKitchen, NTU memorial and Strecha's castle, each as it is and with every mistake that it can have.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from hyperpose_core.dataset_check.pose_check import PoseCheck, check_poses
from hyperpose_core.datasets import PosedImage, PosedImageSet, open_dataset
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion
from hyperpose_core.images import RgbImage, read_image

_OPTICAL_IN_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_ELSEWHERE = Pose(np.array([4.0, -7.0, 1.0]), rotation_vector_to_quaternion([0.3, -0.2, 1.9]))


@dataclass(frozen=True)
class Subject:
    """A real dataset: its label files, its one scene, and its camera as the adapter takes it."""

    name: str
    files: tuple[str, ...]
    scene: str
    camera: str


SUBJECTS = (
    Subject(
        "RedKitchen",
        ("7scenes/redkitchen_train.csv", "7scenes/redkitchen_test.csv"),
        "redkitchen",
        "640,480,525.5,525.5,319.5,239.5",
    ),
    Subject(
        "NTU memorial",
        ("ntu_memorial/train.csv", "ntu_memorial/test.csv"),
        "ntu_memorial",
        "720,1280,1113,1113,360,640",
    ),
    Subject(
        "Strecha's castle",
        ("strecha/train.csv", "strecha/test.csv"),
        "castle",
        "1024,683,919.83,921.39,506.90,335.60",
    ),
)

Frames = Sequence[PosedImage]
Planter = Callable[[PosedImageSet], PosedImageSet]


def open_subject(subject: Subject, data: Path) -> PosedImageSet:
    """Open a subject's frames in the order of their recording."""
    parts = [open_dataset(data / file, camera=subject.camera) for file in subject.files]
    images = [image for part in parts for image in part.images if image.scene == subject.scene]
    images.sort(key=lambda image: (image.sequence, image.path.name))
    return replace(parts[0], images=tuple(images))


def _posed(change: Callable[[Pose], Pose]) -> Planter:
    def plant(data: PosedImageSet) -> PosedImageSet:
        return replace(data, images=tuple(replace(item, pose=change(item.pose)) for item in data.images))

    return plant


def _turned_axes(axes: np.ndarray) -> Planter:
    turn = Pose.from_matrix(np.block([[axes, np.zeros((3, 1))], [np.zeros((1, 3)), 1.0]]))
    return _posed(lambda pose: pose @ turn)


def _conjugated(pose: Pose) -> Pose:
    return Pose(pose.position, pose.orientation * [1.0, -1.0, -1.0, -1.0])


def _transposed(pose: Pose) -> Pose:
    return Pose.from_matrix(pose.matrix().T)


def _relabelled(data: PosedImageSet, order: Callable[[int], Sequence[int]], names: set[str]) -> PosedImageSet:
    """Give each frame of the named sequences the pose of another one of its sequence."""
    images: list[PosedImage] = []
    for name in dict.fromkeys(image.sequence for image in data.images):
        frames = [image for image in data.images if image.sequence == name]
        rows = order(len(frames)) if name in names else range(len(frames))
        images += [replace(frame, pose=frames[row].pose) for frame, row in zip(frames, rows, strict=True)]
    return replace(data, images=tuple(images))


def _shifted(data: PosedImageSet) -> PosedImageSet:
    names = {image.sequence for image in data.images}
    return _relabelled(data, lambda count: [min(row + 1, count - 1) for row in range(count)], names)


def _last_sequence(data: PosedImageSet) -> set[str]:
    return {max(image.sequence for image in data.images)}


def _reversed(data: PosedImageSet) -> PosedImageSet:
    data = _with_two_sequences(data, lambda place, count: place >= count // 2)
    return _relabelled(data, lambda count: range(count)[::-1], _last_sequence(data))


def _in_two_worlds(data: PosedImageSet) -> PosedImageSet:
    data = _with_two_sequences(data, lambda place, count: place % 2 == 1)
    moved = _last_sequence(data)
    images = [
        replace(image, pose=_ELSEWHERE @ image.pose) if image.sequence in moved else image
        for image in data.images
    ]
    return replace(data, images=tuple(images))


def _with_two_sequences(data: PosedImageSet, is_second: Callable[[int, int], bool]) -> PosedImageSet:
    """Deal the frames of a dataset of one sequence to two; what has more stays as it is."""
    if len({image.sequence for image in data.images}) > 1:
        return data
    count = len(data.images)
    named = [
        replace(image, sequence="second" if is_second(place, count) else "first")
        for place, image in enumerate(data.images)
    ]
    return replace(data, images=tuple(named))


@dataclass(frozen=True)
class TurnedReader:
    """Reads an image and turns it as its EXIF tag would, clockwise by quarter turns."""

    quarters: int

    def __call__(self, path: Path) -> RgbImage:
        """Read the image."""
        return np.ascontiguousarray(np.rot90(read_image(path), -self.quarters))


def _turned_images(data: PosedImageSet) -> PosedImageSet:
    return replace(data, images=tuple(replace(image, reader=TurnedReader(1)) for image in data.images))


def _with_camera(change: Callable[[CameraModel], CameraModel]) -> Planter:
    def plant(data: PosedImageSet) -> PosedImageSet:
        assert data.camera is not None
        return replace(data, camera=change(data.camera))

    return plant


MISTAKES: Mapping[str, tuple[str, Planter]] = {
    "none": ("", lambda data: data),
    "poses inverted": ("inverted", _posed(lambda pose: pose.inverse())),
    "only the rotation inverted": ("rotation inverted", _posed(_conjugated)),
    "OpenGL axes": ("OpenGL axes", _turned_axes(np.diag([1.0, -1.0, -1.0]))),
    "body axes (x forward)": ("body axes", _turned_axes(_OPTICAL_IN_BODY.T)),
    "quaternions x, y, z, w": (
        "quaternion order",
        _posed(lambda pose: Pose(pose.position, np.roll(pose.orientation, -1))),
    ),
    "4x4 matrices transposed": ("matrix transposed", _posed(_transposed)),
    "labels shifted by one frame": ("shifted", _shifted),
    "images turned by EXIF": ("EXIF turn", _turned_images),
    "focal length 20% too long": (
        "focal length",
        _with_camera(lambda camera: replace(camera, fx=1.2 * camera.fx, fy=1.2 * camera.fy)),
    ),
    "principal point at the corner": (
        "principal point",
        _with_camera(lambda camera: replace(camera, cx=0.0, cy=0.0)),
    ),
    "a sequence in another world": ("another world", _in_two_worlds),
    "a sequence reversed in time": ("reversed", _reversed),
}


def describe(check: PoseCheck, expected: str) -> str:
    """Say in a cell of the table what was named, and whether that is right."""
    kinds = sorted({mistake.kind for mistake in check.mistakes})
    if not kinds and not expected:
        return f"nothing; {check.scenes[0].error_px:.2f} px"
    if kinds != [expected]:
        return f"**{', '.join(kinds) or 'nothing'}**"
    first = check.mistakes[0]
    after = f" -> {first.mended_px:.2f}" if np.isfinite(first.mended_px) else ""
    return f"named; {first.labelled_px:.2f}{after} px"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit 1 where a mistake is not named, or a correct set raises an alarm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    data = parser.parse_args(arguments).data
    cv2.setNumThreads(2)
    print("| planted | " + " | ".join(subject.name for subject in SUBJECTS) + " |")
    print("|---" * (len(SUBJECTS) + 1) + "|")
    opened = [open_subject(subject, data) for subject in SUBJECTS]
    wrong = 0
    seconds: list[float] = []
    for planted, (expected, plant) in MISTAKES.items():
        cells = []
        for images in tqdm(opened, desc=planted, file=sys.stderr, leave=False):
            started = time.process_time()
            check = check_poses([plant(images)])
            seconds.append(time.process_time() - started)
            cells.append(describe(check, expected))
            wrong += "**" in cells[-1]
        print(f"| {planted} | " + " | ".join(cells) + " |", flush=True)
    typical, longest = np.median(seconds), max(seconds)
    print(f"\n{wrong} wrong; a check takes {typical:.0f} s of processor time, {longest:.0f} s at most")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
