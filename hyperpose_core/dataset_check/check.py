"""What a dataset holds and what is wrong with it, found by opening it and reading every image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.dataset_check.coverage import Coverage, measure_coverage
from hyperpose_core.dataset_check.motion import Motion, TimeStamps, measure_motion, measure_stamps
from hyperpose_core.dataset_check.pose_check import PoseCheck, check_poses
from hyperpose_core.datasets import adapter_options, dataset_format, open_dataset
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.robotcar import is_choice_of_runs
from hyperpose_core.datasets.splits import MissingSplitError
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel

WHOLE = "all"
"""What the one part of a dataset without splits is called."""

Progress = Callable[[Iterable[object], int], Iterable[object]]
"""Wraps some work to show how far it is; gets the number of its steps, too."""

# An image's (width, height), or why it cannot be read, by the record's id.
_Sizes = dict[int, "tuple[int, int] | str"]

_SPLITS = ("train", "test")
_MORE_SPLITS = ("val",)


@dataclass(frozen=True)
class PartReport:
    """The frames of one scene in one split under one condition.

    Attributes:
        split: "train", "test", another split's name, or `WHOLE`.
        scene: its name.
        condition: light or season; empty where the dataset doesn't say.
        frames: how many there are.
        sequences: how many recordings they are from.
        sizes: how many images there are of each size, as "640x480" -> count; empty if none was read.
        motion: extents, steps and jumps.
        stamps: what is to be said of the time stamps.
    """

    split: str
    scene: str
    condition: str
    frames: int
    sequences: int
    sizes: Mapping[str, int]
    motion: Motion
    stamps: TimeStamps


@dataclass(frozen=True)
class DatasetReport:
    """What a check found.

    Attributes:
        name: what the dataset is called.
        format: the adapter that read it.
        parts: scenes, splits and conditions.
        coverage: how near test frames are to training frames, a scene.
        unreadable: images that cannot be read, one line each, in order.
        poses: what the images say of the poses; None where no image was read.
        notes: what is worth knowing but nothing wrong.
        problems: what is wrong, one line each; empty for a dataset that can be used as it is.
    """

    name: str
    format: str
    parts: tuple[PartReport, ...]
    coverage: tuple[Coverage, ...]
    unreadable: tuple[str, ...]
    poses: PoseCheck | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class OpenedSplits:
    """The parts of a dataset that could be opened.

    Attributes:
        splits: by name, `WHOLE` where the dataset has none.
        notes: which splits it does not have.
        problems: why a split that it has could not be opened.
    """

    splits: Mapping[str, PosedImageSet]
    notes: Sequence[str]
    problems: Sequence[str]


def open_splits(path: Path, format: str = "auto", options: Mapping[str, str] | None = None) -> OpenedSplits:
    """Open whatever splits a dataset has.

    Args:
        path: the dataset.
        format: a name of `DATASET_FORMATS`, or "auto".
        options: the adapter's options; all conditions that are there are opened unless they say others.

    Raises:
        HyperPoseError: nothing of the dataset can be opened.
    """
    name = dataset_format(path, format)
    options = dict(options or {})
    if "conditions" in adapter_options(name):
        options.setdefault("conditions", "all")
    splits: dict[str, PosedImageSet] = {}
    missing: list[str] = []
    damaged: list[str] = []
    for split in () if is_choice_of_runs(path, options) else _SPLITS + _MORE_SPLITS:
        try:
            splits[split] = open_dataset(path, name, split, **options)
        except MissingSplitError as error:
            missing += [f"no split {split}: {error}"] if split in _SPLITS else []
        except HyperPoseError as error:
            damaged += [f"split {split} cannot be opened: {error}"] if split in _SPLITS else []
    if not splits:
        splits[WHOLE] = open_dataset(path, name, None, **options)
        return OpenedSplits(splits, [*missing, *damaged], [])
    return OpenedSplits(splits, missing, damaged)


def open_pair(path: Path, test_path: Path, format: str, options: Mapping[str, str] | None) -> OpenedSplits:
    """Open training frames in one place and test frames in another.

    Args:
        path: where the split "train" is, or, if it has no splits, all frames for training.
        test_path: where the split "test" is, or, if it has no splits, all frames for testing.
        format: see `open_splits`.
        options: see `open_splits`.

    Raises:
        HyperPoseError: one of them cannot be opened.
    """
    splits = {}
    for split, place in (("train", path), ("test", test_path)):
        parts = open_splits(place, format, options).splits
        if split not in parts and WHOLE not in parts:
            raise HyperPoseError(f"{place}: has no split {split!r}, only {', '.join(parts)}")
        splits[split] = parts[split] if split in parts else parts[WHOLE]
    return OpenedSplits(splits, [], [])


def check_dataset(
    path: Path,
    format: str = "auto",
    options: Mapping[str, str] | None = None,
    test_path: Path | None = None,
    read_images: bool = True,
    progress: Progress = lambda work, total: work,
) -> DatasetReport:
    """Open a dataset, read every image once, and say what it holds and what is wrong.

    A sample of the images is held against poses and camera (see `check_poses`).

    Args:
        path: the dataset.
        format: a name of `DATASET_FORMATS`, or "auto".
        options: the adapter's options.
        test_path: where the test frames are, if they are not in the same place.
        read_images: false looks only whether the image files are there.
        progress: shows how far the reading of images is.

    Raises:
        HyperPoseError: nothing of the dataset can be opened.
    """
    if test_path is None:
        opened = open_splits(path, format, options)
    else:
        opened = open_pair(path, test_path, format, options)
    images = [image for part in opened.splits.values() for image in part.images]
    sizes = _read_sizes(images, read_images, progress)
    parts = tuple(
        _part(split, scene, condition, records, sizes)
        for split, data in opened.splits.items()
        for (scene, condition), records in _by_scene_and_condition(data.images).items()
    )
    unreadable = tuple(dict.fromkeys(reason for reason in sizes.values() if isinstance(reason, str)))
    poses = check_poses(list(opened.splits.values())) if read_images and images else None
    said = poses.notes() if poses else []
    contradictions = map(str, poses.mistakes if poses else ())
    return DatasetReport(
        name=path.absolute().name,
        format=dataset_format(path, format),
        parts=parts,
        coverage=measure_coverage(opened.splits),
        unreadable=unreadable,
        poses=poses,
        notes=(*opened.notes, *_notes(opened.splits, parts), *said),
        problems=(*opened.problems, *_problems(opened.splits, parts, unreadable), *contradictions),
    )


def _read_sizes(
    images: Sequence[PosedImage],
    read_images: bool,
    progress: Progress,
) -> _Sizes:
    look = _size_of if read_images else _missing_file
    # Decoding releases Python's lock, so threads use all cores.
    with ThreadPoolExecutor() as pool:
        found = list(progress(pool.map(look, images), len(images)))
    return {
        id(image): size for image, size in zip(images, found, strict=True) if isinstance(size, (tuple, str))
    }


def _size_of(image: PosedImage) -> tuple[int, int] | str:
    try:
        height, width = image.read().shape[:2]
    except (HyperPoseError, OSError, ValueError) as error:
        return " ".join(str(error).split())
    return width, height


def _missing_file(image: PosedImage) -> str | None:
    return None if image.path.is_file() else f"{image.path}: no such file"


def _by_scene_and_condition(images: Sequence[PosedImage]) -> dict[tuple[str, str], list[PosedImage]]:
    groups: dict[tuple[str, str], list[PosedImage]] = {}
    for image in images:
        groups.setdefault((image.scene, image.condition), []).append(image)
    return dict(sorted(groups.items(), key=lambda item: item[0][0]))


def _part(split: str, scene: str, condition: str, images: Sequence[PosedImage], sizes: _Sizes) -> PartReport:
    read = [size for image in images if isinstance(size := sizes.get(id(image)), tuple)]
    return PartReport(
        split=split,
        scene=scene,
        condition=condition,
        frames=len(images),
        sequences=len({image.sequence for image in images}),
        sizes=dict(Counter(f"{width}x{height}" for width, height in read).most_common()),
        motion=measure_motion(images),
        stamps=measure_stamps(images),
    )


def _notes(splits: Mapping[str, PosedImageSet], parts: Sequence[PartReport]) -> list[str]:
    notes = [f"left out: {text}" for text in _counted(splits, "dropped")]
    notes += sorted({data.world.unit_note for data in splits.values() if data.world.unit_note})
    for scene in dict.fromkeys(part.scene for part in parts):
        sizes = Counter[str]()
        for part in parts:
            if part.scene == scene:
                sizes.update(part.sizes)
        if len(sizes) > 1:
            listing = ", ".join(f"{size} ({count})" for size, count in sizes.most_common())
            notes.append(f"{scene}: images of several sizes: {listing}")
    positions = np.concatenate([data.positions() for data in splits.values()])
    farthest = float(np.abs(positions).max()) if len(positions) else 0.0
    if farthest > 10_000.0:
        notes.append(
            f"positions are up to {farthest / 1000:.0f} km from zero; option origin makes them local"
        )
    return notes


def _problems(
    splits: Mapping[str, PosedImageSet], parts: Sequence[PartReport], unreadable: Sequence[str]
) -> list[str]:
    problems = [f"bad rows: {text}" for text in _counted(splits, "faults")]
    if unreadable:
        missing = sum(not image.path.is_file() for data in splits.values() for image in data.images)
        offer = f"; option skip_missing=true leaves out the {missing} missing ones" if missing else ""
        problems.append(f"{len(unreadable)} images cannot be read{offer}")
    for part in parts:
        problems += [f"{part.split}, {part.scene}: {fault}" for fault in part.stamps.faults()]
        problems += _other_sizes(part, splits[part.split].camera)
    keys = {split: Counter(map(_identity, data.images)) for split, data in splits.items()}
    for split, counts in keys.items():
        if repeated := [key for key, count in counts.items() if count > 1]:
            problems.append(f"{split}: {len(repeated)} images come more than once (first: {repeated[0][0]})")
    if shared := set(keys.get("train", ())) & set(keys.get("test", ())):
        problems.append(f"{len(shared)} images are both in train and in test (first: {min(shared)[0]})")
    if "train" in splits and "test" in splits:
        problems += [
            f"scene {scene} has test frames but no training frames"
            for scene in sorted(set(splits["test"].scenes) - set(splits["train"].scenes))
        ]
    return problems


def _other_sizes(part: PartReport, camera: CameraModel | None) -> list[str]:
    """Say which images are not those of the camera."""
    sizes = {tuple(map(int, size.split("x"))): count for size, count in part.sizes.items()}
    return [
        f"{part.split}, {part.scene}: {count} images are {width}x{height}, the camera's are "
        f"{camera.width}x{camera.height}"
        for (width, height), count in sizes.items()
        if camera is not None and not camera.has_proportions(width, height)
    ]


def _identity(image: PosedImage) -> tuple[str, str, str]:
    # All images of a bag have the bag's path; their readers tell them apart.
    return str(image.path), repr(image.stamp_ns), image.condition


def _counted(splits: Mapping[str, PosedImageSet], what: str) -> list[str]:
    """Say the counts of all splits; what two splits say alike is one finding about files they share."""
    found: dict[tuple[str, int], list[str]] = {}
    for split, data in splits.items():
        counts: Mapping[str, int] = data.dropped if what == "dropped" else data.faults
        for item in counts.items():
            found.setdefault(item, []).append(split)
    return [f"{count} x {cause} [{', '.join(parts)}]" for (cause, count), parts in found.items()]
