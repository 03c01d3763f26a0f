"""Conventions of poses, errors and covariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hyperpose_core.geometry import poses as geometry
from hyperpose_core.geometry import torch_rotations
from hyperpose_core.geometry.poses import Pose

RANDOM = np.random.default_rng(7)


def random_pose() -> Pose:
    return Pose(RANDOM.normal(size=3), RANDOM.normal(size=4))


def test_a_camera_to_world_pose_takes_the_optical_axis_to_where_the_camera_looks() -> None:
    # Looking along the world's +x: optical z goes to x, the image's x (right) to -y, its y (down) to -z.
    rotation = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pose = Pose(np.array([10.0, 0, 2]), geometry.matrix_to_quaternion(rotation))
    np.testing.assert_allclose(pose.transform([0, 0, 5]), [15, 0, 2], atol=1e-12)
    np.testing.assert_allclose(pose.transform([1, 0, 0]), [10, -1, 2], atol=1e-12)


def test_composition_and_inverse_agree_with_matrices() -> None:
    for _ in range(20):
        a, b = random_pose(), random_pose()
        np.testing.assert_allclose((a @ b).matrix(), a.matrix() @ b.matrix(), atol=1e-12)
        np.testing.assert_allclose(a.inverse().matrix(), np.linalg.inv(a.matrix()), atol=1e-12)
        assert (a @ b).orientation[0] >= 0


def test_orientation_error_is_exact_for_tiny_and_half_turn_angles_and_blind_to_sign() -> None:
    for degrees in (0.0, 1e-7, 1e-3, 45.0, 179.999, 180.0):
        turn = geometry.rotation_vector_to_quaternion(np.radians([0, degrees, 0]))
        start = random_pose().orientation
        end = (Pose(np.zeros(3), turn) @ Pose(np.zeros(3), start)).orientation
        for sign in (1, -1):
            measured = geometry.orientation_errors_deg(sign * 3 * end[None], start[None])
            np.testing.assert_allclose(measured, [degrees], atol=1e-9)


def test_a_rotation_slightly_off_orthonormal_becomes_the_nearest_rotation() -> None:
    rotation = random_pose().rotation()
    quaternion = geometry.matrix_to_quaternion(rotation * 0.9995)
    np.testing.assert_allclose(geometry.quaternion_to_matrix(quaternion), rotation, atol=1e-12)


@pytest.mark.parametrize("bad", [[0, 0, 0, 0], [np.nan, 0, 0, 1], [1, 0, 0]])
def test_what_is_no_quaternion_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="quaternion"):
        Pose(np.zeros(3), np.array(bad))


def test_a_reflection_is_no_rotation() -> None:
    with pytest.raises(ValueError, match="rotation"):
        geometry.matrix_to_quaternion(np.diag([1.0, 1.0, -1.0]))


def test_interpolation_is_linear_in_position_and_turns_evenly() -> None:
    start = Pose([0, 0, 0], geometry.rotation_vector_to_quaternion([0, 0, 3.0]))
    end = Pose([4, 0, 0], geometry.rotation_vector_to_quaternion([0, 0, -3.0]))
    middle = geometry.interpolate_poses([100, 200], [start, end], 125)
    np.testing.assert_allclose(middle.position, [1, 0, 0])
    expected = geometry.rotation_vector_to_quaternion([0, 0, 3.0 + 0.25 * (2 * np.pi - 6.0)])
    assert geometry.orientation_errors_deg(middle.orientation, expected) < 1e-9
    with pytest.raises(ValueError, match="outside"):
        geometry.interpolate_poses([100, 200], [start, end], 201)


def test_euler_angles_are_yaw_pitch_roll() -> None:
    roll, pitch, yaw = 0.1, -0.2, 2.5
    matrix = geometry.euler_to_matrix(roll, pitch, yaw)
    np.testing.assert_allclose(matrix @ [1, 0, 0], [
        np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)
    ])  # fmt: skip
    np.testing.assert_allclose(geometry.matrix_to_euler(matrix), (roll, pitch, yaw))


def test_a_moved_covariance_is_that_of_moved_samples() -> None:
    """A lever arm of 10 m turns an orientation's uncertainty into one of position."""
    mixing = RANDOM.normal(size=(6, 6)) * 0.02
    covariance = mixing @ mixing.T
    lever = np.array([10.0, -3.0, 2.0])
    samples = RANDOM.multivariate_normal(np.zeros(6), covariance, size=200_000)
    moved = samples.copy()
    moved[:, :3] += np.cross(samples[:, 3:], lever)
    np.testing.assert_allclose(
        geometry.move_covariance(covariance, lever), np.cov(moved.T), rtol=0.1, atol=3e-3
    )
    turn = random_pose().rotation()
    turned = np.concatenate([samples[:, :3] @ turn.T, samples[:, 3:] @ turn.T], axis=1)
    np.testing.assert_allclose(
        geometry.rotate_covariance(covariance, turn), np.cov(turned.T), rtol=0.1, atol=1e-3
    )


def test_rotations_of_torch_are_those_of_numpy() -> None:
    vectors = np.concatenate([np.zeros((1, 3)), RANDOM.uniform(-1.7, 1.7, size=(19, 3))])
    quaternions = torch_rotations.rotation_vectors_to_quaternions(torch.from_numpy(vectors))
    matrices = torch_rotations.quaternions_to_matrices(quaternions)
    for vector, quaternion, matrix in zip(vectors, quaternions.numpy(), matrices.numpy(), strict=True):
        np.testing.assert_allclose(quaternion, geometry.rotation_vector_to_quaternion(vector), atol=1e-12)
        np.testing.assert_allclose(matrix, geometry.quaternion_to_matrix(quaternion), atol=1e-12)
    others = quaternions.flip(0)
    products = torch_rotations.multiply_quaternions(quaternions, others)
    expected = matrices @ matrices.flip(0)
    np.testing.assert_allclose(torch_rotations.quaternions_to_matrices(products), expected, atol=1e-12)
    angles = torch_rotations.quaternion_angles(-quaternions, others)
    np.testing.assert_allclose(
        np.degrees(angles.numpy()), geometry.orientation_errors_deg(quaternions, others), atol=1e-9
    )
    np.testing.assert_allclose(2 * torch_rotations.quaternion_logarithm(-quaternions), vectors, atol=1e-12)
