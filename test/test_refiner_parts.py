"""Matching, projection, pose and evidence: the parts that the refiner is made of."""

from __future__ import annotations

import numpy as np
import pytest
from transforms3d.quaternions import qmult

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, orientation_errors_deg, rotation_vector_to_quaternion
from hyperpose_core.landmarks.appearance import learn_words, signature
from hyperpose_core.landmarks.camera_pose import fit_pose, ransac_pose
from hyperpose_core.landmarks.matching import match_descriptors, match_near, pairs_within, unit_descriptors
from hyperpose_core.landmarks.projection import in_camera, pinhole_pixels, projection_jacobians, undistorted
from hyperpose_core.landmarks.refinement import Prior
from hyperpose_core.landmarks.verification import VerificationModel, agreement

CAMERA = CameraModel(640, 480, 525.0, 520.0, 318.0, 242.0)
POSE = Pose(np.array([0.4, -0.7, 1.1]), np.array([0.9, 0.1, -0.3, 0.2]))


def seen_points(count: int, seed: int = 0) -> tuple[Array, Array]:
    """World points that `POSE` sees, and where."""
    generator = np.random.default_rng(seed)
    pixels = generator.uniform((0, 0), (CAMERA.width, CAMERA.height), (count, 2))
    depths = generator.uniform(1.5, 5.0, (count, 1))
    rays = np.column_stack([(pixels - (CAMERA.cx, CAMERA.cy)) / (CAMERA.fx, CAMERA.fy), np.ones(count)])
    return POSE.transform(rays * depths), pixels


def random_descriptors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 120, (count, 128), dtype=np.uint8)


@pytest.mark.parametrize("radius", [2.0, 10.0, 300.0])
def test_pairs_within_a_radius_are_all_pairs_within_it(radius: float) -> None:
    generator = np.random.default_rng(0)
    points, centres = generator.uniform(0, 640, (200, 2)), generator.uniform(-60, 700, (300, 2))

    found = set(zip(*(places.tolist() for places in pairs_within(points, centres, radius)), strict=True))

    distances = np.linalg.norm(points[:, np.newaxis] - centres, axis=2)
    assert found == {(int(i), int(j)) for i, j in zip(*np.nonzero(distances <= radius), strict=True)}


def test_a_match_is_mutual_and_clear() -> None:
    landmarks = unit_descriptors(random_descriptors(50))
    positions = np.random.default_rng(1).uniform(0, 9, (50, 3))
    between = (landmarks[3] + landmarks[4]) / np.linalg.norm(landmarks[3] + landmarks[4])
    features = np.vstack([landmarks[[7, 9]], between])

    matches = match_descriptors(features, landmarks, positions, ratio=0.75, same_place=0.01)

    assert set(zip(matches.features.tolist(), matches.landmarks.tolist(), strict=True)) == {(0, 7), (1, 9)}


def test_a_landmark_that_is_there_twice_still_matches() -> None:
    landmarks = unit_descriptors(random_descriptors(50))
    positions = np.random.default_rng(1).uniform(0, 9, (50, 3))
    noise = np.random.default_rng(2).normal(0, 0.01, 128).astype(np.float32)
    features = landmarks[[7]] + noise
    features /= np.linalg.norm(features)
    landmarks[8] = landmarks[7] + 2.1 * noise
    landmarks[8] /= np.linalg.norm(landmarks[8])

    assert not len(match_descriptors(features, landmarks, positions, ratio=0.75, same_place=0.01))
    positions[8] = positions[7] + 0.001
    matches = match_descriptors(features, landmarks, positions, ratio=0.75, same_place=0.01)
    assert matches.landmarks.tolist() == [7]


def test_near_a_projection_the_most_alike_feature_is_taken_once() -> None:
    features = unit_descriptors(random_descriptors(3))
    points = np.array([[100.0, 100.0], [103.0, 100.0], [300.0, 100.0]])
    landmarks, projections = features[[1, 1, 2]], np.array([[101.0, 100.0], [102.0, 100.0], [330.0, 100.0]])

    matches = match_near(features, points, landmarks, projections, radius=8.0, least_similarity=0.95)

    assert matches.features.tolist() == [1]
    assert matches.landmarks.tolist() in ([0], [1])


def test_jacobians_are_the_projections_derivatives() -> None:
    points, _ = seen_points(5)
    by_pose, by_point = projection_jacobians(in_camera(points, POSE), POSE, CAMERA)

    def pixels(pose: Pose, positions: Array) -> Array:
        return pinhole_pixels(in_camera(positions, pose), CAMERA)

    step = 1e-6
    for axis in range(6):
        change = np.eye(6)[axis] * step
        turned = qmult(rotation_vector_to_quaternion(change[3:]), POSE.orientation)
        moved = pixels(Pose(POSE.position + change[:3], turned), points)
        assert np.allclose((moved - pixels(POSE, points)) / step, by_pose[:, :, axis], atol=1e-2)
    for axis in range(3):
        moved = pixels(POSE, points + np.eye(3)[axis] * step)
        assert np.allclose((moved - pixels(POSE, points)) / step, by_point[:, :, axis], atol=1e-2)


def test_a_pose_is_found_among_wrong_matches_and_fitted() -> None:
    generator = np.random.default_rng(3)
    positions, pixels = seen_points(200)
    seen = pixels + generator.normal(0, 0.5, pixels.shape)
    seen[:100] = generator.uniform(0, 480, (100, 2))

    found = ransac_pose(seen, positions, CAMERA, threshold=4.0, iterations=1000)
    assert found is not None
    fitted = fit_pose(found[0], seen[found[1]], positions[found[1]], np.full(found[1].sum(), 0.25), CAMERA)

    assert fitted is not None
    assert np.linalg.norm(fitted.pose.position - POSE.position) < 0.01
    assert orientation_errors_deg(fitted.pose.orientation, POSE.orientation) < 0.2
    deviations = np.sqrt(np.diag(np.linalg.inv(fitted.information)))[:3]
    assert np.linalg.norm(fitted.pose.position - POSE.position) < 4.0 * np.linalg.norm(deviations)


@pytest.mark.parametrize("kind", ["too few", "one point", "on a line", "behind"])
def test_matches_that_determine_no_pose_give_none(kind: str) -> None:
    positions, pixels = seen_points(40)
    if kind == "too few":
        positions, pixels = positions[:4], pixels[:4]
    elif kind == "one point":
        positions = np.tile(positions[:1], (40, 1))
    elif kind == "on a line":
        positions = POSE.position + np.outer(np.linspace(1.0, 2.0, 40), [1.0, 0.0, 0.0])
        pixels = np.random.default_rng(0).uniform(0, 480, (40, 2))
    else:
        positions = 2.0 * POSE.position - positions
        pixels = np.random.default_rng(0).uniform(0, 480, (40, 2))

    found = ransac_pose(pixels, positions, CAMERA, threshold=2.0, iterations=200)

    assert found is None or found[1].sum() < 15


def test_undistorted_pixels_are_those_of_a_straight_lens() -> None:
    bent = CameraModel(640, 480, 525.0, 520.0, 318.0, 242.0, (-0.3, 0.09, 0.001, 0.0005, 0.0))
    middle = undistorted([[bent.cx, bent.cy]], bent)
    corner = undistorted([[0.0, 0.0]], bent)

    assert np.allclose(middle, [[bent.cx, bent.cy]])
    assert (corner < -10.0).all()


def test_signatures_of_the_same_descriptors_in_another_order_agree() -> None:
    descriptors = random_descriptors(400)
    words = learn_words(descriptors)
    shuffled = np.random.default_rng(5).permutation(300)

    same = signature(unit_descriptors(descriptors[:300]), words)
    again = signature(unit_descriptors(descriptors[:300][shuffled]), words)
    other = signature(unit_descriptors(random_descriptors(300, seed=9)), words)

    assert same @ again == pytest.approx(1.0, abs=1e-5)
    assert same @ other < 0.9


def test_a_prior_speaks_for_a_pose_near_it_and_never_against_one() -> None:
    covariance = np.diag([0.1**2] * 3 + [0.05**2] * 3)
    near = Pose(POSE.position + 0.05, POSE.orientation)
    far = Pose(POSE.position + 5.0, POSE.orientation)

    assert agreement(near, Prior(POSE, covariance), 3.0) > 1.0
    assert agreement(far, Prior(POSE, covariance), 3.0) == 0.0
    assert agreement(near, None, 3.0) == agreement(near, Prior(), 3.0) == 0.0


def test_a_verification_model_survives_json_and_refuses_nonsense() -> None:
    model = VerificationModel(np.arange(6.0), -1.0, 0.5)

    again = VerificationModel.from_dict(model.to_dict())
    assert np.array_equal(again.weights, model.weights)
    with pytest.raises(ValueError, match="finite weights"):
        VerificationModel.from_dict({**model.to_dict(), "weights": [1.0]})
