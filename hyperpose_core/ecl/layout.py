"""Where variants lie, and the labels beside them: in a form that `open_dataset` reads back."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hyperpose_core.datasets.cambridge import ORIGINAL
from hyperpose_core.datasets.label_csv import COLUMNS
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, eq=False)
class Variant:
    """One image to make.

    Attributes:
        source: the frame it is made from, whose pose and stamp it keeps.
        name: the frame's name, one of its own in the dataset; seeds follow from it.
        condition: what to show, or "original" for the frame as it is.
        file: where it goes, below the output folder.
    """

    source: PosedImage
    name: str
    condition: str
    file: PurePosixPath


def plan_cambridge(data: PosedImageSet, conditions: Sequence[str]) -> list[Variant]:
    """Return the variants in the layout of the Extended Cambridge Landmarks.

    `<condition>/<Scene>/<sequence>/<frame>_<condition>.png`; the labels are those of the original images.

    Raises:
        HyperPoseError: an image's name points out of its scene's folder.
    """
    variants = []
    for image in data.images:
        folder = PurePosixPath(image.scene, image.sequence)
        if ".." in folder.parts or folder.is_absolute():
            raise HyperPoseError(f"{data.name}: image {folder / image.path.name} lies outside its scene")
        stem, suffix = image.path.stem, image.path.suffix
        variants += [
            Variant(image, f"{folder}/{stem}", condition, condition / folder / f"{stem}_{condition}{suffix}")
            for condition in conditions
        ]
    return variants


def plan_csv(data: PosedImageSet, conditions: Sequence[str]) -> list[Variant]:
    """Return the variants, and the originals, for one label CSV.

    `<condition>/<scene>/<sequence>/<frame>.png`, the originals copied, so that the folder is a dataset.

    Raises:
        HyperPoseError: two frames cannot be told apart by scene, sequence, file and stamp.
    """
    names = _names(data)
    return [
        Variant(image, name, condition, PurePosixPath(condition, f"{name}.png"))
        for image, name in zip(data.images, names, strict=True)
        for condition in (ORIGINAL, *conditions)
    ]


def label_csv(variants: Iterable[Variant], split: str) -> str:
    """Return the label file of variants: poses to the last bit, camera-to-world, in the data's own world."""
    # A video's neighbours must stay neighbours, so the conditions go one after the other.
    by_condition: dict[str, list[Variant]] = defaultdict(list)
    for variant in variants:
        by_condition[variant.condition].append(variant)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, "stamp_ns", "condition"])
    for variant in (variant for group in by_condition.values() for variant in group):
        image = variant.source
        pose = [*image.pose.position.tolist(), *image.pose.orientation.tolist()]
        stamp = "" if image.stamp_ns is None else image.stamp_ns
        place = [image.scene, split, image.sequence, variant.file]
        writer.writerow([*place, *map(repr, pose), stamp, variant.condition])
    return stream.getvalue()


def csv_name(data: PosedImageSet) -> str:
    """Return the label file's name."""
    return f"{_safe(data.name)}_conditions.csv"


def _names(data: PosedImageSet) -> list[str]:
    """Return a path-like name a frame; frames of one file, as in a bag, have their stamps in it."""
    plain = [
        "/".join(_safe(part) for part in (image.scene, image.sequence, image.path.stem))
        for image in data.images
    ]
    sources = [(str(image.path), image.stamp_ns) for image in data.images]
    users: dict[str, set[tuple[str, int | None]]] = defaultdict(set)
    for name, source in zip(plain, sources, strict=True):
        users[name].add(source)
    names = [
        name if len(users[name]) == 1 else f"{name}-{_safe(image.path.suffix[1:])}-{image.stamp_ns}"
        for name, image in zip(plain, data.images, strict=True)
    ]
    owners: dict[str, tuple[str, int | None]] = {}
    for name, source in zip(names, sources, strict=True):
        if owners.setdefault(name, source) != source:
            raise HyperPoseError(
                f"{data.name}: frames {owners[name][0]} and {source[0]} have one name ({name}) and no stamps "
                "that tell them apart; give them different sequences"
            )
    return names


def _safe(text: str) -> str:
    """Return text as a folder's or file's name: no separators, no dots alone, not empty."""
    return _UNSAFE.sub("_", text).strip(".") or "_"
