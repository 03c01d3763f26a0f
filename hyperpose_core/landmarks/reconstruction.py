"""From matched features to landmarks: tracks, points, what is seen of them from where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.landmarks.features import ImageFeatures, to_bytes
from hyperpose_core.landmarks.landmark_map import Landmarks, Observations
from hyperpose_core.landmarks.lens import focal_length, normalized_points
from hyperpose_core.landmarks.map_settings import MapSettings
from hyperpose_core.landmarks.matching import unit_descriptors
from hyperpose_core.landmarks.tracks import build_tracks
from hyperpose_core.landmarks.triangulation import TrackObservations, Triangulation, triangulate
from hyperpose_core.landmarks.view_graph import ViewGraph

# In standard deviations of what the given poses are worth, and never below or above so many pixels.
_EPIPOLAR_BAND, _EPIPOLAR_RANGE_PX = 3.0, (3.0, 30.0)
_REPROJECTION_BAND, _REPROJECTION_RANGE_PX = 1.5, (2.5, 15.0)
_TRACKS_AT_ONCE = 20_000


@dataclass(frozen=True, eq=False)
class Views:
    """The posed images of a reconstruction, M of them.

    Attributes:
        poses: camera-to-world.
        cameras: each image's camera.
        scenes: each image's scene [M].
        features: gives an image's features.
    """

    poses: Sequence[Pose]
    cameras: Sequence[CameraModel]
    scenes: npt.NDArray[np.int16]
    features: Callable[[int], ImageFeatures]

    def __len__(self) -> int:
        return len(self.poses)

    def rows(self, kept: npt.NDArray[np.bool_]) -> Views:
        """Keep some of the images [M]."""
        places = np.flatnonzero(kept).tolist()
        return Views(
            [self.poses[place] for place in places],
            [self.cameras[place] for place in places],
            self.scenes[kept],
            lambda index: self.features(places[index]),
        )


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Landmarks and who saw them.

    Attributes:
        landmarks: the points.
        observations: with pixels.
        reprojection_error_px: root mean square over the observations, pixels.
        reprojection_limit_px: observations with larger errors were left out, pixels.
    """

    landmarks: Landmarks
    observations: Observations
    reprojection_error_px: float
    reprojection_limit_px: float


def reconstruct(graph: ViewGraph, views: Views, settings: MapSettings) -> Reconstruction:
    """Triangulate what was matched, the poses held fixed.

    Raises:
        HyperPoseError: nothing could be triangulated.
    """
    rays = _Rays.of(views, graph.offsets)
    features, starts = _tracks(graph)
    if not len(starts):
        raise HyperPoseError(_nothing(graph))
    threshold = _limit(graph, _REPROJECTION_BAND, _REPROJECTION_RANGE_PX)
    found = _triangulate_in_parts(rays, features, starts, threshold)
    is_kept = _sound_tracks(found, rays, features, starts, settings)
    if not is_kept.any():
        raise HyperPoseError(_nothing(graph))
    tracks = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(features)))
    is_used = found.used & is_kept[tracks]
    numbers = np.cumsum(is_kept) - 1
    seen = _Seen(features[is_used], numbers[tracks[is_used]], rays, int(is_kept.sum()))
    positions, covariances = found.positions[is_kept], found.covariances[is_kept]
    return Reconstruction(
        landmarks=seen.landmarks(positions, covariances, views),
        observations=seen.observations(views),
        reprojection_error_px=float(np.sqrt(np.mean(found.errors_px[is_used] ** 2))),
        reprojection_limit_px=threshold,
    )


@dataclass(frozen=True, eq=False)
class _Rays:
    """All images' features as rays; F features, M images."""

    images: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    points: Array
    centres: Array
    rotations: Array
    focal_lengths: Array

    @classmethod
    def of(cls, views: Views, offsets: npt.NDArray[np.int64]) -> _Rays:
        count = len(views)
        points = [normalized_points(views.cameras[i], views.features(i).points) for i in range(count)]
        return cls(
            images=np.repeat(np.arange(count, dtype=np.int32), np.diff(offsets)),
            offsets=offsets,
            points=np.concatenate(points),
            centres=np.array([pose.position for pose in views.poses]),
            rotations=np.array([pose.rotation() for pose in views.poses]),
            focal_lengths=np.array([focal_length(camera) for camera in views.cameras]),
        )

    def observed(self, features: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> TrackObservations:
        images = self.images[features]
        return TrackObservations(
            starts,
            self.centres[images],
            self.rotations[images],
            self.points[features],
            self.focal_lengths[images],
        )


def _tracks(graph: ViewGraph) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the features of all tracks, sorted by track, and where each track begins."""
    is_near = graph.epipolar_errors_px <= _limit(graph, _EPIPOLAR_BAND, _EPIPOLAR_RANGE_PX)
    tracks = build_tracks(graph.matches[is_near], graph.similarities[is_near], graph.images)
    features = np.flatnonzero(tracks >= 0)
    features = features[np.argsort(tracks[features], kind="stable")]
    return features, np.flatnonzero(np.diff(tracks[features], prepend=-1))


def _limit(graph: ViewGraph, deviations: float, allowed_px: tuple[float, float]) -> float:
    return float(np.clip(deviations * graph.pose_deviation_px, *allowed_px))


def _triangulate_in_parts(
    rays: _Rays, features: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], threshold_px: float
) -> Triangulation:
    ends = np.append(starts, len(features))
    parts = []
    for first in range(0, len(starts), _TRACKS_AT_ONCE):
        last = min(first + _TRACKS_AT_ONCE, len(starts))
        chosen = features[ends[first] : ends[last]]
        parts.append(triangulate(rays.observed(chosen, starts[first:last] - ends[first]), threshold_px))
    return Triangulation(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0]))
    )


def _sound_tracks(
    found: Triangulation,
    rays: _Rays,
    features: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    settings: MapSettings,
) -> npt.NDArray[np.bool_]:
    """Tell which tracks [T] are seen often enough and fixed well enough to be landmarks."""
    views = np.add.reduceat(found.used.astype(np.int64), starts)
    worst = np.sqrt(np.linalg.eigvalsh(found.covariances)[:, -1])
    distances = np.linalg.norm(found.positions - rays.centres[rays.images[features[starts]]], axis=1)
    return np.asarray(
        (views >= settings.least_views) & (worst <= settings.relative_deviation * distances), dtype=np.bool_
    )


class _Seen:
    """Observations, sorted by image and then by landmark."""

    def __init__(
        self, features: npt.NDArray[np.int64], landmarks: npt.NDArray[np.int64], rays: _Rays, count: int
    ) -> None:
        order = np.lexsort((landmarks, rays.images[features]))
        self._features, self._landmarks = features[order], landmarks[order]
        self._images = rays.images[self._features]
        self._rays, self._count = rays, count

    def observations(self, views: Views) -> Observations:
        offsets = np.searchsorted(self._images, np.arange(len(views) + 1)).astype(np.int64)
        pixels = [
            views.features(image).points[self._local(offsets[image], offsets[image + 1])]
            for image in range(len(views))
        ]
        return Observations(offsets, self._landmarks.astype(np.int32), np.concatenate(pixels))

    def landmarks(self, positions: Array, covariances: Array, views: Views) -> Landmarks:
        levers = self._rays.centres[self._images] - positions[self._landmarks]
        distances = np.linalg.norm(levers, axis=1)
        directions = levers / distances[:, None]
        middles = self._summed(directions)
        middles /= np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-9)
        cosines, nearest, farthest = np.ones(self._count), np.full(self._count, np.inf), np.zeros(self._count)
        np.minimum.at(cosines, self._landmarks, np.sum(directions * middles[self._landmarks], axis=1))
        np.minimum.at(nearest, self._landmarks, distances)
        np.maximum.at(farthest, self._landmarks, distances)
        scenes = np.zeros(self._count, dtype=np.int16)
        scenes[self._landmarks] = views.scenes[self._images]
        return Landmarks(
            positions=positions.astype(np.float32),
            position_covariances=covariances[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]].astype(np.float32),
            descriptors=self._descriptors(views),
            view_directions=middles.astype(np.float32),
            view_cosines=cosines.astype(np.float32),
            distance_ranges=np.column_stack([nearest, farthest]).astype(np.float32),
            scenes=scenes,
        )

    def _descriptors(self, views: Views) -> npt.NDArray[np.uint8]:
        """Return the mean of each landmark's descriptors."""
        sums = np.zeros((self._count, 128), dtype=np.float32)
        ends = np.searchsorted(self._images, np.arange(len(views) + 1))
        for image in range(len(views)):
            chosen = self._local(ends[image], ends[image + 1])
            # An image sees a landmark once.
            sums[self._landmarks[ends[image] : ends[image + 1]]] += unit_descriptors(
                views.features(image).descriptors[chosen]
            )
        return to_bytes(sums)

    def _local(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Return the places of some observations' features in their own image."""
        return self._features[start:end] - self._rays.offsets[self._images[start:end]]

    def _summed(self, values: Array) -> Array:
        columns = [np.bincount(self._landmarks, weights=column, minlength=self._count) for column in values.T]
        return np.column_stack(columns)


def _nothing(graph: ViewGraph) -> str:
    near = int((graph.epipolar_errors_px <= _limit(graph, _EPIPOLAR_BAND, _EPIPOLAR_RANGE_PX)).sum())
    return (
        f"nothing could be triangulated: of {len(graph.matches)} matches in {graph.pair_count} pairs of "
        f"images {near} agree with the given poses; images need texture, and poses must be "
        "camera-to-world in metres"
    )
