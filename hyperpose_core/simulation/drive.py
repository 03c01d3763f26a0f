"""How one run goes around the loop: its line, speed and swaying, as a pose at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Pose, euler_to_matrix
from hyperpose_core.simulation.camera import VEHICLE_HEIGHT_M, camera_in_vehicle
from hyperpose_core.simulation.loop import Loop

Array = npt.NDArray[np.float64]

# Vectors of a north-east-down frame to the town frame (east, north, up).
TOWN_FROM_NORTH_EAST_DOWN = Pose.from_matrix(
    np.array([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
)

_TRAINING_OFFSETS_M = (0.85, -0.85, 1.45, -1.45, 1.15, -1.15)
_RATE_HZ = 200.0
_LEAD_S = 1.0
_SLOWEST_IN_CORNERS = 0.62


@dataclass(frozen=True, eq=False)
class Drive:
    """The true motion of the vehicle frame (x forward, y right, z down) in a north-east-down frame.

    That frame has the town's origin and the grid's north.

    Attributes:
        times: seconds from the first image on, float64 [N]; it begins before 0 and ends after the last image.
        positions: north, east, down in metres [N, 3].
        angles: roll, pitch, yaw in radians [N, 3], the yaw unwrapped and from grid north.
        image_times: when images are taken, seconds [M].
        offset_m: mean offset from the centre line, metres, positive to the right.
    """

    times: Array
    positions: Array
    angles: Array
    image_times: Array
    offset_m: float

    def vehicle_at(self, time: float) -> Pose:
        """Return the vehicle frame's pose in the north-east-down frame."""
        position = [np.interp(time, self.times, self.positions[:, k]) for k in range(3)]
        matrix = np.eye(4)
        matrix[:3, 3] = position
        matrix[:3, :3] = euler_to_matrix(
            *(float(np.interp(time, self.times, self.angles[:, k])) for k in range(3))
        )
        return Pose.from_matrix(matrix)

    def camera_at(self, time: float) -> Pose:
        """Return the optical frame's pose in the town frame."""
        return TOWN_FROM_NORTH_EAST_DOWN @ self.vehicle_at(time) @ camera_in_vehicle()


def plan_drive(loop: Loop, run: int, is_test: bool, frames: int, mean_speed: float, seed: list[int]) -> Drive:
    """Lay out one lap.

    Args:
        loop: the centre line.
        run: number of the run within its split; training runs alternate between the sides of the road.
        is_test: test runs keep to the middle, where no training run drives.
        frames: images of the lap, evenly spaced in time.
        mean_speed: metres a second over the lap.
        seed: of the line, the swaying and the start.
    """
    rng = np.random.default_rng(seed)
    offset = float(rng.uniform(-0.08, 0.08))
    if not is_test:
        offset += _TRAINING_OFFSETS_M[run % len(_TRAINING_OFFSETS_M)]
    duration = loop.perimeter / mean_speed
    times = np.arange(-_LEAD_S, duration + _LEAD_S, 1.0 / _RATE_HZ)
    way = float(rng.uniform(0.0, 3.0)) + _progress(loop, times, duration)
    lateral = offset + _swaying(rng, way, loop.perimeter, 0.11)
    points, _ = loop.at(way, lateral)
    step = np.gradient(points, axis=0)
    course = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    kernel = np.hanning(81)
    padded = np.pad(course, 40, mode="reflect", reflect_type="odd")
    heading = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    heading = heading + np.radians(_swaying(rng, way, loop.perimeter, 1.3))
    roll = np.radians(_swaying(rng, way, loop.perimeter, 0.45))
    pitch = np.radians(_swaying(rng, way, loop.perimeter, 0.5))
    height = VEHICLE_HEIGHT_M + _swaying(rng, way, loop.perimeter, 0.015)
    positions = np.stack([points[:, 1], points[:, 0], -height], axis=1)
    angles = np.stack([roll, pitch, np.pi / 2 - heading], axis=1)
    return Drive(times, positions, angles, np.arange(frames) * duration / frames, offset)


def _progress(loop: Loop, times: Array, duration: float) -> Array:
    """Return the way along the loop in metres at each time, slower in the corners, one lap in `duration`."""
    way = np.linspace(0.0, loop.perimeter, 2000)
    slowness = 1.0 / (_SLOWEST_IN_CORNERS + (1.0 - _SLOWEST_IN_CORNERS) * loop.straightness(way, 14.0))
    clock = np.concatenate([[0.0], np.cumsum((slowness[1:] + slowness[:-1]) / 2)])
    clock *= duration / clock[-1]
    laps = np.floor(times / duration)
    return np.asarray(np.interp(times - laps * duration, clock, way) + laps * loop.perimeter)


def _swaying(rng: np.random.Generator, way: Array, perimeter: float, deviation: float) -> Array:
    """Return a smooth random function of the way with the given standard deviation."""
    waves = rng.integers(round(perimeter / 70.0) + 1, round(perimeter / 14.0) + 2, 6)
    phases = rng.uniform(0.0, 2 * np.pi, 6)
    weights = rng.uniform(0.5, 1.0, 6)
    weights *= deviation / np.sqrt(np.sum(weights**2) / 2)
    angles = 2 * np.pi * way[:, None] / perimeter * waves + phases
    return np.asarray(np.sin(angles) @ weights)
