"""What a sample of a dataset's images says, beside the labels that it is to be held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from hyperpose_core.dataset_check.epipolar import View, epipolar_errors
from hyperpose_core.dataset_check.hypotheses import Labels
from hyperpose_core.dataset_check.matched_frames import (
    FrameFeatures,
    MatchedPair,
    neighbouring_pairs,
    similar_pairs,
)
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array

_Item = TypeVar("_Item")

_FEWEST_ANCHORS = 5
_FRAMES_ACROSS = 12
_OTHERS_ACROSS = 40
_PAIRS_ACROSS = 8


@dataclass(frozen=True)
class SampleSize:
    """How much of a dataset is looked at.

    Attributes:
        sequences: at most so many, but one of every scene.
        anchors: places of a scene at which frames are matched with later ones.
    """

    sequences: int = 12
    anchors: int = 24


@dataclass(frozen=True, eq=False)
class SequenceEvidence:
    """One sequence's labels, and matches between its frames.

    Attributes:
        name: of the sequence.
        labels: of all its frames; where no camera is known, with any focal length.
        pairs: frames are numbered within the sequence.
    """

    name: str
    labels: Labels
    pairs: tuple[MatchedPair, ...]

    @property
    def side(self) -> int:
        """The images' longer side, pixels."""
        return max(self.labels.size)


@dataclass(frozen=True, eq=False)
class AcrossPair:
    """Two frames of two sequences that show the same place.

    Attributes:
        sequences: the sequences' places in the evidence.
        pair: its frames are numbered within their sequences.
    """

    sequences: tuple[int, int]
    pair: MatchedPair


@dataclass(frozen=True, eq=False)
class SceneEvidence:
    """What the images of one scene say.

    Attributes:
        scene: its name.
        sequences: those that could be looked at.
        across: matches between different sequences.
        knows_camera: whether the dataset has a camera model.
    """

    scene: str
    sequences: tuple[SequenceEvidence, ...]
    across: tuple[AcrossPair, ...]
    knows_camera: bool


def gather_evidence(
    images: Sequence[PosedImage], camera: CameraModel | None, sample: SampleSize
) -> tuple[SceneEvidence, ...]:
    """Match a sample of a dataset's images, scene by scene.

    Args:
        images: all records, those of a sequence in the order of their recording.
        camera: their camera model, where it is known.
        sample: how many of them are looked at.
    """
    scenes = _sequences_by_scene(images)
    wanted = max(sample.sequences // max(len(scenes), 1), 1)
    return tuple(
        _gather_scene(scene, _evenly(list(sequences.items()), wanted), camera, sample.anchors)
        for scene, sequences in scenes.items()
    )


def pair_errors(labels: Labels, pairs: Sequence[MatchedPair]) -> Array:
    """Return the median epipolar error of every pair under some labels of its sequence, pixels [P]."""
    return np.array([_median_error(labels, labels, pair) for pair in pairs])


def across_errors(sequences: Sequence[SequenceEvidence], pairs: Sequence[AcrossPair]) -> Array:
    """Return the median epipolar error of every pair of two sequences under their labels, pixels [P]."""
    return np.array(
        [
            _median_error(sequences[item.sequences[0]].labels, sequences[item.sequences[1]].labels, item.pair)
            for item in pairs
        ]
    )


def _median_error(first: Labels, second: Labels, pair: MatchedPair) -> float:
    errors = epipolar_errors(
        _view(first, pair.first),
        _view(second, pair.second),
        pair.points,
        pair.others,
        side=max(first.size),
        free_baseline=first.free_baseline and second.free_baseline,
    )
    return float(np.median(errors))


def _view(labels: Labels, frame: int) -> View:
    return View(labels.rotations[frame], labels.centres[frame], labels.intrinsics)


def _sequences_by_scene(images: Sequence[PosedImage]) -> dict[str, dict[str, list[PosedImage]]]:
    scenes: dict[str, dict[str, list[PosedImage]]] = {}
    conditions: dict[tuple[str, str], str] = {}
    for image in images:
        # Variants in other light and season have the poses of the first.
        if conditions.setdefault((image.scene, image.sequence), image.condition) == image.condition:
            scenes.setdefault(image.scene, {}).setdefault(image.sequence, []).append(image)
    return scenes


def _gather_scene(
    scene: str,
    sequences: Sequence[tuple[str, list[PosedImage]]],
    camera: CameraModel | None,
    anchors: int,
) -> SceneEvidence:
    frames = [image for _, records in sequences for image in records]
    features = FrameFeatures(frames)
    anchors = max(anchors // max(len(sequences), 1), _FEWEST_ANCHORS)
    found: list[SequenceEvidence] = []
    numbers: list[range] = []
    start = 0
    for name, records in sequences:
        own = range(start, start + len(records))
        start = own.stop
        pairs = neighbouring_pairs(features, own, anchors)
        size = next((size for pair in pairs if (size := features.size(pair.first))), None)
        if size is not None:
            labels = _labels(records, camera, size)
            local = [_within(pair, own, own, labels, camera, features) for pair in pairs]
            found.append(SequenceEvidence(name, labels, tuple(pair for pair in local if pair is not None)))
            numbers.append(own)
    across = _match_across(features, found, numbers, camera)
    return SceneEvidence(scene, tuple(found), tuple(across), camera is not None)


def _labels(records: Sequence[PosedImage], camera: CameraModel | None, size: tuple[int, int]) -> Labels:
    focal, middle = float(max(size)), ((size[0] - 1) / 2, (size[1] - 1) / 2)
    fx, fy, (cx, cy), camera_size = focal, focal, middle, size
    if camera is not None:
        scale = _proportion((camera.width, camera.height), size)
        factor = scale or 1.0
        fx, fy = camera.fx * factor, camera.fy * factor
        cx, cy = (camera.cx + 0.5) * factor - 0.5, (camera.cy + 0.5) * factor - 0.5
        camera_size = size if scale else (camera.width, camera.height)
    return Labels(
        rotations=np.array([image.pose.rotation() for image in records]),
        centres=np.array([image.pose.position for image in records]),
        intrinsics=np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
        size=size,
        camera_size=camera_size,
    )


def _within(
    pair: MatchedPair,
    first: range,
    second: range,
    labels: Labels,
    camera: CameraModel | None,
    features: FrameFeatures,
) -> MatchedPair | None:
    """Number a pair's frames within their sequences; bring its points to the labels' size, undistorted."""
    moved = []
    for frame, points in ((pair.first, pair.points), (pair.second, pair.others)):
        size = features.size(frame)
        scale = None if size is None else _proportion(size, labels.size)
        if scale is None:
            return None
        moved.append(_undistorted((points + 0.5) * scale - 0.5, labels, camera))
    return replace(
        pair,
        first=pair.first - first.start,
        second=pair.second - second.start,
        points=moved[0],
        others=moved[1],
    )


def _undistorted(points: Array, labels: Labels, camera: CameraModel | None) -> Array:
    if camera is None or not any(camera.distortion) or labels.camera_size != labels.size:
        return points
    k = labels.intrinsics
    straight = cv2.undistortPoints(points[:, None], k, np.array(camera.distortion), P=k)
    return np.asarray(straight, dtype=np.float64)[:, 0]


def _match_across(
    features: FrameFeatures,
    sequences: Sequence[SequenceEvidence],
    numbers: Sequence[range],
    camera: CameraModel | None,
) -> list[AcrossPair]:
    """Match every sequence with the others, where they show the same places."""
    if len(sequences) < 2:
        return []
    samples = [_evenly(list(own), _FRAMES_ACROSS) for own in numbers]
    found = []
    for place, sample in enumerate(samples):
        others = [frame for other, frames in enumerate(samples) if other != place for frame in frames]
        for pair in similar_pairs(features, sample, _evenly(others, _OTHERS_ACROSS), _PAIRS_ACROSS):
            other = next(index for index, own in enumerate(numbers) if pair.second in own)
            labels = sequences[place].labels
            own = _within(pair, numbers[place], numbers[other], labels, camera, features)
            if own is not None and sequences[other].labels.size == labels.size:
                found.append(AcrossPair((place, other), own))
    return found


def _proportion(size: tuple[int, int], wanted: tuple[int, int]) -> float | None:
    """Return by what a size is to be multiplied for the wanted one; None where it has other proportions."""
    scale = wanted[0] / size[0]
    return scale if abs(size[1] * scale - wanted[1]) <= 1.0 else None


def _evenly(items: Sequence[_Item], wanted: int) -> list[_Item]:
    places = np.unique(np.linspace(0, len(items) - 1, min(wanted, len(items))).astype(int))
    return [items[place] for place in places]
