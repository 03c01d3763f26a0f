"""Scores of covariances: intervals, likelihood against one covariance for all, rank correlation, the plot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from hyperpose_core.evaluation import score, write_report
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.consistency import rank_correlation
from hyperpose_core.evaluation.tables import format_table
from hyperpose_core.geometry.poses import Pose, move_covariance, rotation_vector_to_quaternion
from hyperpose_core.uncertainty.covariance import Uncertainty


def drawn(count: int = 600, claimed: float = 1.0, constant: bool = True) -> Comparison:
    """Frames whose deviations change from frame to frame, as their covariances say.

    Args:
        count: frames.
        claimed: factor of the covariances that are given.
        constant: give the second moments of the errors, too.
    """
    generator = np.random.default_rng(0)
    # Slowly, as along a street: neighbouring frames are alike.
    deviations = np.exp(np.sin(np.arange(count) / 25.0))
    errors = generator.normal(size=(count, 6)) * [0.3, 0.2, 0.1, 0.02, 0.02, 0.05] * deviations[:, None]
    true = [Pose(generator.normal(size=3), generator.normal(size=4)) for _ in range(count)]
    estimated = [
        Pose(
            pose.position + error[:3],
            (Pose(np.zeros(3), rotation_vector_to_quaternion(error[3:])) @ pose).orientation,
        )
        for pose, error in zip(true, errors, strict=True)
    ]
    base = np.diag(np.square([0.3, 0.2, 0.1, 0.02, 0.02, 0.05])) * claimed**2
    return Comparison.from_poses(
        estimated,
        true,
        covariances=[base * deviation**2 for deviation in deviations],
        constant_covariance=errors.T @ errors / count if constant else None,
    )


def test_own_covariances_beat_one_for_all_and_say_by_how_much() -> None:
    consistency = score(drawn()).consistency
    assert consistency.constant is not None
    for own, same, gain in (
        (consistency.position, consistency.constant.position, consistency.constant.position_gain),
        (consistency.rotation, consistency.constant.rotation, consistency.constant.rotation_gain),
    ):
        assert own.negative_log_likelihood < same.negative_log_likelihood
        assert gain.estimate == pytest.approx(same.negative_log_likelihood - own.negative_log_likelihood)
        assert 0 < gain.low < gain.estimate < gain.high
        assert own.rank_correlation > 0.6
        assert same.rank_correlation is None
        assert own.coverage_68_interval.low < 0.68 < own.coverage_68_interval.high
        assert own.coverage_95_interval.low < 0.95 < own.coverage_95_interval.high
        assert own.coverage_68 == own.coverage_68_interval.estimate


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    truth = Pose.identity()
    estimate = Pose([0.2, 0.0, 0.0], truth.orientation)
    covariance = np.diag([0.04, 1.0, 4.0, 1.0, 1.0, 1.0])
    consistency = score(Comparison.from_poses([estimate] * 3, [truth] * 3, covariances=[covariance] * 3))
    expected = 0.5 * (1.0 + np.log(0.04 * 4.0) + 3 * np.log(2 * np.pi))
    assert consistency.consistency.position.negative_log_likelihood == pytest.approx(expected)
    assert consistency.consistency.rotation.negative_log_likelihood == pytest.approx(1.5 * np.log(2 * np.pi))


@pytest.mark.parametrize("claimed", [0.4, 2.5])
def test_too_small_and_too_large_covariances_cost_likelihood(claimed: float) -> None:
    right, wrong = (score(drawn(claimed=factor)).consistency for factor in (1.0, claimed))
    for part in ("position", "rotation"):
        assert (
            getattr(right, part).negative_log_likelihood + 0.5 < getattr(wrong, part).negative_log_likelihood
        )
        assert getattr(wrong, part).rank_correlation == pytest.approx(getattr(right, part).rank_correlation)


def test_an_unanswered_frame_is_in_no_region_and_infinitely_unlikely(tmp_path: Path) -> None:
    comparison = drawn(40)
    comparison.estimated_positions[7] = np.nan
    consistency = score(comparison).consistency
    assert consistency.failed == 1
    assert consistency.position.coverage_95 <= 39 / 40
    assert np.isinf(consistency.position.negative_log_likelihood)
    write_report(tmp_path, comparison, title="One lost")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["consistency"]["position"]["negative_log_likelihood"] is None


def test_rank_correlation_shares_ranks() -> None:
    assert rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, np.inf])) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1.0)
    # By hand: ranks 1.5 1.5 3 4 and 1 2 3 4.
    assert rank_correlation(np.array([0.0, 0.0, 5.0, 9.0]), np.arange(4.0)) == pytest.approx(0.948683)
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None


def test_the_report_shows_both_and_the_reliability(tmp_path: Path) -> None:
    comparison = drawn(200)
    page = write_report(tmp_path, comparison, title="Drawn").read_text()
    assert "one covariance for all" in page and "Reliability of the covariances" in page
    plot = cv2.imread(str(tmp_path / "reliability.png"))
    assert plot is not None and len(np.unique(plot.reshape(-1, 3), axis=0)) > 50
    results = json.loads((tmp_path / "results.json").read_text())["consistency"]
    assert results["constant"]["position_gain"]["estimate"] > 0
    assert results["position"]["coverage_68_interval"]["confidence"] == 0.95
    table = format_table(score(comparison))
    assert "same for all" in table and "log-likelihood a frame above" in table


def test_without_a_constant_covariance_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    comparison = drawn(60, constant=False)
    assert score(comparison).consistency.constant is None
    assert "one covariance for all" not in write_report(tmp_path, comparison, title="Alone").read_text()
    assert "same for all" not in format_table(score(comparison))


def unmeasured(comparison: Comparison, lever_arm: float = 0.0, cameras: int = 1) -> Comparison:
    """The same estimates of a network whose errors nobody has measured, on a body and of several cameras."""
    covariance = Uncertainty.unknown().covariance / cameras
    moved = move_covariance(covariance, np.array([lever_arm, 0.0, 0.0]))
    return replace(comparison, covariances=np.repeat(moved[None], len(comparison), axis=0))


@pytest.mark.parametrize(("lever_arm", "cameras"), [(0.0, 1), (1.5, 1), (0.8, 4)])
def test_a_covariance_that_nobody_measured_is_said_to_be_so_and_not_scored(
    tmp_path: Path, lever_arm: float, cameras: int
) -> None:
    comparison = unmeasured(drawn(60, constant=False), lever_arm, cameras)
    assert score(comparison).consistency is None
    assert "covariance: not measured" in format_table(score(comparison))
    page = write_report(tmp_path, comparison, title="Nothing held out").read_text()
    assert page.index("Covariance: not measured") < page.index("<h2>")
    assert "NEES" not in page and "100.0 %" not in page.split("<h2>Errors")[1]
    assert not (tmp_path / "reliability.png").exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["consistency"] is None and results["covariance_not_measured"] is True


def test_what_a_map_verified_is_scored_beside_a_network_that_was_not_measured(tmp_path: Path) -> None:
    measured = drawn(60, constant=False)
    page = write_report(tmp_path, unmeasured(measured), title="Network and map", refined=measured).read_text()
    table = page.split("Covariance against errors")[1]
    assert "not measured" in table and "position, verified by the map" in table
    assert (tmp_path / "reliability.png").exists()


def test_frames_that_lie_in_every_region_are_counted() -> None:
    comparison = drawn(60)
    comparison.covariances[7] = Uncertainty.unknown().covariance
    assert score(comparison).consistency.not_measured == 1
    assert "1 of 60 frames have a covariance that was not measured" in format_table(score(comparison))
    assert not score(drawn(60)).covariance_not_measured
