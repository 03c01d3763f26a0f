"""From RobotCar's logs to poses over time, in a local east-north-up world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.robotcar_logs import InsLog, Stamps, VoLog
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import (
    Array,
    Pose,
    euler_to_matrix,
    interpolate_poses,
    matrix_to_quaternion,
    slerp,
)
from hyperpose_core.geometry.world import World

LONGEST_GAP_NS = 500_000_000

# East-north-up axes from north-east-down axes: half a turn about the horizontal north-east diagonal.
_ENU_FROM_NED = Pose(np.zeros(3), np.array([0.0, 1.0, 1.0, 0.0]))
_ORIGIN_STEP_M = 100.0
# Real logs correct themselves by up to 1.1 m from one row to the next.
_LARGEST_JUMP_M = 1.5
_AROUND_JUMP_NS = 300_000_000  # on both sides: more than `LONGEST_GAP_NS` together
_SHORTEST_BETWEEN_JUMPS_NS = 2_000_000_000
_FARTHEST_FROM_ORIGIN_M = 100_000.0


@dataclass(frozen=True, eq=False)
class Track:
    """Poses of one frame over time.

    Attributes:
        stamps_ns: int64 [N], strictly increasing.
        poses: N poses of the moving frame in the fixed one.
    """

    stamps_ns: Stamps
    poses: tuple[Pose, ...]

    def at(self, stamp_ns: int) -> Pose | None:
        """Interpolate at a stamp (linear, slerp); None outside the range or in a gap of more than 0.5 s."""
        if not self.covers(stamp_ns):
            return None
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if (
            self.stamps_ns[after] != stamp_ns
            and self.stamps_ns[after] - self.stamps_ns[after - 1] > LONGEST_GAP_NS
        ):
            return None
        first = max(after - 1, 0)
        return interpolate_poses(
            self.stamps_ns[first : after + 1], list(self.poses[first : after + 1]), stamp_ns
        )

    def covers(self, stamp_ns: int) -> bool:
        """Tell whether a stamp lies within the track's range, gaps included."""
        return len(self.poses) > 0 and bool(self.stamps_ns[0] <= stamp_ns <= self.stamps_ns[-1])

    def moved(self, before: Pose, after: Pose) -> Track:
        """Return the track of before @ pose @ after: another fixed frame, another frame of the same body."""
        return Track(self.stamps_ns, tuple(before @ pose @ after for pose in self.poses))


@dataclass(frozen=True, eq=False)
class InsRows:
    """Rows of a run's INS log, good and bad solutions alike, in the local world.

    Attributes:
        stamps_ns: int64 [N], strictly increasing.
        poses: N poses of the INS body (x forward, y right, z down) in the world.
        velocities: [N, 3], m/s, along the world's axes.
        good: bool [N], the rows marked INS_SOLUTION_GOOD.
    """

    stamps_ns: Stamps
    poses: tuple[Pose, ...]
    velocities: Array
    good: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def good_track(self) -> Track:
        """Return the track of the INS body over the good rows, without those around a jump.

        Which side of a jump is right cannot be known: a gap is left that nobody interpolates over, and what
        lies between two jumps in short order is left out.
        """
        usable = self.good.copy()
        jumps = [int(self.stamps_ns[row]) for row in self.jumps()]
        for jump in jumps:
            usable &= np.abs(self.stamps_ns - jump) > _AROUND_JUMP_NS
        for first, second in zip(jumps, jumps[1:], strict=False):
            if second - first < _SHORTEST_BETWEEN_JUMPS_NS:
                usable &= (self.stamps_ns < first) | (self.stamps_ns > second)
        return Track(
            self.stamps_ns[usable],
            tuple(pose for pose, good in zip(self.poses, usable, strict=True) if good),
        )

    def jumps(self) -> list[int]:
        """Return the good rows that lie farther from the good row before than any vehicle gets meanwhile.

        Farther, that is, than the velocities of both rows explain; over gaps nothing is said.
        """
        rows = np.flatnonzero(self.good)
        positions = np.array([self.poses[row].position for row in rows]).reshape(-1, 3)
        seconds = np.diff(self.stamps_ns[rows]) * 1e-9
        velocities = 0.5 * (self.velocities[rows][1:] + self.velocities[rows][:-1])
        unexplained = np.linalg.norm(np.diff(positions, axis=0) - velocities * seconds[:, None], axis=1)
        is_jump = (unexplained > _LARGEST_JUMP_M) & (seconds * 1e9 <= LONGEST_GAP_NS)
        return [int(row) for row in rows[1:][is_jump]]


@dataclass(frozen=True, eq=False)
class VoSteps:
    """Steps of the visual odometry.

    Attributes:
        source_stamps_ns: the later stamps, int64 [N], strictly increasing.
        destination_stamps_ns: the earlier stamps, int64 [N].
        steps: N poses of the vehicle frame (x forward, y right, z down) at the source stamp in the vehicle
            frame at the destination stamp.
    """

    source_stamps_ns: Stamps
    destination_stamps_ns: Stamps
    steps: tuple[Pose, ...]

    def track(self) -> Track:
        """Chain the steps from the first one's destination, where the vehicle frame is the fixed frame.

        Where the odometry paused, the vehicle is taken to have moved on at the speed of its last step; a step
        that starts before the chain's end is left out.
        """
        if not self.steps:
            return Track(self.source_stamps_ns, ())
        stamps, poses = [int(self.destination_stamps_ns[0])], [Pose.identity()]
        last, last_duration = Pose.identity(), 1
        for source, destination, step in zip(
            self.source_stamps_ns.tolist(), self.destination_stamps_ns.tolist(), self.steps, strict=True
        ):
            if destination < stamps[-1]:
                continue
            if destination > stamps[-1]:
                poses.append(poses[-1] @ _share_of(last, (destination - stamps[-1]) / last_duration))
                stamps.append(destination)
            poses.append(poses[-1] @ step)
            stamps.append(source)
            last, last_duration = step, source - destination
        return Track(np.array(stamps, dtype=np.int64), tuple(poses))


def world_of(log: InsLog, path: Path, origin: Sequence[float] | None) -> World:
    """Return the east-north-up world with the given origin, or one near the log's first good row.

    Args:
        log: an INS log.
        path: its file, for errors.
        origin: (easting, northing, up) of local zero, metres. None rounds the first good position to whole
            100 m, so that an origin is readable and runs that start side by side mostly get the same.

    Raises:
        HyperPoseError: the UTM zone cannot be read, or the run is not within 100 km of the origin.
    """
    _central_meridian_deg(log.utm_zone, path)
    first = log.north_east_down[int(np.argmax(log.good))][[1, 0, 2]] * (1.0, 1.0, -1.0)
    if origin is None:
        zero = np.round(first / _ORIGIN_STEP_M) * _ORIGIN_STEP_M
    else:
        zero = np.array(origin, dtype=np.float64)
    distance = float(np.linalg.norm(first - zero))
    if not distance < _FARTHEST_FROM_ORIGIN_M:
        raise HyperPoseError(
            f"origin {zero.tolist()} is {distance / 1000:.0f} km away from where {path} starts; give "
            f"easting, northing and up in metres, such as {np.round(first).tolist()}"
        )
    return World(
        description="local east-north-up of the UTM grid",
        origin=zero,
        utm_zone=log.utm_zone,
        up=(0.0, 0.0, 1.0),
    )


def ins_rows(log: InsLog, path: Path, world: World) -> InsRows:
    """Turn an INS log into poses and velocities of the local world.

    Positions are on the UTM grid while yaw and velocities are from true north: both are turned by the grid
    convergence.

    Raises:
        HyperPoseError: the log is of another UTM zone than the world.
    """
    if log.utm_zone != world.utm_zone:
        raise HyperPoseError(
            f"{path}: is in UTM zone {log.utm_zone}, the world in {world.utm_zone}; open runs of one zone "
            "together"
        )
    convergence = grid_convergence(log.latitude_longitude_deg, _central_meridian_deg(log.utm_zone, path))
    easting, northing, up = world.origin
    local = log.north_east_down - np.array([northing, easting, -up])
    poses = tuple(
        _ENU_FROM_NED @ Pose(position, matrix_to_quaternion(euler_to_matrix(roll, pitch, yaw - turn)))
        for position, (roll, pitch, yaw), turn in zip(local, log.roll_pitch_yaw, convergence, strict=True)
    )
    north, east, down = log.velocity_north_east_down.T
    cosine, sine = np.cos(convergence), np.sin(convergence)
    velocities = np.stack([east * cosine - north * sine, north * cosine + east * sine, -down], axis=1)
    return InsRows(log.stamps_ns, poses, velocities, log.good)


def vo_steps(log: VoLog) -> VoSteps:
    """Turn a visual odometry log into poses of each source frame in its destination frame."""
    steps = tuple(
        Pose(translation, matrix_to_quaternion(euler_to_matrix(*angles)))
        for translation, angles in zip(log.translations, log.roll_pitch_yaw, strict=True)
    )
    return VoSteps(log.source_stamps_ns, log.destination_stamps_ns, steps)


def grid_convergence(latitude_longitude_deg: Array, central_meridian_deg: float) -> Array:
    """Return the bearing of grid north from true north, radians [N], for [N, 2] degrees.

    The formula is the sphere's; in a UTM zone the ellipsoid changes it by less than 1e-4 degrees. A bearing
    on the grid is the true bearing less the convergence.
    """
    latitude, longitude = np.radians(latitude_longitude_deg).T
    return np.arctan(np.tan(longitude - math.radians(central_meridian_deg)) * np.sin(latitude))


def _central_meridian_deg(utm_zone: str, path: Path) -> float:
    digits = utm_zone[:-1]
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= 60 and utm_zone[-1].isalpha()):
        raise HyperPoseError(f"{path}: {utm_zone!r} is no UTM zone; expected one such as 30U")
    return int(digits) * 6.0 - 183.0


def _share_of(step: Pose, share: float) -> Pose:
    return Pose(step.position * share, slerp(np.array([1.0, 0.0, 0.0, 0.0]), step.orientation, share))
