"""Writes a small RobotCar dataset of known poses, on disk in the dataset's own layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from hyperpose_core.datasets.robotcar_runs import RobotCarRun
from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_euler

Ride = Callable[[float], tuple[float, ...]]

EASTING, NORTHING, DOWN = 620160.0, 5736390.0, -110.0
LATITUDE, LONGITUDE = 51.765474, -1.258766
CONVERGENCE = math.atan(math.tan(math.radians(LONGITUDE + 3.0)) * math.sin(math.radians(LATITUDE)))
START_US = 1403537850000000
FIRST_IMAGE_S = 0.1
IMAGE_STEP_S = 0.25
IMAGE_COUNT = 20
SPEED = 5.0
# INS 1.7 m behind, 0.1 m to the right of and 1.2 m below the vehicle frame, in which the stereo camera is.
INS_PLACE = (-1.7, 0.1, 1.2)
INS_HEADER = (
    "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,"
    "velocity_north,velocity_east,velocity_down,roll,pitch,yaw"
)
OPTICAL_MATRIX = "0 0 1 0\n1 0 0 0\n0 1 0 0\n0 0 0 1\n"


def ride_east(seconds: float) -> tuple[float, ...]:
    """Northing, easting, down, roll, pitch, yaw from true north, of the INS heading for grid east."""
    return NORTHING, EASTING + SPEED * seconds, DOWN, 0.0, 0.0, math.pi / 2 + CONVERGENCE


def ride_in_a_circle(seconds: float) -> tuple[float, ...]:
    """Drive a circle of 20 m radius, rolling and pitching a little."""
    angle = SPEED / 20.0 * seconds
    place = NORTHING + 20.0 * math.sin(angle), EASTING - 20.0 * math.cos(angle), DOWN
    return *place, 0.03 * math.sin(angle), 0.05 * math.cos(angle), angle + CONVERGENCE


def write_sdk(root: Path) -> Path:
    sdk = root / "sdk"
    for name in ("extrinsics", "models", "tags"):
        (sdk / name).mkdir(parents=True)
    (sdk / "extrinsics" / "ins.txt").write_text("-1.7 0.1 1.2 0 0 0\n")
    (sdk / "extrinsics" / "stereo.txt").write_text("0 0 0 0 0 0")
    (sdk / "extrinsics" / "mono_left.txt").write_text(f"0 0 0 0 0 {math.pi / 2}\n")
    (sdk / "models" / "stereo_narrow_left.txt").write_text(f"12.0 12.0 8.5 6.5\n{OPTICAL_MATRIX}")
    (sdk / "models" / "mono_left.txt").write_text(f"4.0 4.0 5.0 5.0\n{OPTICAL_MATRIX}")
    return sdk


def bayer_mosaic(image: np.ndarray) -> np.ndarray:
    """Keep of each RGB pixel the colour that the stereo camera's GBRG filter lets through."""
    mosaic = image[..., 1].copy()
    mosaic[0::2, 1::2] = image[0::2, 1::2, 2]
    mosaic[1::2, 0::2] = image[1::2, 0::2, 0]
    return mosaic


def image_stamps_us() -> list[int]:
    return [START_US + round((FIRST_IMAGE_S + IMAGE_STEP_S * index) * 1e6) for index in range(IMAGE_COUNT)]


def ins_row(microseconds: int, ride: Ride, status: str = "INS_SOLUTION_GOOD") -> str:
    northing, easting, down, roll, pitch, yaw = ride((microseconds - START_US) * 1e-6)
    velocity = f"{SPEED * math.cos(yaw):.6f},{SPEED * math.sin(yaw):.6f},0.0"
    return (
        f"{microseconds},{status},{LATITUDE},{LONGITUDE},{-down},{northing:.6f},{easting:.6f},{down:.6f},30U,"
        f"{velocity},{roll:.9f},{pitch:.9f},{yaw:.9f}"
    )


def ins_lines(ride: Ride = ride_east, seconds: float = 5.5) -> list[str]:
    return [ins_row(START_US + 20000 * index, ride) for index in range(int(seconds / 0.02))]


def vo_lines(ride: Ride) -> list[str]:
    """Steps between images of the vehicle frame, which the INS is fixed to at INS_PLACE."""

    def vehicle(microseconds: int) -> Pose:
        northing, easting, down, roll, pitch, yaw = ride((microseconds - START_US) * 1e-6)
        matrix = np.eye(4)
        matrix[:3, :3] = euler_to_matrix(roll, pitch, yaw - CONVERGENCE)
        matrix[:3, 3] = northing, easting, down
        return Pose.from_matrix(matrix) @ Pose(-np.array(INS_PLACE), np.array([1.0, 0.0, 0.0, 0.0]))

    lines = []
    stamps = image_stamps_us()
    for earlier, later in zip(stamps, stamps[1:], strict=False):
        step = vehicle(earlier).inverse() @ vehicle(later)
        numbers = [*step.position, *matrix_to_euler(step.rotation())]
        lines.append(",".join([str(later), str(earlier), *(f"{number:.12f}" for number in numbers)]))
    return lines


def write_run(root: Path, date: str, ride: Ride = ride_east, image: np.ndarray | None = None) -> Path:
    run = root / date
    for name in ("gps", "vo", "stereo/centre"):
        (run / name).mkdir(parents=True)
    write_ins(run, ins_lines(ride))
    vo_header = "source_timestamp,destination_timestamp,x,y,z,roll,pitch,yaw"
    (run / "vo" / "vo.csv").write_text("\n".join([vo_header, *vo_lines(ride)]) + "\n")
    gps_header = "timestamp,num_satellites,latitude,longitude,altitude,latitude_sigma,longitude_sigma,"
    gps_header += "altitude_sigma,northing,easting,down,utm_zone"
    gps_row = f"{START_US},7,{LATITUDE},{LONGITUDE},65.5,2.5,1.5,6.0,{NORTHING},{EASTING},-65.5,30U"
    (run / "gps" / "gps.csv").write_text(f"{gps_header}\n{gps_row}\n")
    (run / "stereo.timestamps").write_text("".join(f"{stamp} 1\n" for stamp in image_stamps_us()))
    mosaic = bayer_mosaic(np.full((12, 16, 3), (200, 100, 50), np.uint8) if image is None else image)
    for stamp in image_stamps_us():
        cv2.imwrite(str(run / "stereo" / "centre" / f"{stamp}.png"), mosaic)
    return run


def write_ins(run: Path, lines: list[str]) -> None:
    (run / "gps" / "ins.csv").write_text("\n".join([INS_HEADER, *lines]) + "\n")


def base_link_poses(run: RobotCarRun) -> tuple[Pose, ...]:
    """N poses of base_link in the world, one for each image."""
    optical_from_base_link = run.base_link_from_optical.inverse()
    return tuple(pose @ optical_from_base_link for pose in run.camera_poses)
