"""A landmark map as it would be without some of its images, to try it on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array, quaternion_to_matrix
from hyperpose_core.landmarks.landmark_map import LandmarkMap, Landmarks, MapImages, Observations
from hyperpose_core.landmarks.lens import focal_length, normalized_points
from hyperpose_core.landmarks.triangulation import TrackObservations, triangulate

_FEWEST_VIEWS = 2
_THRESHOLD_PX = 4.0


def without_images(content: LandmarkMap, removed: npt.NDArray[np.bool_]) -> LandmarkMap:
    """Return a map without some images, without the landmarks that fewer than two others saw.

    Landmarks that a removed image saw are triangulated anew where the map holds the pixels. Their descriptors
    stay merged over all views, and so do view directions and distances.

    Args:
        content: the map.
        removed: bool [M], which of its images.
    """
    observers = content.observations.images()
    kept = ~removed[observers]
    counts = np.bincount(content.observations.landmarks[kept], minlength=len(content.landmarks))
    survives = counts >= _FEWEST_VIEWS
    positions, covariances, sound = _triangulated_anew(content, kept, survives)
    survives &= sound
    numbers = np.cumsum(survives) - 1
    kept &= survives[content.observations.landmarks]
    landmarks = replace(content.landmarks, positions=positions, position_covariances=covariances)
    per_image = np.bincount(observers[kept], minlength=len(content.images))[~removed]
    pixels = content.observations.pixels
    return replace(
        content,
        landmarks=Landmarks(**{name: value[survives] for name, value in vars(landmarks).items()}),
        images=_without(content.images, removed),
        observations=Observations(
            np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64),
            numbers[content.observations.landmarks[kept]].astype(np.int32),
            None if pixels is None else pixels[kept],
        ),
    )


def _without(images: MapImages, removed: npt.NDArray[np.bool_]) -> MapImages:
    features = images.network_features
    return MapImages(
        names=tuple(name for name, gone in zip(images.names, removed, strict=True) if not gone),
        positions=images.positions[~removed],
        orientations=images.orientations[~removed],
        scenes=images.scenes[~removed],
        cameras=images.cameras[~removed],
        network_features=None if features is None else features[~removed],
    )


def _triangulated_anew(
    content: LandmarkMap, kept: npt.NDArray[np.bool_], survives: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return positions [L, 3], covariances [L, 6] and who is sound [L] without some observations."""
    known, seen = content.landmarks, content.observations.landmarks
    sound = np.ones(len(known), dtype=bool)
    if content.observations.pixels is None:
        return known.positions, known.position_covariances, sound
    touched = np.zeros(len(known), dtype=bool)
    touched[seen[~kept]] = True
    touched &= survives
    chosen = np.flatnonzero(kept & touched[seen])
    if not len(chosen):
        return known.positions, known.position_covariances, sound
    chosen = chosen[np.argsort(seen[chosen], kind="stable")]
    tracks, starts = np.unique(seen[chosen], return_index=True)
    solved = triangulate(_observed(content, chosen, starts.astype(np.int64)), _THRESHOLD_PX)
    positions, covariances = known.positions.copy(), known.position_covariances.copy()
    positions[tracks] = solved.positions
    covariances[tracks] = solved.covariances[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    views = np.add.reduceat(solved.used.astype(np.int64), starts)
    finite = np.isfinite(positions).all(axis=1) & np.isfinite(covariances).all(axis=1)
    sound[tracks] = views >= _FEWEST_VIEWS
    return positions, covariances, sound & finite


def _observed(
    content: LandmarkMap, chosen: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]
) -> TrackObservations:
    assert content.observations.pixels is not None
    images = content.observations.images()[chosen]
    cameras, pixels = content.images.cameras[images], content.observations.pixels[chosen]
    points, focal_lengths = np.empty((len(chosen), 2)), np.empty(len(chosen))
    for index, camera in enumerate(content.cameras):
        rows = cameras == index
        points[rows] = normalized_points(camera, pixels[rows])
        focal_lengths[rows] = focal_length(camera)
    rotations: Array = np.array([quaternion_to_matrix(q) for q in content.images.orientations]).reshape(
        -1, 3, 3
    )
    return TrackObservations(
        starts, content.images.positions[images], rotations[images], points, focal_lengths
    )
