"""Known errors give exactly known figures."""

from __future__ import annotations

import numpy as np
import pytest

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation import Comparison, compare_with_published, format_table, frame_errors, score
from hyperpose_core.evaluation.viewpoint import estimate_up
from hyperpose_core.geometry.poses import Pose, matrix_to_quaternion, rotation_vector_to_quaternion

EAST_CAMERA = matrix_to_quaternion([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""Optical frame of a level camera that looks along +x in a world with z up."""


def compare(position_errors, orientation_errors_deg, **fields) -> Comparison:
    """Poses of level cameras, each off by the given metres (along y) and degrees (about z)."""
    true = [Pose([float(row), 2.0, 3.0], EAST_CAMERA) for row in range(len(position_errors))]
    estimated = []
    for pose, metres, angle in zip(true, position_errors, orientation_errors_deg, strict=True):
        turn = Pose(np.zeros(3), rotation_vector_to_quaternion([0.0, 0.0, np.radians(angle)]))
        estimated.append(Pose(pose.position + [0.0, metres, 0.0], (turn @ pose).orientation))
    return Comparison.from_poses(estimated, true, **fields)


def turned(heading_deg: float) -> Pose:
    turn = Pose(np.zeros(3), rotation_vector_to_quaternion([0.0, 0.0, np.radians(heading_deg)]))
    return turn @ Pose(np.zeros(3), EAST_CAMERA)


def without_answer(comparison: Comparison, rows, value=np.nan) -> Comparison:
    positions, orientations = comparison.estimated_positions.copy(), comparison.estimated_orientations.copy()
    positions[rows, 1] = value
    return Comparison(positions, orientations, comparison.true_positions, comparison.true_orientations)


def test_statistics_of_known_errors():
    overall = score(
        compare([0.1, 0.2, 0.3, 0.4, 1.0], [1, 2, 3, 4, 40], milliseconds=[5, 6, 7, 8, 9])
    ).overall

    position, orientation = overall.position_m, overall.orientation_deg
    assert [position.median, position.mean, position.maximum] == pytest.approx([0.3, 0.4, 1.0])
    assert [orientation.median, orientation.mean, orientation.maximum] == pytest.approx([3.0, 10.0, 40.0])
    assert position.p95 == pytest.approx(0.4 + 0.8 * 0.6)
    assert (overall.frames, overall.failed) == (5, 0)
    assert (overall.timing.median_ms, overall.timing.p95_ms) == pytest.approx((7.0, 8.8))


def test_an_even_number_of_frames_has_the_median_in_the_middle():
    assert score(compare([0.0, 1.0], [0.0, 10.0])).overall.orientation_deg.median == pytest.approx(5.0)


def test_opposite_and_scaled_quaternions_are_the_same_orientation():
    comparison = compare([0.1, 0.2], [3.0, 179.0])
    other = Comparison(
        comparison.estimated_positions,
        comparison.estimated_orientations * [[-1.0], [7.0]],
        comparison.true_positions,
        comparison.true_orientations * [[1.0], [-1.0]],
    )

    np.testing.assert_allclose(frame_errors(other).orientation_deg, [3.0, 179.0], atol=1e-9)


def test_tiny_and_exact_orientation_errors_are_numbers():
    errors = frame_errors(compare([0.0, 0.0], [0.0, 1e-6])).orientation_deg
    np.testing.assert_allclose(errors, [0.0, 1e-6], rtol=1e-6, atol=1e-12)


def test_recalls_need_both_errors_within_their_thresholds():
    comparison = compare(
        [0.25, 0.2500001, 0.1, 0.5, 5.0, 5.0000001], [1.999999, 1.0, 2.000001, 4.999999, 9.999999, 1.0]
    )
    fractions = [recall.fraction for recall in score(comparison).overall.recalls]
    # Row 0 alone is within the first pair; rows 0 to 3 within the second; rows 0 to 4 within the third.
    assert fractions == pytest.approx([1 / 6, 4 / 6, 5 / 6])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_estimate_that_is_not_finite_is_a_failure(value):
    comparison = without_answer(compare([0.1] * 4, [1.0] * 4), [2], value)

    overall = score(comparison).overall

    assert (overall.frames, overall.failed) == (4, 1)
    assert overall.position_m.median == pytest.approx(0.1)
    assert overall.position_m.mean == overall.orientation_deg.maximum == np.inf
    assert [recall.fraction for recall in overall.recalls] == [0.75, 0.75, 0.75]


def test_when_most_frames_are_not_answered_the_median_is_infinite():
    scores = score(without_answer(compare([0.1] * 5, [1.0] * 5), [0, 1, 2]))
    assert scores.overall.position_m.median == scores.overall.orientation_deg.p95 == np.inf
    assert "3 of them without an estimate" in format_table(scores)


def test_a_quaternion_of_zeros_is_a_failure():
    comparison = compare([0.1, 0.1], [1.0, 1.0])
    comparison.estimated_orientations[1] = 0.0
    assert score(comparison).overall.failed == 1


def test_nothing_is_aligned():
    shifted = compare([2.0] * 10, [0.0] * 10)
    assert score(shifted).overall.position_m.median == pytest.approx(2.0)


def test_a_row_for_each_scene_and_condition():
    scores = score(
        compare(
            [0.1, 0.3, 0.5, 0.7], [1, 1, 1, 1], scenes="baba", conditions=["noon", "snow", "snow", "noon"]
        )
    )

    assert {row.label: row.position_m.median for row in scores.scenes} == pytest.approx({"a": 0.5, "b": 0.3})
    assert [row.label for row in scores.conditions] == ["noon", "snow"]
    assert scores.conditions[0].position_m.median == pytest.approx(0.4)


def test_errors_by_heading_use_the_vertical():
    headings = [5.0, 25.0, 95.0, 185.0, 359.0]
    true = [turned(heading) for heading in headings]
    estimated = [Pose([0.1 * (row + 1), 0.0, 0.0], pose.orientation) for row, pose in enumerate(true)]

    sectors = score(Comparison.from_poses(estimated, true, up=(0.0, 0.0, 1.0))).headings

    assert [(sector.from_deg, sector.frames) for sector in sectors] == [(0, 2), (90, 1), (180, 1), (330, 1)]
    assert [sector.position_median_m for sector in sectors] == pytest.approx([0.15, 0.3, 0.4, 0.5])


def test_the_vertical_is_taken_from_the_cameras_where_it_is_not_known():
    np.testing.assert_allclose(estimate_up([turned(10.0).orientation, turned(80.0).orientation]), [0, 0, 1])
    kinect = rotation_vector_to_quaternion([-0.4, 0.0, 0.0])
    np.testing.assert_allclose(estimate_up(kinect[None]), [0, -1, 0])


def test_consistent_covariances_cover_what_they_promise():
    generator = np.random.default_rng(0)
    factor = generator.normal(size=(6, 6)) * np.r_[[0.3] * 3, [0.02] * 3][:, None]
    covariance = factor @ factor.T
    true, estimated = [], []
    for error in generator.multivariate_normal(np.zeros(6), covariance, size=3000):
        pose = Pose(generator.normal(size=3) * 10.0, generator.normal(size=4))
        # The error is a perturbation on the left, in the world frame.
        turn = Pose(np.zeros(3), rotation_vector_to_quaternion(error[3:]))
        true.append(pose)
        estimated.append(Pose(pose.position + error[:3], (turn @ pose).orientation))

    consistency = score(Comparison.from_poses(estimated, true, covariances=[covariance] * 3000)).consistency

    for part in (consistency.position, consistency.rotation):
        assert part.coverage_68 == pytest.approx(0.68, abs=0.03)
        assert part.coverage_95 == pytest.approx(0.95, abs=0.015)
        assert part.nees_mean == pytest.approx(3.0, rel=0.06)
        assert part.nees_median == pytest.approx(2.366, rel=0.08)
    assert consistency.pose_nees_mean == pytest.approx(6.0, rel=0.06)


def test_nees_of_one_known_error():
    comparison = compare([0.2] * 2, [2.0] * 2, covariances=[np.diag([1.0, 0.01, 1.0, 1.0, 1.0, 0.01])] * 2)
    consistency = score(comparison).consistency
    assert consistency.position.nees_mean == pytest.approx(4.0)
    assert consistency.rotation.nees_mean == pytest.approx(np.radians(2.0) ** 2 / 0.01)
    # 4.0 lies between the 68% limit, 3.51, and the 95% limit, 7.81, of three degrees of freedom.
    assert (consistency.position.coverage_68, consistency.position.coverage_95) == (0.0, 1.0)


def test_zero_covariances_cover_nothing():
    consistency = score(
        compare([0.1] * 3, [1.0] * 3, covariances=[np.zeros((6, 6)), None, np.eye(6)])
    ).consistency
    assert consistency.failed == 2
    assert consistency.position.coverage_95 == pytest.approx(1 / 3)


def test_no_frame_is_said_in_one_line():
    with pytest.raises(HyperPoseError, match="nothing to score"):
        Comparison.from_poses([], [])


def test_a_true_pose_that_is_none_is_refused():
    good = compare([0.1, 0.1], [1.0, 1.0])
    wrong = good.true_positions.copy()
    wrong[1, 0] = np.nan
    with pytest.raises(ValueError, match="true pose of frame 1"):
        Comparison(good.estimated_positions, good.estimated_orientations, wrong, good.true_orientations)


def test_published_figures_stand_beside_the_result():
    comparison = compare([0.2, 0.2], [5.0, 5.0], scenes=["RedKitchen"] * 2)

    (published,) = compare_with_published(score(comparison))

    methods = {result.method: (result.position_m, result.orientation_deg) for result in published.results}
    assert methods["MS-HyperPose"] == (0.17, 6.86)
    assert "5000" in published.note
    table = format_table(score(comparison), [published])
    assert "MS-HyperPose" in table and "THIS RESULT" in table


def test_a_scene_that_nobody_published_is_named():
    with pytest.raises(HyperPoseError, match=r"'garage'.*redkitchen"):
        compare_with_published(score(compare([0.1], [1.0], scenes=["garage"])))
