"""Features of posed images and the matches between them: the long part of building a map, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.landmarks.appearance import learn_words, signature
from hyperpose_core.landmarks.features import ImageFeatures, extract_features
from hyperpose_core.landmarks.lens import focal_length, normalized_points
from hyperpose_core.landmarks.map_settings import MapSettings
from hyperpose_core.landmarks.matching import unit_descriptors
from hyperpose_core.landmarks.pairs import Pairs, pairs_by_appearance, pairs_by_pose, unique_pairs
from hyperpose_core.landmarks.view_matching import (
    Indices,
    View,
    consistent_matches,
    epipolar_distances,
    mutual_matches,
)
from hyperpose_core.landmarks.work_folder import WorkFolder

Progress = Callable[[Iterable[object], str, int], Iterable[object]]
"""Shows how far something is: takes what is iterated, a title and how many there are; gives the former."""

_PAIRS_A_FILE = 100
_IMAGES_IN_MEMORY = 128
_SAMPLED_PAIRS = 60
_SAMPLED_DESCRIPTORS = 20_000
_MEDIAN_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True, eq=False)
class ViewGraph:
    """Matches between the features of M images, E of them.

    Attributes:
        offsets: int64 [M + 1]; the features of all images are numbered through, image i's from offsets[i].
        matches: int64 [E, 2], numbers of features.
        similarities: float32 [E], cosines of their descriptors.
        epipolar_errors_px: float32 [E], distances from the epipolar geometry of the given poses, pixels.
        pose_deviation_px: how far, as a standard deviation, sound matches lie from that geometry, pixels:
            what the given poses and intrinsics are worth.
        pair_count: pairs of images that were matched.
    """

    offsets: npt.NDArray[np.int64]
    matches: npt.NDArray[np.int64]
    similarities: npt.NDArray[np.float32]
    epipolar_errors_px: npt.NDArray[np.float32]
    pose_deviation_px: float
    pair_count: int

    @property
    def images(self) -> npt.NDArray[np.int32]:
        """Each feature's image."""
        counts = np.diff(self.offsets)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def rows(self, kept: npt.NDArray[np.bool_]) -> ViewGraph:
        """Keep some of the images [M], and the matches between these."""
        features = kept[self.images]
        numbers = np.cumsum(features) - 1
        matches = features[self.matches].all(axis=1)
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(np.diff(self.offsets)[kept])]).astype(np.int64),
            matches=numbers[self.matches[matches]],
            similarities=self.similarities[matches],
            epipolar_errors_px=self.epipolar_errors_px[matches],
        )


class ViewGraphBuilder:
    """Extracts features and matches them, going on where an earlier one stopped."""

    def __init__(
        self, images: Sequence[PosedImage], settings: MapSettings, work: WorkFolder, progress: Progress
    ) -> None:
        """Prepare.

        Args:
            images: M posed images.
            settings: how to match.
            work: where what is done is kept.
            progress: shows how far it is.
        """
        self._images, self._settings, self._work, self._progress = images, settings, work, progress
        self._descriptors = lru_cache(maxsize=_IMAGES_IN_MEMORY)(
            lambda index: unit_descriptors(self.features(index).descriptors)
        )

    def extract(self, cameras: Sequence[CameraModel]) -> None:
        """Extract the features of all images.

        Args:
            cameras: each one's camera.

        Raises:
            HyperPoseError: an image is unreadable or not of its camera's size.
        """
        todo = [index for index in range(len(self._images)) if not self._work.has(_features_name(index))]
        for _ in self._in_threads(lambda index: self._extract(index, cameras[index]), todo, "features"):
            pass

    def features(self, index: int) -> ImageFeatures:
        """Return an image's features, which were extracted before."""
        return ImageFeatures(**self._work.load(_features_name(index)))  # type: ignore[arg-type]

    def match(self, scenes: npt.NDArray[np.int16]) -> None:
        """Match the images whose views overlap.

        Args:
            scenes: each image's scene [M].

        Raises:
            HyperPoseError: no two views overlap.
        """
        self._pairs = self._chosen_pairs(scenes)
        if not len(self._pairs):
            raise HyperPoseError(
                "no two images of a scene were taken from different places in similar directions: a landmark "
                "map needs such pairs"
            )
        starts = range(0, len(self._pairs), _PAIRS_A_FILE)
        todo = [start for start in starts if not self._work.has(_matches_name(start))]
        for _ in self._in_threads(self._match_chunk, todo, f"matching, by {_PAIRS_A_FILE} pairs"):
            pass

    def graph(self, poses: Sequence[Pose], cameras: Sequence[CameraModel]) -> ViewGraph:
        """Hold all matches against poses and cameras [M]."""
        views = [
            View(normalized_points(camera, self.features(index).points), focal_length(camera), pose)
            for index, (camera, pose) in enumerate(zip(cameras, poses, strict=True))
        ]
        offsets = np.concatenate([[0], np.cumsum([len(view.points) for view in views])]).astype(np.int64)
        matches, similarities = self._all_matches()
        errors = [
            epipolar_distances(views[first], views[second], found)
            for (first, second), found in zip(self._pairs, matches, strict=True)
        ]
        numbered = [found + offsets[pair] for pair, found in zip(self._pairs, matches, strict=True)]
        return ViewGraph(
            offsets=offsets,
            matches=np.concatenate(numbered),
            similarities=similarities,
            epipolar_errors_px=np.concatenate(errors).astype(np.float32),
            pose_deviation_px=self._pose_deviation(views, matches),
            pair_count=len(self._pairs),
        )

    def _extract(self, index: int, camera: CameraModel) -> None:
        record = self._images[index]
        image = record.read()
        if image.shape[:2] != (camera.height, camera.width):
            raise HyperPoseError(
                f"{record.path}: {image.shape[1]}x{image.shape[0]} pixels, but the camera is for "
                f"{camera.width}x{camera.height}: give the intrinsics of the images as they are"
            )
        settings = self._settings
        found = extract_features(image, longest_side=settings.longest_side, count=settings.features)
        self._work.save(_features_name(index), vars(found))

    def _chosen_pairs(self, scenes: npt.NDArray[np.int16]) -> Pairs:
        poses = [image.pose for image in self._images]
        by_pose = pairs_by_pose(poses, scenes, self._settings.neighbours, self._settings.angle_deg)
        by_appearance = pairs_by_appearance(self._signatures(), scenes, self._settings.alike)
        return unique_pairs(np.concatenate([by_pose, by_appearance]))

    def _signatures(self) -> npt.NDArray[np.float32]:
        count = len(self._images)
        share = -(-_SAMPLED_DESCRIPTORS // count)
        sample = np.concatenate([self.features(index).descriptors[:share] for index in range(count)])
        if not len(sample):
            return np.zeros((count, 1), dtype=np.float32)
        words = learn_words(sample)
        return np.stack(
            [signature(unit_descriptors(self.features(index).descriptors), words) for index in range(count)]
        )

    def _match_chunk(self, start: int) -> None:
        pairs = self._pairs[start : start + _PAIRS_A_FILE]
        parts = [
            mutual_matches(
                self._descriptors(int(first)), self._descriptors(int(second)), self._settings.ratio
            )
            for first, second in pairs
        ]
        arrays = {
            "counts": np.array([len(found) for found, _ in parts], dtype=np.int64),
            "matches": np.concatenate([found for found, _ in parts]),
            "similarities": np.concatenate([similarity for _, similarity in parts]),
        }
        self._work.save(_matches_name(start), arrays)

    def _all_matches(self) -> tuple[list[Indices], npt.NDArray[np.float32]]:
        """Return the matches of each pair, and the similarities of all, one pair's behind the other's."""
        matches: list[Indices] = []
        similarities = []
        for start in range(0, len(self._pairs), _PAIRS_A_FILE):
            arrays = self._work.load(_matches_name(start))
            ends = np.cumsum(arrays["counts"])[:-1]  # type: ignore[arg-type]
            matches += np.split(arrays["matches"], ends)  # type: ignore[arg-type]
            similarities.append(arrays["similarities"])
        return matches, np.concatenate(similarities)  # type: ignore[return-value, arg-type]

    def _pose_deviation(self, views: Sequence[View], matches: Sequence[Indices]) -> float:
        """Measure what the poses are worth by matches that agree with one another, whatever the poses say."""
        medians = []
        for place in np.unique(np.linspace(0, len(matches) - 1, _SAMPLED_PAIRS).astype(int)):
            first, second = (views[index] for index in self._pairs[place])
            sound = consistent_matches(first, second, matches[place])
            if len(sound):
                medians.append(float(np.median(epipolar_distances(first, second, sound))))
        return _MEDIAN_TO_DEVIATION * float(np.median(medians)) if medians else 0.0

    def _in_threads(self, work: Callable[[int], None], items: Sequence[int], title: str) -> Iterator[object]:
        # Threads of a matrix product beside these would only be in the way.
        with threadpool_limits(1, "blas"):
            pool = ThreadPoolExecutor(self._settings.workers)
            try:
                yield from self._progress(pool.map(work, items), title, len(items))
            finally:
                pool.shutdown(cancel_futures=True)


def _features_name(index: int) -> str:
    return f"features-{index:06d}"


def _matches_name(start: int) -> str:
    return f"matches-{start:07d}"
