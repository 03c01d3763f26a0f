"""Writes a map for other tools: a PLY point cloud and a COLMAP text model (https://colmap.github.io/format.html)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from hyperpose_core.files import replacing
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.landmarks.budget import view_counts
from hyperpose_core.landmarks.landmark_map import LandmarkMap

_UNKNOWN_ERROR = -1
_GREY = "160 160 160"


def export_map(content: LandmarkMap, folder: Path) -> list[Path]:
    """Write `landmarks.ply`, `cameras.txt`, `images.txt` and `points3D.txt`.

    Positions are local ones. COLMAP's pixels count from the image's corner; its points have no observations
    where the map holds no pixels.

    Args:
        content: the map.
        folder: where to; made where it is missing.

    Returns:
        the files.

    Raises:
        HyperPoseError: a file cannot be written.
    """
    parts = {
        "landmarks.ply": _ply(content),
        "cameras.txt": _cameras(content),
        "images.txt": _images(content),
        "points3D.txt": _points(content),
    }
    return [_write(folder / name, lines) for name, lines in parts.items()]


def _write(path: Path, lines: Iterable[str]) -> Path:
    with replacing(path, "map's export") as stream:
        stream.writelines(f"{line}\n".encode() for line in lines)
    return path


def _ply(content: LandmarkMap) -> Iterator[str]:
    names = ("x", "y", "z", "deviation")
    yield "ply"
    yield "format ascii 1.0"
    yield f"element vertex {len(content.landmarks)}"
    yield from (f"property float {name}" for name in names)
    yield "property int views"
    yield "end_header"
    traces = content.landmarks.position_covariances[:, [0, 3, 5]].sum(axis=1)
    rows = zip(content.landmarks.positions, np.sqrt(traces), view_counts(content), strict=True)
    for (x, y, z), deviation, views in rows:
        yield f"{x:.5f} {y:.5f} {z:.5f} {deviation:.5f} {views}"


def _cameras(content: LandmarkMap) -> Iterator[str]:
    yield "# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]"
    for number, camera in enumerate(content.cameras, start=1):
        model, parameters = colmap_camera(camera)
        values = " ".join(f"{value:.10g}" for value in parameters)
        yield f"{number} {model} {camera.width} {camera.height} {values}"


def colmap_camera(camera: CameraModel) -> tuple[str, list[float]]:
    """Return COLMAP's name and parameters of a camera."""
    pinhole = [camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5]
    if not any(camera.distortion):
        return "PINHOLE", pinhole
    k1, k2, p1, p2, k3 = (*camera.distortion, *[0.0] * 5)[:5]
    if k3 == 0.0:
        return "OPENCV", [*pinhole, k1, k2, p1, p2]
    return "FULL_OPENCV", [*pinhole, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0]


def _images(content: LandmarkMap) -> Iterator[str]:
    yield "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then the line POINTS2D[] as X Y POINT3D_ID"
    observations = content.observations
    for index, name in enumerate(content.images.names):
        inverse = content.images.pose(index).inverse()
        where = " ".join(f"{value:.12g}" for value in (*inverse.orientation, *inverse.position))
        yield f"{index + 1} {where} {content.images.cameras[index] + 1} {name}"
        if observations.pixels is None:
            yield ""
            continue
        seen = slice(observations.image_offsets[index], observations.image_offsets[index + 1])
        points = zip(observations.pixels[seen], observations.landmarks[seen], strict=True)
        yield " ".join(f"{x + 0.5:.3f} {y + 0.5:.3f} {landmark + 1}" for (x, y), landmark in points)


def _points(content: LandmarkMap) -> Iterator[str]:
    yield "# POINT3D_ID X Y Z R G B ERROR TRACK[] as IMAGE_ID POINT2D_IDX"
    observations = content.observations
    images = observations.images()
    places = np.arange(len(observations)) - observations.image_offsets[images]
    order = np.argsort(observations.landmarks, kind="stable")
    ends = np.cumsum(view_counts(content))
    for landmark, (x, y, z) in enumerate(content.landmarks.positions):
        chosen = order[ends[landmark - 1] if landmark else 0 : ends[landmark]]
        track = " ".join(f"{images[place] + 1} {places[place]}" for place in chosen)
        where = f"{landmark + 1} {x:.6f} {y:.6f} {z:.6f} {_GREY} {_UNKNOWN_ERROR}"
        yield where if observations.pixels is None else f"{where} {track}"
