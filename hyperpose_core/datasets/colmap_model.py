"""Reading a COLMAP sparse model, text or binary: cameras and images; the points are not needed.

The format is COLMAP's own documented one (https://colmap.github.io/format.html). `pycolmap` reads it too, but
weighs 139 MB, wants the points and refuses a whole model for one bad row.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes, read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array
from hyperpose_core.limits import LARGEST_TABLE_BYTES

# Name and number of parameters of each camera model, by COLMAP's model id.
_MODELS = (
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
    ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    ("SIMPLE_DIVISION", 4),
    ("DIVISION", 5),
    ("SIMPLE_FISHEYE", 3),
    ("FISHEYE", 4),
    ("EUCM", 6),
    ("EQUIRECTANGULAR", 2),
)
_POINT_BYTES = 24


@dataclass(frozen=True)
class ColmapCamera:
    """A camera of the model.

    Attributes:
        model: COLMAP's name of the projection.
        width: image width, pixels.
        height: image height, pixels.
        parameters: as COLMAP orders them for that projection.
    """

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]

    def pinhole(self) -> CameraModel | None:
        """Return the camera with plumb-bob distortion, None where the projection is another one.

        COLMAP counts pixels from the image's corner, everyone else here from the first pixel's centre.
        """
        p = self.parameters
        if self.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
            fx, fy, cx, cy, rest = p[0], p[0], p[1], p[2], p[3:]
        elif self.model in ("PINHOLE", "OPENCV", "FULL_OPENCV"):
            fx, fy, cx, cy, rest = p[0], p[1], p[2], p[3], p[4:]
        else:
            return None
        if any(rest[5:]):
            return None
        distortion = (*rest, *[0.0] * 5)[:5] if any(rest) else ()
        return CameraModel(self.width, self.height, fx, fy, cx - 0.5, cy - 0.5, distortion)


@dataclass(frozen=True, eq=False)
class ColmapImage:
    """An image of the model, as it is written there.

    Attributes:
        name: its file's path below the folder of images.
        quaternion: world-to-camera rotation (w, x, y, z), float64 [4].
        translation: of the world-to-camera transform, float64 [3].
        camera_id: its camera.
    """

    name: str
    quaternion: Array
    translation: Array
    camera_id: int


def model_files(folder: Path) -> tuple[Path, Path] | None:
    """Return the model's files of cameras and of images, None where the folder is no model."""
    for suffix in (".bin", ".txt"):
        files = folder / f"cameras{suffix}", folder / f"images{suffix}"
        if all(file.exists() for file in files):
            return files
    return None


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    """Read `cameras.bin` or `cameras.txt`.

    Raises:
        HyperPoseError: the file is unreadable, breaks off, or has a row that is no camera.
    """
    return dict(_cameras_from_text(path) if path.suffix == ".txt" else _cameras_from_bytes(path))


def read_images(path: Path) -> list[ColmapImage]:
    """Read `images.bin` or `images.txt`.

    Raises:
        HyperPoseError: the file is unreadable, breaks off, or has a row that is no image.
    """
    return list(_images_from_text(path) if path.suffix == ".txt" else _images_from_bytes(path))


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_text(path, "model").splitlines(), start=1):
        if not line.startswith("#"):
            yield number, line.strip()


def _cameras_from_text(path: Path) -> Iterator[tuple[int, ColmapCamera]]:
    for number, line in _rows(path):
        if not line:
            continue
        try:
            camera_id, model, width, height, *parameters = line.split()
            wanted = dict(_MODELS).get(model, len(parameters))
            if len(parameters) != wanted:
                raise ValueError(f"{model} takes {wanted} parameters, not {len(parameters)}")
            values = tuple(float(value) for value in parameters)
            yield int(camera_id), ColmapCamera(model, int(width), int(height), values)
        except ValueError as error:
            raise HyperPoseError(
                f"{path}, row {number}: {error}; expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS"
            ) from error


def _images_from_text(path: Path) -> Iterator[ColmapImage]:
    # Two lines an image; the second holds its points and may be empty. Lists written by hand lack it.
    points_follow = False
    for number, line in _rows(path):
        if not line or (points_follow and _is_number(line.split()[-1])):
            points_follow = False
            continue
        points_follow = True
        parts = line.split(maxsplit=9)
        try:
            if len(parts) != 10:
                raise ValueError(f"{len(parts)} columns")
            values = np.array([float(part) for part in parts[1:8]])
            yield ColmapImage(parts[9], values[:4], values[4:], int(parts[8]))
        except ValueError as error:
            raise HyperPoseError(
                f"{path}, row {number}: {error}; expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
            ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class _Bytes:
    """A binary file, little-endian, read front to back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = read_bytes(path, "model", LARGEST_TABLE_BYTES)
        self._at = 0

    def take(self, layout: str) -> tuple[float, ...]:
        size = struct.calcsize(f"<{layout}")
        self._require(size)
        values = struct.unpack_from(f"<{layout}", self._data, self._at)
        self._at += size
        return values

    def take_text(self) -> str:
        end = self._data.find(b"\0", self._at)
        self._require(1 if end >= 0 else len(self._data))
        text = self._data[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return text

    def skip(self, size: int) -> None:
        self._require(size)
        self._at += size

    def _require(self, size: int) -> None:
        if self._at + size > len(self._data):
            raise HyperPoseError(f"{self._path}: breaks off after {len(self._data)} bytes")


def _cameras_from_bytes(path: Path) -> Iterator[tuple[int, ColmapCamera]]:
    data = _Bytes(path)
    (count,) = data.take("Q")
    for _ in range(int(count)):
        camera_id, model_id, width, height = (int(value) for value in data.take("IiQQ"))
        if not 0 <= model_id < len(_MODELS):
            raise HyperPoseError(
                f"{path}: camera {camera_id} has the unknown model {model_id}; "
                "write the model as text with `colmap model_converter`"
            )
        name, parameters = _MODELS[model_id]
        yield camera_id, ColmapCamera(name, width, height, data.take(f"{parameters}d"))


def _images_from_bytes(path: Path) -> Iterator[ColmapImage]:
    data = _Bytes(path)
    (count,) = data.take("Q")
    for _ in range(int(count)):
        _, *values, camera_id = data.take("I7dI")
        name = data.take_text()
        (points,) = data.take("Q")
        data.skip(_POINT_BYTES * int(points))
        yield ColmapImage(name, np.array(values[:4]), np.array(values[4:]), int(camera_id))
