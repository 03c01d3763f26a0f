"""Which landmarks an image may show: by the map images near a pose, and by what can be seen from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.projection import NEAREST_DEPTH_M, in_camera, pinhole_pixels, seen_pixels

IndexArray = npt.NDArray[np.int64]

# A camera that moved by this share of the distance to what it sees, or turned so far, still sees much of it.
_SHARED_MOVE = 0.15
_SHARED_TURN_RAD = np.radians(12.0)
# Images nearer to one another than this, in standard deviations of a prior, stand for the same pose.
_SAME_POSE = 0.5
# How much farther round, nearer or farther away than by all its map images a landmark is still recognised.
_VIEW_SLACK_RAD = np.radians(12.0)
_DISTANCE_SLACK = 1.5
# Where a pose comes without a covariance: a network's usual errors.
_USUAL_MOVE = 0.25
_USUAL_TURN_RAD = np.radians(6.0)
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class VisibleLandmarks:
    """Landmarks that a pose should see, K of them.

    Attributes:
        indices: int64 [K], in the map.
        pixels: [K, 2], where, without distortion.
        depths: [K], metres.
    """

    indices: IndexArray
    pixels: Array
    depths: Array


class CandidateFinder:
    """Finds landmarks of a map by where an image was taken."""

    def __init__(self, content: LandmarkMap) -> None:
        """Measure how far each map image looks, and from how far round each landmark was seen."""
        self._map = content
        self._distances = _viewing_distances(content)
        self._view_angles = np.arccos(np.clip(content.landmarks.view_cosines, -1.0, 1.0)).astype(np.float64)

    @property
    def viewing_distance(self) -> float:
        """The median distance of a landmark from an image that saw it, metres."""
        return float(np.median(self._distances)) if len(self._distances) else 1.0

    def images_near(self, pose: Pose, covariance: Array | None, scene: int | None, count: int) -> IndexArray:
        """Return the map images that probably show what a camera at an uncertain pose sees, best first.

        Args:
            pose: camera-to-world.
            covariance: [6, 6], x, y, z, rot x, rot y, rot z; None where unknown.
            scene: only images of this scene; None for all.
            count: at most so many. The more uncertain the pose, the farther they lie from one another. A
                certain pose gets the nearest, whose labels agree best where a map's labels drift.
        """
        images = self._map.images
        known = np.flatnonzero((images.scenes == scene) | (scene is None))
        if not len(known):
            return known
        distance = float(np.median(self._distances[known]))
        if covariance is None:
            usual = [(_USUAL_MOVE * distance) ** 2] * 3 + [_USUAL_TURN_RAD**2] * 3
            covariance = np.diag(usual)
        shared = covariance[:3, :3] + np.eye(3) * (_SHARED_MOVE * distance) ** 2
        moves = images.positions[known] - pose.position
        squares = np.einsum("ni,ij,nj->n", moves, np.linalg.inv(shared), moves)
        turns = _turns(images.orientations[known] @ pose.orientation)
        squares += np.square(turns) / (np.trace(covariance[3:, 3:]) / 3.0 + _SHARED_TURN_RAD**2)
        order = known[np.argsort(squares, kind="stable")[: 8 * count]]
        return order[self._different(order, covariance, count)]

    def _different(self, candidates: IndexArray, covariance: Array, count: int) -> IndexArray:
        """Return the places of at most `count` images: first those that stand for different poses."""
        images = self._map.images
        positions, orientations = images.positions[candidates], images.orientations[candidates]
        move, turn = (
            np.sqrt(max(float(np.trace(covariance[part, part])) / 3.0, _TINY))
            for part in (slice(3), slice(3, 6))
        )
        apart = np.linalg.norm(positions[:, np.newaxis] - positions, axis=2) / move
        apart += _turns(orientations @ orientations.T) / turn
        left = np.ones(len(candidates), dtype=bool)
        chosen: list[int] = []
        while left.any() and len(chosen) < count:
            chosen.append(int(left.argmax()))
            left &= apart[chosen[-1]] > _SAME_POSE
        rest = np.setdiff1d(np.arange(len(candidates)), chosen)[: count - len(chosen)]
        return np.concatenate([np.array(chosen, dtype=np.int64), rest])

    def landmarks_of(self, images: IndexArray) -> IndexArray:
        """Return the landmarks that some map images saw, first those that the most of them saw."""
        seen = [self._map.observations.of_image(int(image)) for image in images]
        if not seen:
            return np.zeros(0, dtype=np.int64)
        landmarks, counts = np.unique(np.concatenate(seen), return_counts=True)
        return landmarks[np.argsort(-counts, kind="stable")].astype(np.int64)

    def visible(
        self,
        landmarks: IndexArray,
        pose: Pose,
        camera: CameraModel,
        *,
        margin: float = 0.0,
        slack: float = 1.0,
    ) -> VisibleLandmarks:
        """Return those of some landmarks that a camera sees from a side and a distance they were seen from.

        Args:
            landmarks: indices in the map.
            pose: camera-to-world.
            camera: its intrinsics.
            margin: also what lies so many pixels outside the image.
            slack: factor on how much farther round and away than in the map it may be.
        """
        known = self._map.landmarks
        points = in_camera(known.positions[landmarks], pose)
        pixels = pinhole_pixels(points, camera)
        seen = (points[:, 2] > NEAREST_DEPTH_M) & seen_pixels(camera, pixels, margin)
        distances = np.linalg.norm(points, axis=1)
        nearest, farthest = known.distance_ranges[landmarks].T
        factor = _DISTANCE_SLACK**slack
        seen &= (distances > nearest / factor) & (distances < farthest * factor)
        to_camera = (pose.position - known.positions[landmarks]) / np.maximum(distances, 1e-9)[:, np.newaxis]
        cosines = np.einsum("ni,ni->n", to_camera, known.view_directions[landmarks])
        widest = self._view_angles[landmarks] + slack * _VIEW_SLACK_RAD
        seen &= cosines > np.cos(np.minimum(widest, np.pi))
        return VisibleLandmarks(landmarks[seen], pixels[seen], points[seen, 2])


def _turns(products: Array) -> Array:
    """Return the angles, radians, between orientations whose quaternions have these scalar products."""
    cosine = np.minimum(np.abs(products), 1.0)
    return np.asarray(2.0 * np.arctan2(np.sqrt(1.0 - np.square(cosine)), cosine))


def _viewing_distances(content: LandmarkMap) -> Array:
    """Return the median distance of what each map image saw [M], metres; the map's where it saw nothing."""
    observers = content.observations.images()
    gaps = content.landmarks.positions[content.observations.landmarks] - content.images.positions[observers]
    distances = np.linalg.norm(gaps, axis=1)
    overall = float(np.median(distances)) if len(distances) else 1.0
    offsets = content.observations.image_offsets
    parts = [distances[start:end] for start, end in zip(offsets[:-1], offsets[1:], strict=True)]
    return np.array([np.median(part) if len(part) else overall for part in parts], dtype=np.float64)
