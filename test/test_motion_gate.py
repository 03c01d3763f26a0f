"""The gate against jumps, on simulated drives with known noise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion  # noqa: E402
from hyperpose_ros.common.fix import PoseWithCovariance  # noqa: E402
from hyperpose_ros.fusion.motion_gate import (
    TURN_PER_METRE_RAD,
    GateResult,
    GateSettings,
    MotionGate,
    chi_squared_6_cdf,
)

SETTINGS = GateSettings(probability=0.999, odometry_noise=0.05, recovery=5)
COVARIANCE = np.diag([0.2**2] * 3 + [0.02**2] * 3)


def turned(yaw: float, *position: float) -> Pose:
    return Pose(np.array(position), rotation_vector_to_quaternion([0.0, 0.0, yaw]))


def perturbed(pose: Pose, perturbation: np.ndarray) -> Pose:
    """A pose with an error: position in the map's axes, rotation on the left."""
    turn = Pose(np.zeros(3), rotation_vector_to_quaternion(perturbation[3:]))
    return Pose(pose.position + perturbation[:3], (turn @ Pose(np.zeros(3), pose.orientation)).orientation)


class Drive:
    """A robot at 1 m a step through a slow curve, its odometry in another frame than the map."""

    def __init__(self, seed: int = 0, covariance: np.ndarray = COVARIANCE) -> None:
        self.generator = np.random.default_rng(seed)
        self.covariance = covariance
        self.pose = turned(0.3, 40.0, -7.0, 0.0)
        self.odometry = turned(-1.0, 0.0, 0.0, 0.0)

    def step(self, motion: Pose | None = None) -> None:
        motion = motion or turned(0.05, 1.0, 0.0, 0.0)
        self.pose, self.odometry = self.pose @ motion, self.odometry @ motion

    def fix(self, *offset: float) -> PoseWithCovariance:
        error = self.generator.multivariate_normal(np.zeros(6), self.covariance)
        error[: len(offset)] += offset
        return PoseWithCovariance(perturbed(self.pose, error), self.covariance)

    def ask(self, gate: MotionGate, *offset: float, is_sound: bool = True) -> GateResult:
        self.step()
        return gate.check(self.fix(*offset), self.odometry, SETTINGS, is_sound)


@pytest.mark.parametrize(
    ("probability", "quantile"), [(0.5, 5.34812), (0.95, 12.5916), (0.99, 16.8119), (0.999, 22.4577)]
)
def test_the_distribution_has_its_tabulated_quantiles(probability: float, quantile: float) -> None:
    assert chi_squared_6_cdf(quantile) == pytest.approx(probability, abs=1e-5)
    assert chi_squared_6_cdf(0.0) == 0.0


def test_true_motions_pass_as_often_as_the_gate_says() -> None:
    """Fixes with correlated errors 20 m apart: an error of the first one's heading moves the prediction."""
    generator = np.random.default_rng(1)
    settings = GateSettings(probability=0.9, odometry_noise=0.03, recovery=1000)
    mixing = generator.normal(size=(6, 6)) * np.array([0.3] * 3 + [0.02] * 3)[:, None]
    covariance = mixing @ mixing.T
    motion = turned(0.4, 20.0, 3.0, 0.0)
    travelled = float(np.linalg.norm(motion.position))
    odometry_deviations = 0.03 * np.array([travelled] * 3 + [0.4 + TURN_PER_METRE_RAD * travelled] * 3)
    passed = 0
    for _ in range(2000):
        drive, gate = Drive(int(generator.integers(1 << 30)), covariance), MotionGate()
        gate.check(drive.fix(), drive.odometry, settings)
        odometry = drive.odometry @ motion
        # The error of odometry, in the map's axes, is as likely in every direction.
        drive.pose = perturbed(drive.pose @ motion, generator.normal(size=6) * odometry_deviations)
        passed += gate.check(drive.fix(), odometry, settings).passes
    assert 0.87 < passed / 2000 < 0.93


def test_on_a_drive_nothing_true_is_refused_and_a_jump_is_measured() -> None:
    drive, gate = Drive(), MotionGate()
    answers = [drive.ask(gate) for _ in range(100)]
    assert all(answer.passes for answer in answers)
    assert answers[0].mahalanobis is None, "there was nothing to compare the first with"
    jump = drive.ask(gate, 5.0)
    assert not jump.passes and jump.innovation_m == pytest.approx(5.0, abs=1.0)
    assert jump.mahalanobis is not None and jump.mahalanobis > 10
    assert drive.ask(gate).passes, "one wrong fix must not draw the next one into doubt"


def test_a_turn_on_the_spot_is_a_jump_too() -> None:
    drive, gate = Drive(), MotionGate()
    drive.ask(gate)
    drive.step()
    fix = drive.fix()
    about = PoseWithCovariance(perturbed(fix.pose, np.array([0, 0, 0, 0, 0, np.pi])), fix.covariance)
    assert not gate.check(about, drive.odometry, SETTINGS).passes


def test_a_robot_that_was_carried_away_is_found_again() -> None:
    drive, gate = Drive(), MotionGate()
    for _ in range(10):
        drive.ask(gate)
    drive.pose = turned(2.0, 400.0, 30.0, 0.0)
    answers = [drive.ask(gate) for _ in range(20)]
    assert [answer.passes for answer in answers] == [False] * 4 + [True] * 16
    assert [answer.recovered for answer in answers[3:6]] == [False, True, False]


def test_a_wrong_first_fix_does_not_lock_the_robot_out() -> None:
    drive, gate = Drive(), MotionGate()
    assert drive.ask(gate, 80.0).passes
    assert [drive.ask(gate).passes for _ in range(6)] == [False] * 4 + [True] * 2


def test_refused_fixes_that_contradict_one_another_are_never_believed() -> None:
    drive, gate = Drive(), MotionGate()
    drive.ask(gate)
    for _ in range(40):
        assert not drive.ask(
            gate, *drive.generator.choice([-1, 1], 2) * drive.generator.uniform(20, 90, 2)
        ).passes
    assert drive.ask(gate).passes


def test_an_unsound_fix_is_measured_and_neither_trusted_nor_counted() -> None:
    drive, gate = Drive(), MotionGate()
    assert drive.ask(gate, 90.0, is_sound=False).passes, "there is nothing yet that it contradicts"
    assert drive.ask(gate).mahalanobis is None
    for _ in range(2 * SETTINGS.recovery):
        assert not drive.ask(gate, 30.0, is_sound=False).passes
    assert drive.ask(gate).passes


def test_odometry_may_be_off_by_a_share_of_the_way_and_not_of_the_beeline() -> None:
    """A lap of 100 m, no fix to be trusted on it: back at the start, odometry is off by 4 m."""
    drive, gate = Drive(), MotionGate()
    gate.check(drive.fix(), drive.odometry, SETTINGS)
    start = drive.pose
    for _ in range(100):
        drive.step(turned(2 * np.pi / 100, 1.0, 0.0, 0.0))
        gate.check(drive.fix(60.0), drive.odometry, SETTINGS, is_sound=False)
    np.testing.assert_allclose(drive.pose.position, start.position, atol=1e-9)
    drifted = Pose(drive.odometry.position + [4.0, 0.0, 0.0], drive.odometry.orientation)
    assert gate.check(drive.fix(), drifted, SETTINGS).passes


def test_with_an_unknown_covariance_nothing_can_be_a_jump() -> None:
    unknown = np.diag([100.0**2] * 3 + [np.pi**2] * 3)
    gate = MotionGate()
    for x in (0.0, 150.0, -100.0):
        assert gate.check(
            PoseWithCovariance(turned(x, x, 0, 0), unknown), turned(0, 0, 0, 0), SETTINGS
        ).passes


def test_after_a_reset_any_fix_is_a_first_one() -> None:
    drive, gate = Drive(), MotionGate()
    drive.ask(gate)
    gate.reset()
    assert drive.ask(gate, 70.0).mahalanobis is None


def test_a_surer_fix_from_before_takes_the_place_of_what_was_trusted() -> None:
    drive, gate = Drive(), MotionGate()
    assert drive.ask(gate, 3.0).passes, "the first one passes, wherever it is"
    sure, odometry = PoseWithCovariance(drive.pose, COVARIANCE / 100), drive.odometry
    assert not drive.ask(gate).passes
    gate.trust(sure, odometry)
    drive.step()
    predicted = gate.predict(drive.odometry, SETTINGS.odometry_noise)
    assert predicted is not None
    np.testing.assert_allclose(predicted.pose.matrix(), drive.pose.matrix(), atol=1e-9)
    assert np.linalg.eigvalsh(predicted.covariance - sure.covariance)[-1] > 0
    assert drive.ask(gate).passes and not drive.ask(gate, 3.0).passes


def test_a_gate_without_a_trusted_fix_foretells_nothing() -> None:
    drive, gate = Drive(), MotionGate()
    assert gate.predict(drive.odometry, SETTINGS.odometry_noise) is None
