"""What a RobotCar run holds besides images, as ROS messages: INS and visual odometry, GPS, extrinsics.

Covariances are nominal where the logs have none: the logs say nothing of single rows, but a zero would claim
perfection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovariance, Twist, TwistWithCovariance, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import NavSatFix, NavSatStatus
from tf2_msgs.msg import TFMessage

from hyperpose_core.datasets.robotcar_runs import RobotCarRun
from hyperpose_core.datasets.robotcar_tracks import LONGEST_GAP_NS, Track
from hyperpose_core.geometry.poses import Array, Pose, quaternion_to_rotation_vector
from hyperpose_ros.bags.messages import header
from hyperpose_ros.common.conversions import covariance_to_message, pose_to_message, transform_to_message

BagEntry = tuple[int, str, Any]
"""(stamp in nanoseconds, topic, message), as it goes into a bag."""

INS_TOPIC = "/ins/odometry"
VO_TOPIC = "/vo/odometry"
GPS_TOPIC = "/gps/fix"
TF_STATIC_TOPIC = "/tf_static"

BASE_FRAME = "base_link"
INS_FRAME = "ins"
ODOMETRY_FRAME = "odom"

_NANOSECONDS = 1e9

# NovAtel's data sheet of the SPAN-CPT on RobotCar, single-point GNSS: 1.2 m, 0.02 m/s, 0.02 and 0.06 degrees.
_INS_POSE_COVARIANCE = np.diag(np.square([1.2, 1.2, 1.2, *np.radians([0.02, 0.02, 0.06])]))
_INS_TWIST_COVARIANCE = np.diag(np.square([0.02, 0.02, 0.02, 0.01, 0.01, 0.01]))
# Visual odometry and INS of real runs part by about 0.06 m sideways and 0.1 m vertically over 3 m of travel.
_VO_POSE_VARIANCE_PER_METRE = np.array([0.003, 0.003, 0.003, 1e-4, 1e-4, 1e-4])
_VO_POSE_VARIANCE_AT_START = np.array([1e-4, 1e-4, 1e-4, 1e-6, 1e-6, 1e-6])
_VO_TWIST_COVARIANCE = np.diag(np.square([0.2, 0.2, 0.2, 0.02, 0.02, 0.02]))
_UNKNOWN_VARIANCE = 1e6
_SMALLEST_GPS_DEVIATION_M = 0.01


def extrinsics_message(run: RobotCarRun, camera_frame: str, stamp_ns: int) -> TFMessage:
    """Return base_link -> camera optical frame and base_link -> INS, for /tf_static.

    base_link itself gets no parent: that is the localizer's to give.
    """
    return TFMessage(
        transforms=[
            transform_to_message(BASE_FRAME, camera_frame, run.base_link_from_optical, stamp_ns),
            transform_to_message(BASE_FRAME, INS_FRAME, run.base_link_from_ins, stamp_ns),
        ]
    )


def ins_entries(run: RobotCarRun, map_frame: str) -> Iterator[BagEntry]:
    """Give the good INS rows as odometry of base_link in the map, twist in base_link."""
    track = run.ins_base_link_track()
    velocities = run.ins.velocities[run.ins.good]
    lever = run.base_link_from_ins.position
    rates = _angular_velocities(track)
    for index, stamp_ns in enumerate(track.stamps_ns.tolist()):
        pose, rate = track.poses[index], rates[index]
        known = bool(np.isfinite(rate).all())
        rate = rate if known else np.zeros(3)
        # The log's velocity is the INS's; base_link is a lever arm away from it.
        linear = pose.rotation().T @ velocities[index] - np.cross(rate, lever)
        twist_covariance = _INS_TWIST_COVARIANCE.copy()
        if not known:
            twist_covariance[3:, 3:] = _UNKNOWN_VARIANCE * np.eye(3)
        message = _odometry(
            stamp_ns, map_frame, pose, _INS_POSE_COVARIANCE, np.r_[linear, rate], twist_covariance
        )
        yield stamp_ns, INS_TOPIC, message


def vo_entries(run: RobotCarRun) -> Iterator[BagEntry]:
    """Give visual odometry as odometry of base_link in `odom`, which is base_link at its first stamp.

    The covariance of the pose grows with the distance travelled. A run without visual odometry gives nothing.
    """
    if run.vo is None:
        return
    track = run.vo_base_link_track()
    distance, twist = 0.0, np.zeros(6)
    for index, stamp_ns in enumerate(track.stamps_ns.tolist()):
        if index > 0:
            step = track.poses[index - 1].inverse() @ track.poses[index]
            seconds = (stamp_ns - int(track.stamps_ns[index - 1])) / _NANOSECONDS
            linear = step.rotation().T @ step.position
            twist = np.r_[linear, quaternion_to_rotation_vector(step.orientation)] / seconds
            distance += float(np.linalg.norm(step.position))
        covariance = np.diag(_VO_POSE_VARIANCE_AT_START + distance * _VO_POSE_VARIANCE_PER_METRE)
        message = _odometry(
            stamp_ns, ODOMETRY_FRAME, track.poses[index], covariance, twist, _VO_TWIST_COVARIANCE
        )
        yield stamp_ns, VO_TOPIC, message


def gps_entries(run: RobotCarRun) -> Iterator[BagEntry]:
    """Give the GPS rows as fixes in the frame of the INS, which is one unit with the receiver.

    A fix's altitude is above the ellipsoid, the log's above the sea, and the INS log's above the ellipsoid:
    the difference is taken from the run itself. Without rows in common the altitude is unknown (NaN).
    """
    if run.gps is None:
        return
    geoid_height = _geoid_height(run)
    for index, stamp_ns in enumerate(run.gps.stamps_ns.tolist()):
        north, east, up = np.maximum(run.gps.deviations[index], _SMALLEST_GPS_DEVIATION_M) ** 2
        message = NavSatFix(
            header=header(stamp_ns, INS_FRAME),
            status=NavSatStatus(status=NavSatStatus.STATUS_FIX, service=NavSatStatus.SERVICE_GPS),
            latitude=float(run.gps.latitude_deg[index]),
            longitude=float(run.gps.longitude_deg[index]),
            altitude=float(run.gps.altitude[index] + geoid_height),
            position_covariance=np.diag([east, north, up]).reshape(9),
            position_covariance_type=NavSatFix.COVARIANCE_TYPE_DIAGONAL_KNOWN,
        )
        yield stamp_ns, GPS_TOPIC, message


def _odometry(
    stamp_ns: int, frame: str, pose: Pose, covariance: Array, twist: Array, twist_covariance: Array
) -> Odometry:
    linear, angular = (Vector3(x=x, y=y, z=z) for x, y, z in (twist[:3].tolist(), twist[3:].tolist()))
    return Odometry(
        header=header(stamp_ns, frame),
        child_frame_id=BASE_FRAME,
        pose=PoseWithCovariance(pose=pose_to_message(pose), covariance=covariance_to_message(covariance)),
        twist=TwistWithCovariance(
            twist=Twist(linear=linear, angular=angular), covariance=covariance_to_message(twist_covariance)
        ),
    )


def _angular_velocities(track: Track) -> Array:
    """Return angular velocities [N, 3] in the moving frame, rad/s; NaN where no neighbour is near in time."""
    stamps, count = track.stamps_ns, len(track.poses)
    rates = np.full((count, 3), np.nan)
    for index in range(count):
        before = index - 1 if index > 0 and stamps[index] - stamps[index - 1] <= LONGEST_GAP_NS else index
        after = (
            index + 1 if index + 1 < count and stamps[index + 1] - stamps[index] <= LONGEST_GAP_NS else index
        )
        if before != after:
            turn = track.poses[before].inverse() @ track.poses[after]
            seconds = (stamps[after] - stamps[before]) / _NANOSECONDS
            rates[index] = quaternion_to_rotation_vector(turn.orientation) / seconds
    return rates


def _geoid_height(run: RobotCarRun) -> float:
    assert run.gps is not None
    stamps = run.ins.stamps_ns[run.ins.good]
    altitudes = np.array([pose.position[2] for pose in run.ins.good_track().poses]) + run.world.origin[2]
    common = (run.gps.stamps_ns >= stamps[0]) & (run.gps.stamps_ns <= stamps[-1])
    if not common.any():
        return float("nan")
    of_ins = np.interp(run.gps.stamps_ns[common], stamps, altitudes)
    return float(np.median(of_ins - run.gps.altitude[common]))
