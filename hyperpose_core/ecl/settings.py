"""The file beside the variants that says how they were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hyperpose_core.datasets.cambridge import ORIGINAL
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.ecl.layout import Variant
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes
from hyperpose_core.limits import LARGEST_TABLE_BYTES
from hyperpose_core.untrusted import parse_json

SETTINGS_FILE = "ecl_settings.json"

_HIGHEST_FOLDER = 5


def image_seed(seed: int, condition: str, name: str) -> int:
    """Return an image's seed: it follows from what the image is, so the order of making does not matter."""
    digest = hashlib.sha256(f"{seed}\0{condition}\0{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def seeds_of(variants: Iterable[Variant], seed: int) -> dict[str, dict[str, int]]:
    """Return condition -> frame -> seed, for all that is not a copy."""
    seeds: dict[str, dict[str, int]] = {}
    for variant in variants:
        if variant.condition != ORIGINAL:
            own = image_seed(seed, variant.condition, variant.name)
            seeds.setdefault(variant.condition, {})[variant.name] = own
    return seeds


def settings_document(
    engine: Mapping[str, Any], prompts: Mapping[str, str], seed: int, source: str, seeds: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the file holds.

    Args:
        engine: the engine's own settings.
        prompts: condition -> prompt.
        seed: that the images' seeds follow from.
        source: name of the dataset.
        seeds: condition -> frame -> seed.
    """
    return {"source": source, "conditions": dict(prompts), "seed": seed, **engine, "seeds": seeds}


def check_settings(path: Path, document: Mapping[str, Any]) -> bool:
    """Tell whether a folder's images were begun with the same settings; False where none were begun.

    Raises:
        HyperPoseError: they were begun with others, or the file is damaged.
    """
    if not path.exists():
        return False
    earlier = _read(path)
    for key in dict.fromkeys([*earlier, *document]):
        if earlier.get(key) != document.get(key):
            raise HyperPoseError(
                f"{path}: the images there were made with other {key}{_change(earlier, document, key)}; use "
                "another output folder, or the same settings"
            )
    return True


def describe_variants(images: Iterable[PosedImage]) -> str:
    """Say what made the variants among images, from the settings beside them; "" where none are."""
    variants = (image for image in images if image.condition not in ("", ORIGINAL))
    folders = {folder for image in variants for folder in image.path.parents[:_HIGHEST_FOLDER]}
    files = sorted(folder / SETTINGS_FILE for folder in folders if (folder / SETTINGS_FILE).is_file())
    return "; ".join(dict.fromkeys(str(_read(file).get("images_are", "unknown")) for file in files))


def _read(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_bytes(path, "settings", LARGEST_TABLE_BYTES), path, "settings")
    except HyperPoseError as error:
        raise HyperPoseError(f"{error}; remove the folder to start it anew") from error
    if not isinstance(document, dict):
        raise HyperPoseError(f"{path}: damaged (no mapping); remove the folder to start anew")
    return document


def _change(earlier: Mapping[str, Any], now: Mapping[str, Any], key: str) -> str:
    """Return both values where they are short enough to say."""
    values = [json.dumps(document.get(key)) for document in (earlier, now)]
    return f" ({values[0]}, now {values[1]})" if max(map(len, values)) <= 60 else ""
