"""Builds a landmark map from posed images whose intrinsics are known."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hyperpose_core import __version__
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import locked_folder
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks.budget import within_budget
from hyperpose_core.landmarks.bundle_adjustment import adjust, load_pycolmap, movement
from hyperpose_core.landmarks.landmark_map import LandmarkMap, MapImages
from hyperpose_core.landmarks.map_calibration import MapWithout, calibrate_map
from hyperpose_core.landmarks.map_settings import MapSettings
from hyperpose_core.landmarks.network_features import with_network_features
from hyperpose_core.landmarks.reconstruction import Reconstruction, Views, reconstruct
from hyperpose_core.landmarks.view_graph import Progress, ViewGraph, ViewGraphBuilder
from hyperpose_core.landmarks.work_folder import WorkFolder

_WORK_SUFFIX = ".work"
_ADJUSTMENTS = 2


def without_progress(work: Iterable[object], title: str, total: int) -> Iterable[object]:
    """Show nothing: the default for who watches otherwise."""
    return work


def build_map(
    images: PosedImageSet,
    path: Path,
    settings: MapSettings | None = None,
    progress: Progress = without_progress,
    estimator: PoseEstimator | None = None,
) -> LandmarkMap:
    """Build a map and write it.

    What is done is kept in a folder beside the file, so that who starts again goes on; it is removed in the
    end.

    Args:
        images: posed images of one or several scenes.
        path: the map's file, which is overwritten.
        settings: how; None takes the defaults.
        progress: shows how far it is.
        estimator: a network whose features of the images are to be kept in the map.

    Raises:
        HyperPoseError: the intrinsics are unknown, an image is unreadable or of another size, nothing can be
            triangulated, a file cannot be written, or another process builds this map.
    """
    if not images.images:
        raise HyperPoseError(f"{images.name}: no images to build a map from")
    settings = settings or MapSettings()
    if settings.adjust_poses:
        load_pycolmap()  # told before the long part
    cameras = _cameras(images)
    work_path = path.with_name(path.name + _WORK_SUFFIX)
    with locked_folder(work_path, "building of this map"):
        work = WorkFolder(work_path, _fingerprint(images, settings))
        content, map_without = _build(images, cameras, settings, work, progress)
        content = _completed(content, map_without, images, settings, estimator, progress)
        content.save(path)
        work.remove()
    return content


def _completed(
    content: LandmarkMap,
    map_without: MapWithout,
    images: PosedImageSet,
    settings: MapSettings,
    estimator: PoseEstimator | None,
    progress: Progress,
) -> LandmarkMap:
    """Return the map with the network's features, calibrated, within the budget."""
    if estimator is not None:
        content = with_network_features(content, images.images, estimator, progress)
    if settings.calibrate:
        shown = progress is not without_progress
        content = calibrate_map(content, images.images, map_without, show_progress=shown)
    return content if settings.budget is None else within_budget(content, settings.budget)


def _build(
    images: PosedImageSet,
    cameras: Sequence[CameraModel],
    settings: MapSettings,
    work: WorkFolder,
    progress: Progress,
) -> tuple[LandmarkMap, MapWithout]:
    poses = [image.pose for image in images.images]
    scenes = np.array([images.scenes.index(image.scene) for image in images.images], dtype=np.int16)
    builder = ViewGraphBuilder(images.images, settings, work, progress)
    builder.extract(cameras)
    builder.match(scenes)
    given = views = Views(poses, cameras, scenes, builder.features)
    graph = builder.graph(views.poses, views.cameras)
    found = reconstruct(graph, views, settings)
    moved: Mapping[str, object] = {}
    if settings.adjust_poses:
        # The second time more matches agree with the poses.
        for _ in progress(range(_ADJUSTMENTS), "adjusting poses", _ADJUSTMENTS):
            views = adjust(views, found)
            graph = builder.graph(views.poses, views.cameras)
            found = reconstruct(graph, views, settings)
        moved = movement(given, views)
    content = _content(images, views, found, settings, {**_statistics(graph, found), **moved})
    return content, partial(_without, content, graph, views, settings)


def _without(
    content: LandmarkMap,
    graph: ViewGraph,
    views: Views,
    settings: MapSettings,
    removed: npt.NDArray[np.bool_],
) -> LandmarkMap:
    """Return the map as it would be without some images [M].

    Raises:
        HyperPoseError: nothing can be triangulated without them.
    """
    found = reconstruct(graph.rows(~removed), views.rows(~removed), settings)
    return replace(
        content,
        landmarks=found.landmarks,
        images=content.images.rows(~removed),
        observations=found.observations,
    )


def _content(
    images: PosedImageSet,
    views: Views,
    found: Reconstruction,
    settings: MapSettings,
    statistics: Mapping[str, object],
) -> LandmarkMap:
    distinct = tuple(dict.fromkeys(views.cameras))
    return LandmarkMap(
        landmarks=found.landmarks,
        images=MapImages(
            names=_names(images),
            positions=np.array([pose.position for pose in views.poses]),
            orientations=np.array([pose.orientation for pose in views.poses]),
            scenes=views.scenes,
            cameras=np.array([distinct.index(camera) for camera in views.cameras], dtype=np.int16),
        ),
        observations=found.observations,
        cameras=distinct,
        scenes=images.scenes,
        world=images.world,
        source={"data": images.name, "version": __version__, "settings": settings.to_dict()},
        statistics=statistics,
    )


def _cameras(images: PosedImageSet) -> Sequence[CameraModel]:
    cameras = [camera for camera in images.cameras() if camera is not None]
    if len(cameras) < len(images.images):
        raise HyperPoseError(
            f"{images.name}: a map needs the camera's intrinsics, which this data does not tell: give them "
            "with --data-option camera=WIDTH,HEIGHT,FX,FY,CX,CY (pixels)"
        )
    return cameras


def _statistics(graph: ViewGraph, found: Reconstruction) -> dict[str, object]:
    counts = np.bincount(found.observations.landmarks, minlength=len(found.landmarks))
    seen = np.diff(found.observations.image_offsets)
    return {
        "pairs": graph.pair_count,
        "matches": len(graph.matches),
        "pose_deviation_px": graph.pose_deviation_px,
        "reprojection_error_px": found.reprojection_error_px,
        "reprojection_limit_px": found.reprojection_limit_px,
        "views_a_landmark": float(counts.mean()),
        "landmarks_an_image": float(np.median(seen)),
        "images_without_landmarks": int((seen == 0).sum()),
    }


def _names(images: PosedImageSet) -> tuple[str, ...]:
    folders = [str(image.path.parent.absolute()) for image in images.images]
    root = os.path.commonpath(folders)
    return tuple(Path(os.path.relpath(image.path.absolute(), root)).as_posix() for image in images.images)


def _fingerprint(images: PosedImageSet, settings: MapSettings) -> str:
    """Return a text that changes with whatever features and matches depend on."""
    text = hashlib.sha256(json.dumps([__version__, settings.of_matching()]).encode())
    for image in images.images:
        where = [*image.pose.position.tolist(), *image.pose.orientation.tolist()]
        written = image.path.stat().st_mtime_ns if image.path.exists() else 0
        text.update(json.dumps([str(image.path.absolute()), written, image.scene, where]).encode())
    return text.hexdigest()
