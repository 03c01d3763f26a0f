"""Several estimates of one body's pose as one: weights, covariances, lever arms, disagreement."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from hyperpose_core.geometry.poses import (
    Array,
    Pose,
    orientation_errors_deg,
    quaternion_to_rotation_vector,
    relative_quaternion,
    rotation_vector_to_quaternion,
)
from hyperpose_ros.common.fix import PoseWithCovariance
from hyperpose_ros.fusion.pose_fusion import body_from_camera, fuse

RANDOM = np.random.default_rng(5)
CALIBRATED = np.diag([0.04, 0.09, 0.01, 0.001, 0.002, 0.004])


def random_pose() -> Pose:
    return Pose(RANDOM.normal(size=3) * 10, RANDOM.normal(size=4))


def random_covariance(scale: float = 0.1) -> Array:
    root = RANDOM.normal(size=(6, 6)) * scale
    return root @ root.T + np.eye(6) * scale**2 * 0.1


def perturbed(pose: Pose, by: npt.ArrayLike) -> Pose:
    """A pose moved, in the map's axes, by [x, y, z, rotation vector]."""
    step = np.asarray(by, dtype=np.float64)
    turn = Pose(np.zeros(3), rotation_vector_to_quaternion(step[3:]))
    orientation = (turn @ Pose(np.zeros(3), pose.orientation)).orientation
    return Pose(pose.position + step[:3], orientation)


def difference(reference: Pose, pose: Pose) -> Array:
    turn = quaternion_to_rotation_vector(relative_quaternion(reference.orientation, pose.orientation))
    return np.concatenate([pose.position - reference.position, turn])


def assert_same(found: Pose, expected: Pose, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(found.matrix(), expected.matrix(), atol=tolerance)


def test_one_estimate_stays_as_it_is() -> None:
    alone = PoseWithCovariance(random_pose(), random_covariance())
    result = fuse([alone])
    assert_same(result.fused.pose, alone.pose)
    np.testing.assert_allclose(result.fused.covariance, alone.covariance)
    assert result.agree and result.left_out == ()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_estimates_divide_the_covariance_by_their_number(count: int) -> None:
    for _ in range(5):
        estimate = PoseWithCovariance(random_pose(), random_covariance())
        result = fuse([estimate] * count)
        assert_same(result.fused.pose, estimate.pose)
        np.testing.assert_allclose(result.fused.covariance, estimate.covariance / count, rtol=1e-8)


def test_the_order_of_the_cameras_does_not_matter() -> None:
    pose = random_pose()
    estimates = [
        PoseWithCovariance(perturbed(pose, RANDOM.normal(size=6) * 0.02), random_covariance())
        for _ in range(3)
    ]
    forward, backward = fuse(estimates), fuse(estimates[::-1])
    assert_same(forward.fused.pose, backward.fused.pose)
    np.testing.assert_allclose(forward.fused.covariance, backward.fused.covariance, atol=1e-12)


def test_each_axis_goes_to_the_camera_that_knows_it() -> None:
    sure, unsure = 1e-4, 1.0
    pose = random_pose()
    along = PoseWithCovariance(pose, np.diag([sure, unsure, unsure, sure, unsure, unsure]))
    moved = perturbed(pose, [0.5, 0.5, 0.5, 0.2, 0.0, 0.0])
    across = PoseWithCovariance(moved, np.diag([unsure, sure, sure, unsure, sure, sure]))
    result = fuse([along, across])
    np.testing.assert_allclose(difference(pose, result.fused.pose), [0.0, 0.5, 0.5, 0.0, 0.0, 0.0], atol=1e-3)
    np.testing.assert_allclose(np.diag(result.fused.covariance), [sure] * 6, rtol=1e-2)


def test_rotations_far_apart_meet_half_way_along_the_arc() -> None:
    turn = np.array([0.3, -0.8, 1.5])
    covariance = np.diag([1.0] * 3 + [4.0] * 3)
    start = Pose(np.zeros(3), RANDOM.normal(size=4))
    end = perturbed(start, [2.0, 0.0, 0.0, *turn])
    result = fuse([PoseWithCovariance(start, covariance), PoseWithCovariance(end, covariance)])
    assert_same(result.fused.pose, perturbed(start, [1.0, 0.0, 0.0, *(turn / 2)]), 1e-8)


def test_no_pose_nearby_is_nearer_to_estimates_far_apart() -> None:
    for _ in range(5):
        start = random_pose()
        estimates = [
            PoseWithCovariance(perturbed(start, RANDOM.normal(size=6) * 0.6), random_covariance(0.8))
            for _ in range(2)
        ]
        result = fuse(estimates)
        assert result.agree

        def distance(pose: Pose, estimates: list[PoseWithCovariance] = estimates) -> float:
            residuals = [difference(estimate.pose, pose) for estimate in estimates]
            return sum(
                float(residual @ np.linalg.solve(estimate.covariance, residual))
                for residual, estimate in zip(residuals, estimates, strict=True)
            )

        least = distance(result.fused.pose)
        for step in np.concatenate([np.eye(6), -np.eye(6)]) * 1e-4:
            assert distance(perturbed(result.fused.pose, step)) > least


def test_the_fused_errors_have_the_fused_covariance() -> None:
    """Drawn from their covariances, estimates fuse to errors of the size that the result claims."""
    truth = random_pose()
    covariances = [random_covariance(0.02), random_covariance(0.02)]
    errors = []
    for _ in range(400):
        estimates = []
        for covariance in covariances:
            error = RANDOM.multivariate_normal(np.zeros(6), covariance)
            estimates.append(PoseWithCovariance(perturbed(truth, error), covariance))
        fused = fuse(estimates).fused
        error = difference(truth, fused.pose)
        errors.append(float(error @ np.linalg.solve(fused.covariance, error)))
    # The mean of 400 draws of chi-squared with 6 degrees of freedom lies within 6 +- 0.17, one sigma.
    assert 5.3 < np.mean(errors) < 6.7


def test_a_camera_on_a_lever_says_where_the_body_is() -> None:
    body = random_pose()
    extrinsics = random_pose()
    camera = PoseWithCovariance(body @ extrinsics, CALIBRATED)
    assert_same(body_from_camera(camera, extrinsics).pose, body)


def test_the_lever_arm_turns_angular_into_linear_uncertainty() -> None:
    # The camera looks along the map's x from 2 m ahead of the body: its yaw error moves the body sideways.
    extrinsics = Pose([2.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    camera = PoseWithCovariance(Pose([7.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]), CALIBRATED)
    moved = body_from_camera(camera, extrinsics)
    np.testing.assert_allclose(moved.pose.position, [5.0, 1.0, 0.0])
    yaw, pitch = CALIBRATED[5, 5], CALIBRATED[4, 4]
    expected = np.diag(CALIBRATED)[:3] + [0.0, 4 * yaw, 4 * pitch]
    np.testing.assert_allclose(np.diag(moved.covariance)[:3], expected)
    np.testing.assert_allclose(moved.covariance[3:, 3:], CALIBRATED[3:, 3:])
    assert moved.covariance[1, 5] == pytest.approx(-2 * yaw)


def test_the_moved_covariance_is_that_of_moved_errors() -> None:
    extrinsics, truth = random_pose(), random_pose()
    covariance = random_covariance(0.01)
    moved = body_from_camera(PoseWithCovariance(truth, covariance), extrinsics)
    errors = [
        difference(moved.pose, perturbed(truth, error) @ extrinsics.inverse())
        for error in RANDOM.multivariate_normal(np.zeros(6), covariance, size=4000)
    ]
    sampled = np.cov(np.array(errors).T)
    scale = np.sqrt(np.outer(np.diag(moved.covariance), np.diag(moved.covariance)))
    np.testing.assert_allclose(sampled / scale, moved.covariance / scale, atol=0.1)


@pytest.mark.parametrize("liar", [0, 1, 2])
@pytest.mark.parametrize("lie", [(3.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0, 1.5)])
def test_of_three_cameras_the_one_that_contradicts_is_left_out(liar: int, lie: tuple[float, ...]) -> None:
    truth = random_pose()
    estimates = [
        PoseWithCovariance(perturbed(truth, RANDOM.normal(size=6) * 0.01), CALIBRATED) for _ in range(3)
    ]
    estimates[liar] = PoseWithCovariance(perturbed(truth, lie), CALIBRATED)
    result = fuse(estimates)
    honest = fuse([estimate for index, estimate in enumerate(estimates) if index != liar])
    assert result.left_out == (liar,) and result.agree
    assert_same(result.fused.pose, honest.fused.pose)
    np.testing.assert_allclose(result.fused.covariance, honest.fused.covariance)


def test_ordinary_errors_leave_nobody_out() -> None:
    truth = random_pose()
    left_out = 0
    for _ in range(200):
        errors = RANDOM.multivariate_normal(np.zeros(6), CALIBRATED, size=3)
        result = fuse([PoseWithCovariance(perturbed(truth, error), CALIBRATED) for error in errors])
        left_out += not result.agree or len(result.left_out)
    assert left_out <= 3  # a thousandth of 600 estimates is expected


@pytest.mark.parametrize("offsets", [(0.0, 6.0), (0.0, 6.0, 12.0), (0.0, 0.0, 6.0, 6.0)])
def test_without_a_majority_the_covariance_spans_every_camera(offsets: tuple[float, ...]) -> None:
    truth = random_pose()
    estimates = [
        PoseWithCovariance(perturbed(truth, [offset, 0, 0, 0, 0, 0]), CALIBRATED) for offset in offsets
    ]
    result = fuse(estimates)
    assert not result.agree and result.left_out == ()
    middle = float(np.mean(offsets))
    assert_same(result.fused.pose, perturbed(truth, [middle, 0, 0, 0, 0, 0]))
    # About their middle: each one's own variance, and how far they lie apart.
    assert result.fused.covariance[0, 0] == pytest.approx(CALIBRATED[0, 0] + np.var(offsets))
    np.testing.assert_allclose(np.diag(result.fused.covariance)[1:], np.diag(CALIBRATED)[1:])


def test_opposite_orientations_of_unknown_covariance_fuse_to_something_finite() -> None:
    covariance = np.diag([1e4] * 3 + [np.pi**2] * 3)
    start = random_pose()
    end = perturbed(start, [0.0, 0.0, 0.0, np.pi, 0.0, 0.0])
    fused = fuse([PoseWithCovariance(start, covariance), PoseWithCovariance(end, covariance)]).fused
    assert np.isfinite(fused.covariance).all() and (np.linalg.eigvalsh(fused.covariance) > 0).all()
    for estimate in (start, end):
        turned = orientation_errors_deg(fused.pose.orientation[None], estimate.orientation[None])[0]
        assert turned == pytest.approx(90.0, abs=1e-3)
