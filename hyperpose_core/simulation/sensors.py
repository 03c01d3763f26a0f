"""What INS, GPS and visual odometry measure of a drive: rows for RobotCar's tables, with realistic errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_euler
from hyperpose_core.simulation.camera import INS_EXTRINSICS, pose_of
from hyperpose_core.simulation.drive import Drive
from hyperpose_core.simulation.utm import grid_convergence, utm_to_geodetic

Array = npt.NDArray[np.float64]

_INS_HZ = 50.0
_GPS_HZ = 5.0
_ALTITUDE_M = 110.0
_GEOID_M = 45.9


@dataclass(frozen=True)
class Place:
    """Where the town frame's origin lies on the UTM grid: metres; the zone is of the northern hemisphere."""

    easting: float
    northing: float
    zone: int = 30
    band: str = "U"

    @property
    def zone_name(self) -> str:
        """The zone as RobotCar writes it, such as 30U."""
        return f"{self.zone}{self.band}"


def ins_rows(drive: Drive, place: Place, start_us: int, rng: np.random.Generator) -> list[str]:
    """Return the lines of ins.csv: 50 a second, errors of a few centimetres and hundredths of a degree."""
    times = np.arange(drive.times[0] + 0.1, drive.times[-1] - 0.1, 1.0 / _INS_HZ)
    times = times + rng.uniform(-0.004, 0.004, len(times))
    poses = [drive.vehicle_at(time) @ pose_of(INS_EXTRINSICS) for time in times]
    true = np.array([pose.position for pose in poses])
    velocity = np.gradient(true, times, axis=0) + rng.normal(0.0, 0.01, true.shape)
    positions = true + _wandering(rng, len(times), 8.0, (0.02, 0.02, 0.025))
    angles = np.array([matrix_to_euler(pose.rotation()) for pose in poses])
    angles += np.radians(_wandering(rng, len(times), 12.0, (0.02, 0.02, 0.06)))
    rows = []
    for time, position, speed, (roll, pitch, yaw) in zip(times, positions, velocity, angles, strict=True):
        northing, easting, down = position + [place.northing, place.easting, -_ALTITUDE_M]
        latitude, longitude = utm_to_geodetic(easting, northing, place.zone)
        convergence = grid_convergence(latitude, longitude, place.zone)
        north, east = _turned(speed[:2], convergence)
        yaw = (yaw + convergence + np.pi) % (2 * np.pi) - np.pi
        rows.append(
            f"{start_us + round(time * 1e6)},INS_SOLUTION_GOOD,{latitude:.8f},{longitude:.8f},{-down:.6f},"
            f"{northing:.6f},{easting:.6f},{down:.6f},{place.zone_name},{north:.6f},{east:.6f},{speed[2]:.6f},"
            f"{roll:.6f},{pitch:.6f},{yaw:.6f}"
        )
    return rows


def gps_rows(drive: Drive, place: Place, start_us: int, rng: np.random.Generator) -> list[str]:
    """Return the lines of gps.csv: 5 a second, errors of a metre or two that change slowly."""
    times = np.arange(drive.times[0] + 0.1, drive.times[-1] - 0.1, 1.0 / _GPS_HZ)
    times = times + rng.uniform(-0.01, 0.01, len(times))
    errors = _wandering(rng, len(times), 20.0, (1.1, 0.8, 2.0), _GPS_HZ) + rng.normal(
        0.0, 0.03, (len(times), 3)
    )
    rows = []
    for time, error in zip(times, errors, strict=True):
        position = (drive.vehicle_at(time) @ pose_of(INS_EXTRINSICS)).position + error
        northing, easting, down = position + [place.northing, place.easting, _GEOID_M - _ALTITUDE_M]
        latitude, longitude = utm_to_geodetic(easting, northing, place.zone)
        rows.append(
            f"{start_us + round(time * 1e6)},{rng.integers(7, 11)},{latitude:.8f},{longitude:.8f},"
            f"{-down:.6f},1.1000,0.8000,2.0000,{northing:.6f},{easting:.6f},{down:.6f},{place.zone_name}"
        )
    return rows


def odometry_rows(drive: Drive, stamps_us: list[int], rng: np.random.Generator) -> list[str]:
    """Return the lines of vo.csv: the motion between neighbouring images, with errors of scale and drift."""
    poses = [drive.vehicle_at(time) for time in drive.image_times]
    scale, drift = 1.0 + rng.normal(0.0, 0.008), rng.normal(0.0, 1.5e-4)
    rows = []
    for later in range(1, len(poses)):
        motion = poses[later - 1].inverse() @ poses[later]
        length = float(np.linalg.norm(motion.position))
        position = motion.position * (scale + rng.normal(0.0, 0.008)) + rng.normal(0.0, 0.004 * length, 3)
        turn = rng.normal(0.0, 3e-4, 3) + [0.0, 0.0, drift]
        matrix = np.eye(4)
        matrix[:3, :3] = motion.rotation() @ euler_to_matrix(*turn)
        angles = matrix_to_euler(Pose.from_matrix(matrix).rotation())
        numbers = ",".join(f"{value:.6e}" for value in (*position, *angles))
        rows.append(f"{stamps_us[later]},{stamps_us[later - 1]},{numbers}")
    return rows


def _turned(vector: Array, angle: float) -> tuple[float, float]:
    """Return a (north, east) vector of the grid in true north and east; grid north lies `angle` east."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return float(cosine * vector[0] - sine * vector[1]), float(sine * vector[0] + cosine * vector[1])


def _wandering(
    rng: np.random.Generator, count: int, seconds: float, deviations: tuple[float, ...], rate: float = _INS_HZ
) -> Array:
    """Return a Gauss-Markov process [count, n]: errors that forget themselves after `seconds`."""
    keep = np.exp(-1.0 / (seconds * rate))
    shocks = rng.standard_normal((count, len(deviations))) * np.sqrt(1.0 - keep**2)
    values = np.empty_like(shocks)
    state = rng.standard_normal(len(deviations))
    for index, shock in enumerate(shocks):
        state = keep * state + shock
        values[index] = state
    return values * np.asarray(deviations)
