"""Makes a map smaller: the landmarks that serve localisation most are kept, as many as a size allows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.landmarks.landmark_map import LandmarkMap, Landmarks, Observations

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_CELLS = 4  # along each side of an image
_INDEX_BYTES = 4
_PADDING_BYTES = 256  # by which the header of a larger map may be longer


def parse_size(text: str) -> int:
    """Read a size such as 20MB, 500 kB, 1GiB or 4000000 as bytes.

    Raises:
        HyperPoseError: the text is no positive size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-zA-Z]*)\s*", text)
    if found is None or found[2].upper() not in _UNITS or float(found[1]) <= 0:
        raise HyperPoseError(f"size {text!r}: expected a number and a unit, such as 20MB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def within_budget(content: LandmarkMap, size: int) -> LandmarkMap:
    """Keep a map's most useful landmarks, as many as fit.

    The pixels of the observations, which localisation does not need, go first. Landmarks stay in the order of
    their best place in any image: among those that the image sees in the same part of it, the ones that the
    most images see come first. So each image keeps some, spread over it.

    Args:
        content: the map.
        size: of the file, bytes.

    Raises:
        HyperPoseError: not even the images fit.
    """
    if content.size() <= size:
        return content
    order = most_useful_landmarks(content)
    light = replace(content, observations=replace(content.observations, pixels=None))
    if light.size() > size:
        light = select_landmarks(light, order[: _fitting(light, order, size)])
    kept = f"{len(light.landmarks)} of {len(content.landmarks)} landmarks, no pixels"
    return replace(light, statistics={**light.statistics, "budget": f"{size} bytes: {kept}"})


def select_landmarks(content: LandmarkMap, kept: npt.NDArray[np.int64]) -> LandmarkMap:
    """Return a map with some of its landmarks only, given by their indices."""
    is_kept = np.zeros(len(content.landmarks), dtype=np.bool_)
    is_kept[kept] = True
    numbers = np.cumsum(is_kept) - 1
    observations = content.observations
    stays = is_kept[observations.landmarks]
    counts = np.bincount(observations.images()[stays], minlength=len(content.images))
    return replace(
        content,
        landmarks=Landmarks(**{name: value[is_kept] for name, value in vars(content.landmarks).items()}),
        observations=Observations(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            numbers[observations.landmarks[stays]].astype(np.int32),
            None if observations.pixels is None else observations.pixels[stays],
        ),
    )


def view_counts(content: LandmarkMap) -> npt.NDArray[np.int64]:
    """Return how many images saw each landmark [L]."""
    return np.bincount(content.observations.landmarks, minlength=len(content.landmarks))


def most_useful_landmarks(content: LandmarkMap) -> npt.NDArray[np.int64]:
    """Return the landmarks' indices, the most useful first."""
    counts = view_counts(content)
    landmarks = content.observations.landmarks
    groups = content.observations.images().astype(np.int64) * _CELLS**2 + _cells(content)
    order = np.lexsort((landmarks, -counts[landmarks], groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    places = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    best = np.full(len(content.landmarks), len(order), dtype=np.int64)
    np.minimum.at(best, landmarks[order], places)
    return np.lexsort((-counts, best))


def _cells(content: LandmarkMap) -> npt.NDArray[np.int64]:
    """Return the part of the image that each observation lies in [O]; 0 where pixels are not known."""
    pixels = content.observations.pixels
    if pixels is None:
        return np.zeros(len(content.observations), dtype=np.int64)
    sizes = np.array([(camera.width, camera.height) for camera in content.cameras], dtype=np.float64)
    shares = (pixels + 0.5) / sizes[content.images.cameras[content.observations.images()]]
    cells = np.clip((shares * _CELLS).astype(np.int64), 0, _CELLS - 1)
    return np.asarray(cells[:, 1] * _CELLS + cells[:, 0])


def _fitting(content: LandmarkMap, order: npt.NDArray[np.int64], size: int) -> int:
    """Return how many landmarks, in some order, fit into a file of `size` bytes."""
    fixed = select_landmarks(content, order[:0]).size() + _PADDING_BYTES
    each = sum(value[:1].nbytes for value in vars(content.landmarks).values())
    needed = fixed + np.cumsum(each + _INDEX_BYTES * view_counts(content)[order])
    count = int(np.searchsorted(needed, size, side="right"))
    if count == 0:
        raise HyperPoseError(
            f"a budget of {size:,} bytes holds no landmark: the {len(content.images)} images take {fixed:,}"
        )
    return count
