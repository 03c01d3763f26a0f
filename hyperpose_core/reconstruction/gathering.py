"""From sources to frames on disk: chooses the frames of videos and bags, takes all images of a folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

from hyperpose_core.choices import FRAME_SPACING, MOST_FRAMES
from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.rosbag_camera import read_camera_info
from hyperpose_core.datasets.rosbag_reading import COMPRESSED_IMAGE, RAW_IMAGE, Bag, BagImages, header_of
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import RgbImage, read_upright
from hyperpose_core.reconstruction.exif import ImageFacts, read_facts
from hyperpose_core.reconstruction.frames import CameraGuess, Frame, FrameSet
from hyperpose_core.reconstruction.picking import Picked, measure_frames, pick_frames, shrink
from hyperpose_core.reconstruction.sources import Source, image_files, promised_frames, read_video

FEWEST_FRAMES = 3

_IMAGE_TYPES = (RAW_IMAGE, COMPRESSED_IMAGE)
_JPEG_QUALITY = 95
_KEPT_SUFFIXES = (".jpg", ".jpeg", ".png")
_NANOSECONDS = 1_000_000_000

_Images = Callable[[], Iterator[tuple[int, RgbImage]]]


@dataclass(frozen=True)
class GatheringSettings:
    """How frames are chosen and what is known of their camera.

    Attributes:
        spacing: wanted motion of the image between chosen frames, as a share of its larger side.
        most: choose about so many frames of a long video at most.
        camera: the camera of all images, where it is known.
        separate_cameras: whether each source has a camera of its own, even if image sizes agree.
        image_topic: a bag's image topic; its only one where None.
        camera_info_topic: a bag's camera_info topic; the one beside the image topic where None.
    """

    spacing: float = FRAME_SPACING
    most: int = MOST_FRAMES
    camera: CameraModel | None = None
    separate_cameras: bool = False
    image_topic: str | None = None
    camera_info_topic: str | None = None


def gather_frames(sources: Sequence[Source], folder: Path, settings: GatheringSettings) -> FrameSet:
    """Write the frames of all sources below a folder, which is made anew.

    Args:
        sources: see `find_sources`.
        folder: gets a folder a source.
        settings: how frames are chosen.

    Raises:
        HyperPoseError: a source cannot be read, shows nothing, shows one view only, or a given camera is for
            images of another size.
    """
    shutil.rmtree(folder, ignore_errors=True)
    gathering = _Gathering(folder, settings)
    for source in sources:
        {"video": gathering.add_video, "images": gathering.add_folder, "bag": gathering.add_bag}[source.kind](
            source
        )
    return FrameSet(
        tuple(gathering.frames),
        gathering.cameras,
        tuple(source.name for source in sources if source.kind != "images"),
        gathering.findings.dropped,
        tuple(gathering.notes),
    )


class _Gathering:
    def __init__(self, folder: Path, settings: GatheringSettings) -> None:
        self._folder = folder
        self._settings = settings
        self.frames: list[Frame] = []
        self.cameras: dict[str, CameraGuess] = {}
        self.findings = Findings()
        self.notes: list[str] = []

    def add_video(self, source: Source) -> None:
        promised = promised_frames(source.path)
        decoded = self._add_run(source, lambda: read_video(source.path), promised, None)
        if decoded < 0.98 * promised:
            self.notes.append(f"{source.path}: decoding broke off after {decoded} of {promised} frames")

    def add_bag(self, source: Source) -> None:
        settings = self._settings
        with Bag(source.path) as bag:
            topic = settings.image_topic or bag.only_topic(_IMAGE_TYPES, "--image-topic")
            if topic is None:
                raise HyperPoseError(f"{source.path}: no image topic; it has: {bag.listing()}")
            kind = bag.require(topic, _IMAGE_TYPES)
            known = read_camera_info(bag, settings.camera_info_topic, topic, self.findings)
            places = _bag_places(bag, topic)
        images = BagImages(source.path.absolute(), topic, kind)

        def read() -> Iterator[tuple[int, RgbImage]]:
            for stamp_ns, recorded_ns, place in places:
                yield stamp_ns, images.read(recorded_ns, place)

        self._add_run(source, read, len(places), known)

    def add_folder(self, source: Source) -> None:
        files = image_files(source.path)
        for number, file in enumerate(tqdm(files, f"{source.name}: taking images", unit="image")):
            relative = file.relative_to(source.path)
            facts = read_facts(file)
            if facts is None:
                self.findings.leave_out("not an image that can be decoded", str(relative))
                continue
            name = self._take_file(source, file, relative, facts)
            if name is None:
                self.findings.leave_out("not an image that can be decoded", str(relative))
                continue
            camera = self._camera(source, facts.width, facts.height, facts)
            stamp_ns = _stamp_in_name(file.stem) or facts.stamp_ns
            self.frames.append(Frame(name, source.name, number, camera, stamp_ns, location=facts.location))

    def _add_run(self, source: Source, images: _Images, count: int, known: CameraModel | None) -> int:
        """Choose frames of consecutive images and write them; return how many images there were."""
        watched = tqdm(images(), f"{source.name}: measuring", total=count or None, unit="frame")
        measured = measure_frames(shrink(image) for _, image in watched)
        picked = pick_frames(measured, self._settings.spacing, self._settings.most)
        self._check_picked(source, picked, len(measured))
        for cause, dropped in picked.dropped.items():
            for _ in range(dropped):
                self.findings.leave_out(cause, source.name)
        chosen = set(picked.indices)
        cuts = set(picked.cuts)
        starts_shot = False
        (self._folder / source.name).mkdir(parents=True)
        progress = tqdm(images(), f"{source.name}: writing frames", total=len(measured), unit="frame")
        for number, (stamp_ns, image) in enumerate(progress):
            starts_shot |= number in cuts
            if number not in chosen:
                continue
            name = f"{source.name}/{number:06d}.jpg"
            _write_image(self._folder / name, image)
            camera = self._camera(source, image.shape[1], image.shape[0], None, known)
            self.frames.append(Frame(name, source.name, number, camera, stamp_ns, starts_shot))
            starts_shot = False
        return len(measured)

    def _check_picked(self, source: Source, picked: Picked, count: int) -> None:
        if len(picked.indices) >= FEWEST_FRAMES:
            return
        cause = max(picked.dropped, key=picked.dropped.__getitem__, default="too few frames")
        what = (
            "is of one view only: the camera hardly moves; walk sideways, not just turning"
            if "dark" not in cause and "blurred" not in cause
            else f"shows too little: {cause} in {picked.dropped[cause]} of {count} frames"
        )
        raise HyperPoseError(f"{source.path}: {what}")

    def _take_file(self, source: Source, file: Path, relative: Path, facts: ImageFacts) -> str | None:
        """Put an image below the folder; return its name there, None where it cannot be decoded."""
        # COLMAP separates names by spaces.
        name = f"{source.name}/{relative.as_posix()}"
        name = re.sub(r"\s", "_", name)
        if facts.is_turned or file.suffix.lower() not in _KEPT_SUFFIXES:
            try:
                image = read_upright(file)
            except HyperPoseError:
                return None
            target = _unused((self._folder / name).with_suffix(".jpg"))
            _write_image(target, image)
        else:
            target = _unused(self._folder / name)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(file, target)
        return target.relative_to(self._folder).as_posix()

    def _camera(
        self,
        source: Source,
        width: int,
        height: int,
        facts: ImageFacts | None,
        known: CameraModel | None = None,
    ) -> str:
        """Return the name of the camera of an image, which is noted where it is new."""
        parts = [source.name] if self._settings.separate_cameras else []
        parts += [facts.camera] if facts is not None and facts.camera else []
        parts += [f"{width}x{height}"]
        if facts is not None and facts.focal_length_px:
            parts += [f"f={facts.focal_length_px:.0f}"]
        if known is not None:
            parts += [f"camera_info f={known.fx:.1f}"]
        name = " ".join(parts)
        if name not in self.cameras:
            self.cameras[name] = _guess(source, width, height, facts, known, self._settings.camera)
        return name


def _guess(
    source: Source,
    width: int,
    height: int,
    facts: ImageFacts | None,
    known: CameraModel | None,
    given: CameraModel | None,
) -> CameraGuess:
    if given is not None:
        if (given.width, given.height) != (width, height):
            raise HyperPoseError(
                f"{source.path}: has images of {width}x{height}, --camera is for {given.width}x{given.height}"
            )
        return CameraGuess(width, height, given, True, "--camera")
    if known is not None and (known.width, known.height) == (width, height):
        return CameraGuess(width, height, known, True, "camera_info")
    if facts is not None and facts.focal_length_px:
        focal = facts.focal_length_px
        start = CameraModel(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)
        return CameraGuess(width, height, start, False, "EXIF, then solved")
    return CameraGuess(width, height)


def _bag_places(bag: Bag, topic: str) -> list[tuple[int, int, int]]:
    """Return stamp, time of recording (nanoseconds) and place among those of that time, by stamp."""
    places: list[tuple[int, int, int]] = []
    at_time: dict[int, int] = {}
    for message in bag.messages(topic):
        stamp_ns, _ = header_of(message)
        place = at_time.get(message.recorded_ns, 0)
        at_time[message.recorded_ns] = place + 1
        places.append((stamp_ns or message.recorded_ns, message.recorded_ns, place))
    return sorted(places)


def _write_image(path: Path, image: RgbImage) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        is_written, data = cv2.imencode(
            ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        assert is_written
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise HyperPoseError(f"{path}: cannot write: {error.strerror}") from error


def _unused(path: Path) -> Path:
    candidates: Iterable[Path] = (
        path,
        *(path.with_stem(f"{path.stem}_{number}") for number in range(2, 100)),
    )
    return next(candidate for candidate in candidates if not candidate.exists())


def _stamp_in_name(stem: str) -> int | None:
    """Return the nanoseconds that a file's name says: 1305031102.175304, or 19 digits."""
    if re.fullmatch(r"\d{9,10}\.\d{1,9}", stem):
        seconds, fraction = stem.split(".")
        return int(seconds) * _NANOSECONDS + int(fraction.ljust(9, "0"))
    if re.fullmatch(r"\d{16}|\d{19}", stem):
        return int(stem) * (1000 if len(stem) == 16 else 1)
    return None
