"""The SDK folder of the Oxford RobotCar dataset: where its sensors are, and how its cameras see.

Files of the SDK used here: `extrinsics/<sensor>.txt` (x y z roll pitch yaw), `models/<model>.txt` (fx fy cx
cy and a 4x4), `models/<model>_distortion_lut.bin` where it is present, and `tags/<date>.yaml`. Two frames of
the SDK differ in which way they are written: `ins.txt` takes INS coordinates to the vehicle's, a camera's
file takes the vehicle's coordinates to the camera's. `base_link` (x forward, y left, z up) is the vehicle
frame (x forward, y right, z down) turned by half a turn about x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes, read_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_quaternion
from hyperpose_core.images import RgbImage, debayer, decode_image, decode_mosaic
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES, LARGEST_IMAGE_BYTES, LARGEST_TABLE_BYTES
from hyperpose_core.untrusted import parse_json

SDK_ADDRESS = "https://github.com/ori-mrg/robotcar-dataset-sdk"

BASE_LINK_FROM_VEHICLE = Pose(np.zeros(3), np.array([0.0, 1.0, 0.0, 0.0]))

# Tags of the SDK that are about the route, the INS or the download, not about what the camera sees.
_TAGS_WITHOUT_LIGHT = {"roadworks", "poor-gps", "no-gps", "partial", "short", "alternate-route", "detour"}


@dataclass(frozen=True)
class CameraFiles:
    """What belongs to one camera, in a run's folder and in the SDK.

    Attributes:
        images: folder of its images within the run.
        stamps: file of its image stamps within the run.
        model: name of its model in the SDK.
        extrinsics: name of its extrinsics in the SDK.
        bayer_pattern: colours of the mosaic's first two rows' first two pixels.
        width: image width of the dataset, pixels.
        height: image height of the dataset, pixels.
    """

    images: str
    stamps: str
    model: str
    extrinsics: str
    bayer_pattern: str
    width: int
    height: int


def _stereo(side: str, model: str) -> CameraFiles:
    return CameraFiles(f"stereo/{side}", "stereo.timestamps", model, "stereo", "gbrg", 1280, 960)


def _mono(name: str) -> CameraFiles:
    return CameraFiles(name, f"{name}.timestamps", name, name, "rggb", 1024, 1024)


CAMERAS: Mapping[str, CameraFiles] = {
    "stereo_centre": _stereo("centre", "stereo_narrow_left"),
    "stereo_left": _stereo("left", "stereo_wide_left"),
    "stereo_right": _stereo("right", "stereo_wide_right"),
    "mono_left": _mono("mono_left"),
    "mono_right": _mono("mono_right"),
    "mono_rear": _mono("mono_rear"),
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """One camera and the INS on the vehicle.

    Attributes:
        vehicle_from_ins: the INS body in the vehicle frame.
        vehicle_from_optical: the camera's optical frame in the vehicle frame.
        focal_lengths: fx, fy of the undistorted image, pixels.
        principal_point: cx, cy of the undistorted image, pixels.
        distortion_table: the table that undistorts the camera's images, or None where the SDK folder has
            none.
    """

    vehicle_from_ins: Pose
    vehicle_from_optical: Pose
    focal_lengths: tuple[float, float]
    principal_point: tuple[float, float]
    distortion_table: Path | None

    def camera_model(self, width: int, height: int) -> CameraModel:
        """Return the pinhole model for images of the given size."""
        return CameraModel(width, height, *self.focal_lengths, *self.principal_point)


@dataclass(frozen=True, eq=False)
class RobotCarImageReader:
    """Turns an image file of RobotCar into RGB: debayered, then undistorted.

    An image that has colours already is taken as one that the SDK's tools have written (debayered and
    undistorted) and is returned as it is.

    Attributes:
        bayer_pattern: colours of the mosaic's first two rows' first two pixels.
        undistortion: columns and rows of the raw image to look up for each pixel, float32 [2, H, W], or None.
    """

    bayer_pattern: str
    undistortion: npt.NDArray[np.float32] | None = None

    def __call__(self, path: Path) -> RgbImage:
        """Read an image file as RGB uint8 [H, W, 3].

        Raises:
            HyperPoseError: the file is missing or no image, or has another size than the undistortion table.
        """
        raw = read_raw(path)
        if raw.ndim != 2:
            return raw
        image = debayer(raw, self.bayer_pattern)
        if self.undistortion is None:
            return image
        columns, rows = self.undistortion
        if image.shape[:2] != columns.shape:
            raise HyperPoseError(
                f"{path}: the image is {image.shape[1]}x{image.shape[0]}, the SDK's distortion table is for "
                f"{columns.shape[1]}x{columns.shape[0]}"
            )
        return np.asarray(cv2.remap(image, columns, rows, cv2.INTER_LINEAR), dtype=np.uint8)


def camera_files(camera: str) -> CameraFiles:
    """Look a camera up by its name; "stereo/centre" is as good as "stereo_centre".

    Raises:
        HyperPoseError: RobotCar has no such camera.
    """
    name = camera.strip().replace("/", "_")
    if name not in CAMERAS:
        raise HyperPoseError(f"RobotCar has no camera {camera!r}; use one of {', '.join(CAMERAS)}")
    return CAMERAS[name]


def find_sdk(root: Path, sdk: Path | str | None = None) -> Path:
    """Find the SDK folder: the one given, or else `sdk` in the dataset's folder or beside it.

    Raises:
        HyperPoseError: there is none, or the one given has no `extrinsics` and `models`.
    """
    places = [Path(sdk)] if sdk else [root / "sdk", root.absolute().parent / "sdk"]
    for place in places:
        if (place / "extrinsics").is_dir() and (place / "models").is_dir():
            return place
    raise HyperPoseError(
        f"no RobotCar SDK folder (with extrinsics/ and models/) at {' or '.join(map(str, places))}; get it "
        f"from {SDK_ADDRESS} and name it with the option sdk"
    )


def read_calibration(sdk: Path, camera: CameraFiles) -> Calibration:
    """Read a camera's and the INS's place on the vehicle, and the camera's model.

    Raises:
        HyperPoseError: a file is missing or does not hold the numbers it should.
    """
    camera_from_vehicle = _read_extrinsics(sdk / "extrinsics" / f"{camera.extrinsics}.txt")
    model_path = sdk / "models" / f"{camera.model}.txt"
    model = _read_numbers(model_path, 20, "fx fy cx cy and a 4x4 matrix")
    try:
        camera_from_optical = Pose.from_matrix(model[4:].reshape(4, 4))
    except ValueError as error:
        raise HyperPoseError(f"{model_path}: {error}") from error
    table = sdk / "models" / f"{camera.model}_distortion_lut.bin"
    return Calibration(
        vehicle_from_ins=_read_extrinsics(sdk / "extrinsics" / "ins.txt"),
        vehicle_from_optical=camera_from_vehicle.inverse() @ camera_from_optical,
        focal_lengths=(float(model[0]), float(model[1])),
        principal_point=(float(model[2]), float(model[3])),
        distortion_table=table if table.is_file() else None,
    )


def read_undistortion(table: Path, width: int, height: int) -> npt.NDArray[np.float32]:
    """Read a `*_distortion_lut.bin`: float64 columns of all pixels row by row, then the rows of all pixels.

    Returns:
        columns and rows of the raw image, counted from 0 at a pixel's centre, float32 [2, height, width].

    Raises:
        HyperPoseError: the file cannot be read, or is not the table of images of this size.
    """
    values = np.frombuffer(read_bytes(table, "distortion table", LARGEST_TABLE_BYTES * 2), dtype=np.uint8)
    expected = 2 * width * height * 8
    if values.size != expected:
        raise HyperPoseError(
            f"{table}: {values.size} bytes, but the table for {width}x{height} images has {expected} (a "
            "Git LFS pointer, or images of another size? the option undistort=false does without it)"
        )
    return values.view("<f8").reshape(2, height, width).astype(np.float32)


def read_raw(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image file without debayering: a mosaic uint8 [H, W], or RGB uint8 [H, W, 3] if it has colours.

    Raises:
        HyperPoseError: the file is missing or no image.
    """
    data = read_bytes(path, "image", LARGEST_IMAGE_BYTES)
    mosaic = decode_mosaic(data, str(path))
    return decode_image(data, str(path)) if mosaic is None else mosaic


def read_condition(root: Path, sdk: Path, date: str) -> str:
    """Read a run's light and weather; empty where nothing says it.

    From `conditions.json` in the dataset's folder (run's name -> condition), which simulations have and
    anyone can write, or else from the SDK's `tags/<date>.yaml`.

    Raises:
        HyperPoseError: `conditions.json` is not of that form.
    """
    named = root / "conditions.json"
    if named.is_file():
        conditions = parse_json(read_bytes(named, "list of conditions", LARGEST_DOCUMENT_BYTES), named)
        if not isinstance(conditions, dict):
            raise HyperPoseError(f'{named}: expected {{"<run>": "<condition>", ...}}')
        return str(conditions.get(date, ""))
    tags_file = sdk / "tags" / f"{date}.yaml"
    if not tags_file.is_file():
        return ""
    tags = [line.strip("- \t") for line in read_text(tags_file, "tags", errors="replace").splitlines()]
    return ", ".join(tag for tag in tags if tag and tag not in _TAGS_WITHOUT_LIGHT)


def _read_extrinsics(path: Path) -> Pose:
    x, y, z, roll, pitch, yaw = _read_numbers(path, 6, "x y z roll pitch yaw")
    return Pose(np.array([x, y, z]), matrix_to_quaternion(euler_to_matrix(roll, pitch, yaw)))


def _read_numbers(path: Path, count: int, meaning: str) -> npt.NDArray[np.float64]:
    text = read_text(path, "SDK's file", LARGEST_DOCUMENT_BYTES)
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise HyperPoseError(f"{path}: {error}; expected {meaning}") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise HyperPoseError(f"{path}: {len(numbers)} numbers; expected {count}: {meaning}")
    return numbers
