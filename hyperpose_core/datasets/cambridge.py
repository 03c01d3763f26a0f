"""Adapter for Cambridge Landmarks folders and their Extended (ECL) test images.

`<Scene>/dataset_train.txt`, `<Scene>/dataset_test.txt` (three header lines, then `image x y z w p q r`) and
`<Scene>/seq1/frame00001.png`. The position is the camera's centre; the quaternion is world-to-camera and is
inverted here. Each scene has a frame of its own.

The Extended Cambridge images (HyperPose, section 4) show the test frames in the evening, in winter and in
summer, with the same poses. They are published as `<condition>/<Scene>/seq1/frame00001_<condition>.png`; a
folder `<Scene>/<condition>/seq1/` and names without the condition are found as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.findings import Findings, natural_order, read_number
from hyperpose_core.datasets.options import parse_camera, parse_names
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.splits import MissingSplitError
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World

ORIGINAL = "original"
CONDITIONS = ("evening", "winter", "summer")
"""The conditions of the Extended Cambridge Landmarks."""

_SPLIT_FILES = {"train": "dataset_train.txt", "test": "dataset_test.txt"}
_HEADER_LINES = 3
_COLUMNS = "image x y z w p q r"
_UP: Mapping[str, tuple[float, float, float]] = {
    "GreatCourt": (0.0, 0.0, 1.0),
    "KingsCollege": (0.0, 0.0, 1.0),
    "ShopFacade": (0.0, 0.0, 1.0),
    "StMarysChurch": (0.0, -1.0, 0.0),
}


def looks_like_cambridge(path: Path) -> bool:
    """Tell whether a folder is a scene of Cambridge Landmarks, or holds scenes."""
    return path.is_dir() and bool(_scene_folders(path))


def open_cambridge(
    path: Path,
    split: str | None = None,
    scene: str | None = None,
    conditions: str | Sequence[str] | None = None,
    extended: Path | str | None = None,
    camera: str | CameraModel | None = None,
) -> PosedImageSet:
    """Read one scene's folder, or a folder of several scenes.

    Args:
        path: `<Scene>` or the folder above it.
        split: "train" or "test" after the official files; None takes both.
        scene: one scene's name, where the folder holds several.
        conditions: which variants of the test images to take, separated by commas: "original", "evening",
            "winter", "summer", or the name of another folder of variants; "all" takes the original and
            every one of the three that is there. By default the original images alone, as published.
        extended: the folder that holds the Extended Cambridge images, if it is not the dataset's folder.
        camera: the images' pinhole camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels, where it is known.

    Raises:
        HyperPoseError: no scene, label file or variant is where the layout says, or a row is no label (the
            row is named). Rows that say an impossible pose are left out and counted instead.
    """
    if split is not None and split not in _SPLIT_FILES:
        raise MissingSplitError(f"Cambridge Landmarks has no split {split!r}; use train or test")
    folders = [folder for folder in _scene_folders(path) if scene in (None, folder.name)]
    if not folders:
        wanted = f"scene {scene!r}" if scene else "scene of Cambridge Landmarks (with dataset_train.txt)"
        raise HyperPoseError(f"{path}: no {wanted} found")
    findings = Findings()
    wanted_conditions = parse_names(conditions)
    images: list[PosedImage] = []
    for folder in folders:
        variants = _Variants.find(folder, wanted_conditions, Path(extended) if extended else None)
        images += _read_scene(folder, split, variants, findings)
    images = findings.without_far_positions(images)
    if not images:
        raise HyperPoseError(f"{path}: no usable frame; left out: {findings.dropped}")
    ups = {_UP.get(folder.name) for folder in folders}
    return PosedImageSet(
        name=path.name if split is None else f"{path.name} {split}",
        images=tuple(images),
        world=World(
            description="Cambridge Landmarks " + ", ".join(folder.name for folder in folders),
            up=ups.pop() if len(ups) == 1 else None,
        ),
        camera=parse_camera(camera),
        dropped=findings.dropped,
        faults=findings.faults,
    )


class _Variants:
    """Where the images of each wanted condition lie; the original ones have no folder of their own."""

    def __init__(self, folders: Mapping[str, Path | None]) -> None:
        self._folders = folders

    @classmethod
    def find(cls, scene: Path, wanted: Sequence[str], extended: Path | None) -> _Variants:
        if not wanted:
            return cls({"": None})
        roots = [scene.absolute().parent, *([extended] if extended else [])]
        candidates = {
            condition: [scene / condition, *(root / condition / scene.absolute().name for root in roots)]
            + [root / scene.absolute().name / condition for root in roots]
            for condition in (CONDITIONS if "all" in wanted else wanted)
        }
        found = {
            condition: next((folder for folder in folders if folder.is_dir()), None)
            for condition, folders in candidates.items()
            if condition != ORIGINAL
        }
        there = {condition: folder for condition, folder in found.items() if folder is not None}
        missing = [condition for condition in found if condition not in there]
        if missing and "all" not in wanted:
            raise HyperPoseError(
                f"{scene}: no images of condition {missing[0]!r}; expected {candidates[missing[0]][0]} or "
                f"{candidates[missing[0]][1]} (option extended says another place)"
            )
        if "all" in wanted:
            return cls({ORIGINAL if there else "": None, **there})
        return cls({**({ORIGINAL: None} if ORIGINAL in wanted else {}), **there})

    def of(self, split: str, scene: Path, name: str) -> Iterator[tuple[str, Path]]:
        """Give (condition, file) of a frame; training frames exist in the original only."""
        for condition, folder in self._folders.items():
            if folder is None:
                yield condition, scene / name
            elif split == "test":
                yield condition, _variant_file(folder, name, condition)


def _scene_folders(path: Path) -> list[Path]:
    # Told by the file's name alone, so that a folder of that name is an error and not another layout.
    if any((path / name).exists() for name in _SPLIT_FILES.values()):
        return [path]
    return sorted({file.parent for name in _SPLIT_FILES.values() for file in path.glob(f"*/{name}")})


def _variant_file(folder: Path, name: str, condition: str) -> Path:
    plain = folder / name
    named = plain.with_name(f"{plain.stem}_{condition}{plain.suffix}")
    return plain if plain.exists() else named


def _read_scene(folder: Path, split: str | None, variants: _Variants, findings: Findings) -> list[PosedImage]:
    splits = [split] if split else [name for name, file in _SPLIT_FILES.items() if (folder / file).exists()]
    images = []
    for name in splits:
        rows = sorted(
            _read_rows(folder / _SPLIT_FILES[name], findings), key=lambda row: natural_order(row[0])
        )
        images += [
            PosedImage(
                path=file,
                pose=pose,
                scene=folder.absolute().name,
                sequence=image.rpartition("/")[0],
                condition=condition,
            )
            for image, pose in rows
            for condition, file in variants.of(name, folder, image)
        ]
    # A video's neighbours must stay neighbours, so the conditions go one after the other.
    order = {condition: place for place, condition in enumerate(dict.fromkeys(i.condition for i in images))}
    return sorted(images, key=lambda image: order[image.condition])


def _read_rows(path: Path, findings: Findings) -> Iterator[tuple[str, Pose]]:
    if not path.exists():
        raise MissingSplitError(f"{path}: no such file, so the scene has no such split")
    for number, line in enumerate(read_text(path, "label file").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        try:
            if len(parts) != len(_COLUMNS.split()):
                raise ValueError(f"{len(parts)} columns")
            values = np.array([read_number(part) for part in parts[1:]])
        except ValueError as error:
            if number <= _HEADER_LINES:
                continue
            raise HyperPoseError(f"{path}, row {number}: {error}; expected {_COLUMNS}") from error
        camera_to_world = values[3:] * np.array([1.0, -1.0, -1.0, -1.0])
        pose = findings.pose(values[:3], camera_to_world, f"{path.parent.name}/{parts[0]}")
        if pose is not None:
            yield parts[0], pose
