"""A map as a recording for the Rerun viewer: landmarks, cameras and localised images, from all sides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.landmarks.landmark_map import LandmarkMap

_CAMERA_COLOUR, _QUERY_COLOUR = (29, 111, 165), (208, 0, 0)
_CAMERA_DEPTH = 0.05  # of a drawn camera, as a share of the median distance to what was seen


def record_map(content: LandmarkMap, path: Path, queries: Mapping[str, Pose]) -> None:
    """Write a `.rrd` file.

    Args:
        content: the map.
        path: the file.
        queries: camera-to-world poses of localised images, by name.

    Raises:
        HyperPoseError: rerun-sdk is not installed, or the file cannot be written.
    """
    try:
        import rerun
    except ImportError as error:
        raise HyperPoseError("a .rrd file needs rerun-sdk: pip install rerun-sdk, or ask for .png") from error
    recording = rerun.RecordingStream("hyperpose_map")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        recording.save(path)
    except (OSError, RuntimeError) as error:
        raise HyperPoseError(f"{path}: cannot write the recording: {error}") from error
    depth = _CAMERA_DEPTH * float(np.median(content.landmarks.distance_ranges))
    for scene, name in enumerate(content.scenes):
        points = content.landmarks.positions[content.landmarks.scenes == scene]
        recording.log(f"{name}/landmarks", rerun.Points3D(points), static=True)
        for index in np.flatnonzero(content.images.scenes == scene):
            entity = f"{name}/cameras/{index:05d}"
            _log_camera(recording, entity, content, int(index), depth)
    for name, pose in queries.items():
        transform = rerun.Transform3D(translation=pose.position, mat3x3=pose.rotation())
        recording.log(f"queries/{name}", transform, static=True)
        recording.log(f"queries/{name}", _frustum(content, 0, 2.0 * depth, _QUERY_COLOUR), static=True)
    recording.flush()
    recording.disconnect()


def _log_camera(recording: Any, entity: str, content: LandmarkMap, index: int, depth: float) -> None:
    import rerun

    pose = content.images.pose(index)
    transform = rerun.Transform3D(translation=pose.position, mat3x3=pose.rotation())
    recording.log(entity, transform, static=True)
    frustum = _frustum(content, int(content.images.cameras[index]), depth, _CAMERA_COLOUR)
    recording.log(entity, frustum, static=True)


def _frustum(content: LandmarkMap, camera: int, depth: float, colour: tuple[int, int, int]) -> Any:
    import rerun

    model = content.cameras[camera]
    return rerun.Pinhole(
        focal_length=(model.fx, model.fy),
        principal_point=(model.cx, model.cy),
        resolution=(model.width, model.height),
        image_plane_distance=depth,
        color=colour,
    )
