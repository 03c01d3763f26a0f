"""Writes a run the way Oxford RobotCar lies on disk, and the SDK's files that describe the camera."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.simulation.camera import CAMERA_EXTRINSICS, INS_EXTRINSICS, OPTICAL_TO_CAMERA

INS_HEADER = (
    "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,"
    "velocity_north,velocity_east,velocity_down,roll,pitch,yaw"
)
GPS_HEADER = (
    "timestamp,num_satellites,latitude,longitude,altitude,latitude_sigma,longitude_sigma,altitude_sigma,"
    "northing,easting,down,utm_zone"
)
VO_HEADER = "source_timestamp,destination_timestamp,x,y,z,roll,pitch,yaw"

# In every simulated run: what decided its content, or {} while it is being written.
_DONE = "simulated.json"


class RunWriter:
    """Writes one run's folder; the run counts as written once `finish` was called."""

    def __init__(self, root: Path, date: str) -> None:
        """Aim at a run's folder below the RobotCar folder `root`."""
        self.folder = root / date
        self._images = self.folder / "stereo" / "centre"

    def is_finished(self, content: Mapping[str, object]) -> bool:
        """Return whether the run was written to its end before, with the same content."""
        try:
            return bool(json.loads((self.folder / _DONE).read_text()) == content)
        except (OSError, ValueError):
            return False

    def begin(self) -> None:
        """Make an empty folder, removing what an interrupted or an older run left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for part in ("stereo/centre", "gps", "vo"):
            (self.folder / part).mkdir(parents=True)
        replace_text(self.folder / _DONE, "{}\n", "mark of a run")

    def write_image(self, stamp_us: int, mosaic: npt.NDArray[np.uint8]) -> None:
        """Write a Bayer mosaic uint8 [H, W] as PNG.

        Raises:
            HyperPoseError: the file cannot be written.
        """
        path = self._images / f"{stamp_us}.png"
        content = cv2.imencode(".png", mosaic, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        try:
            path.write_bytes(content.tobytes())
        except OSError as error:
            raise HyperPoseError(f"{path}: cannot write the image: {error.strerror}") from error

    def write_tables(
        self, stamps_us: Iterable[int], ins: list[str], gps: list[str], odometry: list[str]
    ) -> None:
        """Write stereo.timestamps, gps/ins.csv, gps/gps.csv and vo/vo.csv."""
        _write_lines(self.folder / "stereo.timestamps", [f"{stamp} 1" for stamp in stamps_us])
        _write_lines(self.folder / "gps" / "ins.csv", [INS_HEADER, *ins])
        _write_lines(self.folder / "gps" / "gps.csv", [GPS_HEADER, *gps])
        _write_lines(self.folder / "vo" / "vo.csv", [VO_HEADER, *odometry])

    def finish(self, content: Mapping[str, object]) -> None:
        """Mark the run as written, with what decided its content."""
        replace_text(self.folder / _DONE, json.dumps(content, indent=1) + "\n", "mark of a run")


def remove_other_runs(root: Path, dates: Collection[str]) -> None:
    """Remove the simulated runs below `root` that are none of `dates`: they belong to other options."""
    for mark in root.glob(f"*/{_DONE}"):
        if mark.parent.name not in dates:
            shutil.rmtree(mark.parent)


def write_sdk(root: Path, camera: CameraModel) -> None:
    """Write sdk/extrinsics and sdk/models, which describe the simulated camera."""
    extrinsics, models = root / "sdk" / "extrinsics", root / "sdk" / "models"
    extrinsics.mkdir(parents=True, exist_ok=True)
    models.mkdir(parents=True, exist_ok=True)
    for name, values in (("ins", INS_EXTRINSICS), ("stereo", CAMERA_EXTRINSICS)):
        _write_lines(extrinsics / f"{name}.txt", [" ".join(f"{value:.4f}" for value in values)])
    rows = [(camera.fx, camera.fy, camera.cx, camera.cy), *OPTICAL_TO_CAMERA]
    _write_lines(
        models / "stereo_narrow_left.txt", [" ".join(f"{value:.6f}" for value in row) for row in rows]
    )


def write_splits(root: Path, train: Iterable[str], test: Iterable[str]) -> None:
    """Write train_split.txt and test_split.txt: a run's date a line."""
    _write_lines(root / "train_split.txt", train)
    _write_lines(root / "test_split.txt", test)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    replace_text(path, "".join(f"{line}\n" for line in lines))
