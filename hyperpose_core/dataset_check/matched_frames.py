"""Which frames of a sequence are matched with each other: a sample, found without believing any pose."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from hyperpose_core.dataset_check.features import Features, count_similar, find_features, match_features
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array

_GAPS = (1, 2, 4, 8, 16)
_GAP_TRIALS = 3
_AMPLE_MATCHES = 60
_AMPLE_MOTION = 0.15
_LEAST_MOTION = 0.008
_SIMILAR_FEATURES = 12


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """Two frames that show the same place.

    Attributes:
        first: one frame's number.
        second: the other's.
        points: matches in the first, [M, 2], pixels of the image as it is read.
        others: the same in the second.
    """

    first: int
    second: int
    points: Array
    others: Array


class FrameFeatures:
    """Features of frames, found when they are first asked for.

    Args:
        frames: the records; a frame's number is its place here.
    """

    def __init__(self, frames: Sequence[PosedImage]) -> None:
        self._frames = frames
        self._found: dict[int, Features | None] = {}

    def __getitem__(self, frame: int) -> Features | None:
        """Return a frame's features; None where the image cannot be read."""
        if frame not in self._found:
            self._found[frame] = self._extract(frame)
        return self._found[frame]

    def prepare(self, frames: Sequence[int]) -> None:
        """Find the features of several frames at once."""
        missing = sorted(set(frames) - set(self._found))
        # Decoding and OpenCV release Python's lock, so threads use all cores.
        with ThreadPoolExecutor() as pool:
            self._found.update(zip(missing, pool.map(self._extract, missing), strict=True))

    def size(self, frame: int) -> tuple[int, int] | None:
        """Return a frame's (width, height), None where the image cannot be read."""
        features = self[frame]
        return None if features is None else features.size

    def match(self, first: int, second: int) -> MatchedPair | None:
        """Match two frames; None where they show different places, or nothing moved between them."""
        features, others = self[first], self[second]
        if features is None or others is None:
            return None
        matches = match_features(features, others)
        if matches is None or _motion(*matches, features.size) < _LEAST_MOTION:
            return None
        return MatchedPair(first, second, *matches)

    def _extract(self, frame: int) -> Features | None:
        try:
            return find_features(self._frames[frame].read())
        except HyperPoseError:
            return None


def neighbouring_pairs(features: FrameFeatures, sequence: Sequence[int], anchors: int) -> list[MatchedPair]:
    """Match frames of one sequence with frames a little later.

    How much later follows from the images: as far as most still match. Where not even the next frame does,
    the order means nothing, and the frames that look most alike are matched.

    Args:
        features: of the frames.
        sequence: the frames' numbers in the order of their recording.
        anchors: at so many places of the sequence.
    """
    gap = _usual_gap(features, sequence)
    if not gap:
        sample = [sequence[index] for index in _spread(len(sequence), 2 * anchors)]
        return similar_pairs(features, sample, sample, 2 * anchors)
    half = max(gap // 2, 1)
    starts = _spread(len(sequence) - gap, anchors) if len(sequence) > gap else [0]
    steps = {
        (sequence[start + before], sequence[start + after])
        for start in starts
        for before, after in ((0, half), (half, gap), (0, gap))
        if before < after and start + after < len(sequence)
    }
    ordered = sorted(steps)
    features.prepare([frame for step in ordered for frame in step])
    return [pair for step in ordered if (pair := features.match(*step)) is not None]


def similar_pairs(
    features: FrameFeatures, frames: Sequence[int], others: Sequence[int], wanted: int
) -> list[MatchedPair]:
    """Match the frames that look most alike, at most so many pairs, of frames and others.

    Args:
        features: of the frames.
        frames: numbers of frames.
        others: numbers of the frames to match them with; the same ones for pairs among them.
        wanted: how many pairs are enough.
    """
    features.prepare([*frames, *others])
    candidates = combinations(frames, 2) if frames is others else product(frames, others)
    counted = []
    for first, second in candidates:
        one, other = features[first], features[second]
        if one is not None and other is not None:
            counted.append((count_similar(one, other), first, second))
    counted.sort(key=lambda item: -item[0])
    pairs: list[MatchedPair] = []
    for similar, first, second in counted[: 3 * wanted]:
        if similar < _SIMILAR_FEATURES or len(pairs) == wanted:
            break
        if (pair := features.match(first, second)) is not None:
            pairs.append(pair)
    return pairs


def _usual_gap(features: FrameFeatures, sequence: Sequence[int]) -> int:
    """Return how many frames later most frames still show much of the same; 0 where the next does not."""
    largest = []
    for place in _spread(max(len(sequence) - _GAPS[-1], 1), _GAP_TRIALS):
        good = 0
        for gap in _GAPS:
            if place + gap >= len(sequence):
                break
            one, other = features[sequence[place]], features[sequence[place + gap]]
            matches = None if one is None or other is None else match_features(one, other)
            if matches is None or one is None:
                break
            if good and len(matches[0]) < _AMPLE_MATCHES:
                break
            good = gap
            if _motion(*matches, one.size) > _AMPLE_MOTION:
                break
        largest.append(good)
    return int(np.median(largest)) if largest else 0


def _motion(points: Array, others: Array, size: tuple[int, int]) -> float:
    """Return by how much of the image's longer side matches moved, their median."""
    return float(np.median(np.linalg.norm(points - others, axis=1))) / max(size)


def _spread(count: int, wanted: int) -> list[int]:
    return np.unique(np.linspace(0, max(count - 1, 0), min(wanted, max(count, 1))).astype(int)).tolist()
