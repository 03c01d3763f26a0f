"""Which pairs of images are matched: neighbours in time, and those that look alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from hyperpose_core.reconstruction.database import Pair
from hyperpose_core.reconstruction.frames import FrameSet

FloatArray = npt.NDArray[np.float32]

_FEW_IMAGES = 60
"""So many images are matched each with each."""

_STEPS_OF_A_VIDEO = (1, 2, 3, 4, 6, 8, 12, 16)
_STEPS_OF_A_FOLDER = (1, 2)
_ALIKE_OF_A_VIDEO = 5
_ALIKE_OF_A_FOLDER = 20


def choose_pairs(frames: FrameSet, signatures: FloatArray) -> tuple[list[Pair], set[Pair]]:
    """Choose the pairs of images to match.

    Frames of a video are matched with the next ones and, so that loops close and several videos come into one
    world, with those elsewhere that look most alike; photographs of a folder mainly with the latter.

    Args:
        frames: N frames.
        signatures: of unit norm, alike where images look alike, [N, D].

    Returns:
        all pairs of names, each in alphabetical order, and those of them that are not neighbours in time.
    """
    count = len(frames.frames)
    neighbours = {
        (start, start + step)
        for start in range(count)
        for step in _steps(frames, start)
        if start + step < count and frames.frames[start].source == frames.frames[start + step].source
    }
    if count <= _FEW_IMAGES:
        alike = set(combinations(range(count), 2))
    else:
        alike = _most_alike(frames, signatures)
    far = {pair for pair in alike - neighbours if not _is_near_in_time(frames, *pair)}
    return sorted(_named(frames, neighbours | alike)), set(_named(frames, far))


def _steps(frames: FrameSet, index: int) -> tuple[int, ...]:
    is_video = frames.frames[index].source in frames.consecutive
    return _STEPS_OF_A_VIDEO if is_video else _STEPS_OF_A_FOLDER


def _most_alike(frames: FrameSet, signatures: FloatArray) -> set[tuple[int, int]]:
    similarity = signatures @ signatures.T
    count = len(frames.frames)
    pairs = set()
    for index, frame in enumerate(frames.frames):
        row = similarity[index].copy()
        row[index] = -np.inf
        if frame.source in frames.consecutive:
            # Of a video's own frames, those near in time are matched anyway.
            near = [other for other in range(count) if _is_near_in_time(frames, index, other)]
            row[near] = -np.inf
        wanted = _ALIKE_OF_A_VIDEO if frame.source in frames.consecutive else _ALIKE_OF_A_FOLDER
        for other in np.argsort(-row, kind="stable")[:wanted].tolist():
            if np.isfinite(row[other]):
                pairs.add((min(index, other), max(index, other)))
    return pairs


def _is_near_in_time(frames: FrameSet, first: int, second: int) -> bool:
    source = frames.frames[first].source
    return (
        source in frames.consecutive
        and source == frames.frames[second].source
        and abs(first - second) <= _STEPS_OF_A_VIDEO[-1]
    )


def _named(frames: FrameSet, pairs: set[tuple[int, int]]) -> Sequence[Pair]:
    names = [frame.name for frame in frames.frames]
    named = (sorted((names[first], names[second])) for first, second in pairs)
    return [(first, second) for first, second in named]
