"""What people hand in: videos, folders of photographs and bags, each a run of images in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from hyperpose_core.datasets.findings import natural_order
from hyperpose_core.datasets.rosbag_reading import STORAGE_SUFFIXES, looks_like_rosbag
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import RgbImage

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

_NANOSECONDS = 1_000_000_000
_NANOSECONDS_IN_MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Source:
    """One video, folder or bag.

    Attributes:
        path: where it is.
        kind: which of the three.
        name: what it is called in file names and reports; no other source has it.
    """

    path: Path
    kind: Literal["video", "images", "bag"]
    name: str


def find_sources(paths: Sequence[Path]) -> tuple[Source, ...]:
    """Tell what each path is.

    Raises:
        HyperPoseError: a path does not exist, comes twice, or is a folder without images.
    """
    sources: list[Source] = []
    for path in paths:
        if not path.exists():
            raise HyperPoseError(f"{path}: no such video, folder or bag")
        if any(path.resolve() == source.path.resolve() for source in sources):
            raise HyperPoseError(f"{path}: given twice")
        names = {source.name for source in sources}
        base = path.stem if path.is_file() else path.absolute().name
        name = next(name for name in (base, *(f"{base}_{n}" for n in range(2, 10_000))) if name not in names)
        sources.append(Source(path, _kind(path), name))
    return tuple(sources)


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and in those below it, frame2 before frame10."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(files, key=lambda file: natural_order(file.relative_to(folder).as_posix()))


def read_video(path: Path) -> Iterator[tuple[int, RgbImage]]:
    """Give the stamp, nanoseconds since the start, and the image RGB [H, W, 3] of each frame of a video.

    Raises:
        HyperPoseError: it cannot be decoded.
    """
    capture = cv2.VideoCapture(str(path))
    number, last_ns = 0, -1
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        while capture.isOpened():
            is_read, image = capture.read()
            if not is_read:
                break
            stamp_ns = round(capture.get(cv2.CAP_PROP_POS_MSEC) * _NANOSECONDS_IN_MILLISECOND)
            if stamp_ns <= last_ns:  # some containers say no times
                stamp_ns = round(number / rate * _NANOSECONDS) if rate > 0 else last_ns + 1
            yield stamp_ns, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            number, last_ns = number + 1, max(stamp_ns, last_ns + 1)
    finally:
        capture.release()
    if number == 0:
        raise HyperPoseError(
            f"{path}: cannot be decoded as a video; re-encode it as H.264 (ffmpeg -i IN -c:v libx264 OUT.mp4)"
        )


def promised_frames(path: Path) -> int:
    """Return how many frames a video's header promises; 0 where it says nothing."""
    capture = cv2.VideoCapture(str(path))
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()


def _kind(path: Path) -> Literal["video", "images", "bag"]:
    if looks_like_rosbag(path) and (path.is_file() or (path / "metadata.yaml").exists()):
        return "bag"
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise HyperPoseError(f"{path}: one image has no pose by itself; give a folder of images")
        return "video"
    if not image_files(path):
        what = "several bags in it: give each" if looks_like_rosbag(path) else "no images in it"
        raise HyperPoseError(f"{path}: {what} ({', '.join(IMAGE_SUFFIXES)}; a bag: {STORAGE_SUFFIXES})")
    return "images"
