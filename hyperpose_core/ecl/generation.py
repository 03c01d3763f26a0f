"""Makes the variants of a dataset's frames: resumable, one image at a time, no file half written."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

from hyperpose_core.datasets.cambridge import ORIGINAL
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.ecl.conditions import Conditions
from hyperpose_core.ecl.engine import Engine
from hyperpose_core.ecl.layout import Variant, csv_name, label_csv, plan_cambridge, plan_csv
from hyperpose_core.ecl.settings import SETTINGS_FILE, check_settings, image_seed, seeds_of, settings_document
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import locked_folder, replace_bytes, replace_text
from hyperpose_core.images import RgbImage

_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Generated:
    """What was made.

    Attributes:
        labels: the label CSV; None in the Cambridge layout, whose labels are the original images'.
        made: images made by this run.
        kept: images that an earlier run had made.
    """

    labels: Path | None
    made: int
    kept: int


def generate_variants(
    data: PosedImageSet,
    output: Path,
    engine: Engine,
    conditions: Conditions,
    *,
    seed: int = 0,
    cambridge: bool = False,
    split: str = "test",
) -> Generated:
    """Make every variant that is not made yet.

    Args:
        data: the frames.
        output: folder of the variants, new or from an interrupted run with the same settings.
        engine: what makes them.
        conditions: what to show.
        seed: each image's own seed follows from it, the condition and the frame's name.
        cambridge: lay them out as the Extended Cambridge Landmarks; else as folders with one label CSV, which
            has the original frames, too.
        split: what the label CSV calls the frames' split.

    Raises:
        HyperPoseError: a frame is unreadable or shows a condition already, the folder holds other images,
            another process makes some there, or it cannot be written.
    """
    names = tuple(conditions.conditions)
    taken = next((image for image in data.images if image.condition in names), None)
    if taken is not None:
        raise HyperPoseError(f"{taken.path}: shows {taken.condition} already; give the original frames alone")
    variants = plan_cambridge(data, names) if cambridge else plan_csv(data, names)
    try:
        with locked_folder(output, "generation"):
            _claim(output, variants, engine, conditions, seed, data.name)
            made = _make_all(output, variants, engine, seed)
            labels = None
            if not cambridge:
                labels = output / csv_name(data)
                replace_text(labels, label_csv(variants, split), "labels")
    except OSError as error:
        raise HyperPoseError(
            f"{error.filename or output}: cannot write it: {error.strerror or error}"
        ) from error
    return Generated(labels, made, len(variants) - made)


def _claim(
    output: Path, variants: Sequence[Variant], engine: Engine, conditions: Conditions, seed: int, source: str
) -> None:
    """Write the settings, or find the same ones there."""
    path = output / SETTINGS_FILE
    seeds = seeds_of(variants, seed)
    document = settings_document(engine.settings, conditions.conditions, seed, source, seeds)
    if check_settings(path, document):
        return
    foreign = next((output / item.file for item in variants if (output / item.file).exists()), None)
    if foreign is not None:
        raise HyperPoseError(
            f"{foreign}: exists, but no {SETTINGS_FILE} says how it was made; use another folder"
        )
    replace_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n", "settings")


def _make_all(output: Path, variants: Sequence[Variant], engine: Engine, seed: int) -> int:
    missing = [variant for variant in variants if not (output / variant.file).exists()]
    with tqdm(
        total=len(variants), initial=len(variants) - len(missing), unit="image", dynamic_ncols=True
    ) as progress:
        # A frame's variants follow one another, so that it is decoded once.
        for _, group in itertools.groupby(missing, key=lambda variant: variant.name):
            own = list(group)
            image = own[0].source.read()
            for variant in own:
                progress.set_description(variant.condition)
                replace_bytes(
                    output / variant.file, _encode(_varied(image, variant, engine, seed), variant), "image"
                )
                progress.update()
    return len(missing)


def _varied(image: RgbImage, variant: Variant, engine: Engine, seed: int) -> RgbImage:
    if variant.condition == ORIGINAL:
        return image
    return engine.vary(image, variant.condition, image_seed(seed, variant.condition, variant.name))


def _encode(image: RgbImage, variant: Variant) -> bytes:
    suffix = variant.file.suffix
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix.lower() in (".jpg", ".jpeg") else []
    try:
        return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()
    except cv2.error as error:
        raise HyperPoseError(f"{variant.source.path}: cannot write images of type {suffix!r}") from error
