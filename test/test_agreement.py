"""Which fixes agree with one another, and what becomes of whether the robot knows where it is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_ros.common.fix import PoseWithCovariance  # noqa: E402
from hyperpose_ros.fusion.agreement import (  # noqa: E402
    AgreeingFixes,
    AgreementSettings,
    Sighting,
    with_floor,
)
from hyperpose_ros.fusion.tracking import Tracking, TrackingMonitor  # noqa: E402

DEVIATIONS = np.array([0.1] * 3 + [0.05] * 3)
SETTINGS = AgreementSettings(
    poses=3, window_ns=3_000_000_000, deviations=DEVIATIONS, odometry_noise=0.05, max_speed=2.0
)
EXACT = np.eye(6) * 1e-4
TENTH_NS = 100_000_000


def pose(x: float, yaw: float = 0.0) -> Pose:
    return Pose(np.array([x, 0.0, 0.0]), rotation_vector_to_quaternion([0.0, 0.0, yaw]))


def sighting(tenths: int, x: float, odometry: float | None = None, yaw: float = 0.0) -> Sighting:
    driven = None if odometry is None else pose(odometry)
    return Sighting(tenths * TENTH_NS, PoseWithCovariance(pose(x, yaw), EXACT), driven)


def agreeing(*sightings: Sighting) -> list[float]:
    """Where the fixes are that agree with the last one."""
    fixes = AgreeingFixes()
    for entry in sightings:
        found = fixes.add(entry, SETTINGS)
    return [float(entry.body.pose.position[0]) for entry in found]


def test_fixes_agree_where_odometry_says_that_the_way_between_them_was_driven() -> None:
    assert agreeing(sighting(0, 40.0, 1.0), sighting(1, 41.0, 2.0), sighting(2, 42.0, 3.0)) == [42, 41, 40]


def test_a_robot_that_stood_still_cannot_have_got_there() -> None:
    assert agreeing(sighting(0, 40.0, 1.0), sighting(1, 41.0, 1.0), sighting(2, 42.0, 1.0)) == [42]


def test_without_odometry_the_robot_has_driven_no_faster_than_it_can() -> None:
    assert agreeing(sighting(0, 40.0), sighting(1, 40.2), sighting(2, 40.4)) == [40.4, 40.2, 40]
    assert agreeing(sighting(0, 40.0), sighting(1, 42.0), sighting(2, 44.0)) == [44]
    assert agreeing(sighting(0, 40.0), sighting(1, 40.0, yaw=3.0), sighting(2, 40.0)) == [40, 40]


def test_a_wrong_fix_between_right_ones_is_passed_over() -> None:
    found = agreeing(
        sighting(0, 40.0, 0.0), sighting(1, 40.5, 0.5), sighting(2, 90.0, 1.0), sighting(3, 41.5, 1.5)
    )
    assert found == [41.5, 40.5, 40.0]


def test_fixes_that_are_too_old_or_lie_ahead_in_time_do_not_count() -> None:
    assert agreeing(sighting(0, 40.0), sighting(20, 40.0), sighting(40, 40.0)) == [40, 40]
    assert agreeing(sighting(50, 40.0), sighting(51, 40.0), sighting(2, 40.0)) == [40]


def test_a_floor_lets_no_direction_be_more_exact_and_leaves_others_as_they_are() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    covariance = turn @ np.diag([1e-6, 1e-6, 1e-4, 0.2, 1.0, 4.0]) @ turn.T
    raised = with_floor(covariance, DEVIATIONS)
    slack = 1e-12
    assert np.linalg.eigvalsh(raised - np.diag(DEVIATIONS**2))[0] > -slack
    assert np.linalg.eigvalsh(raised - covariance)[0] > -slack
    np.testing.assert_allclose(with_floor(np.eye(6), DEVIATIONS), np.eye(6))


SECOND_NS = 1_000_000_000


def test_a_robot_is_lost_until_it_is_found_and_once_none_was_for_too_long() -> None:
    monitor = TrackingMonitor()
    monitor.fail(0, False, SECOND_NS)
    assert monitor.state is Tracking.LOST
    monitor.trust(0, False)
    assert monitor.state is Tracking.LOST, "one pose may be wrong"
    monitor.trust(0, True)
    assert monitor.state is Tracking.TRACKING
    states = []
    for tenths in (5, 9, 10):
        monitor.fail(tenths * TENTH_NS, False, SECOND_NS)
        states.append(monitor.state)
    assert states == [Tracking.UNCERTAIN, Tracking.UNCERTAIN, Tracking.LOST]
    monitor.contradict()
    assert monitor.state is Tracking.LOST


def test_three_images_with_nothing_to_see_in_a_row_lose_the_robot_at_once() -> None:
    monitor = TrackingMonitor()
    for blind in (True, True, False, True, True):
        monitor.trust(0, True) if not blind else monitor.fail(1, True, SECOND_NS)
        assert monitor.state is not Tracking.LOST or blind
    assert monitor.state is Tracking.UNCERTAIN
    monitor.fail(1, True, SECOND_NS)
    assert monitor.state is Tracking.LOST


def test_one_pose_that_contradicts_odometry_is_a_doubt_and_two_are_a_robot_that_was_carried() -> None:
    monitor = TrackingMonitor()
    monitor.trust(0, True)
    monitor.contradict()
    assert monitor.state is Tracking.UNCERTAIN
    monitor.contradict()
    assert monitor.state is Tracking.LOST
