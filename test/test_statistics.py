"""Confidence intervals of errors: frames of a video, repeated runs, pairs."""

from __future__ import annotations

import numpy as np
import pytest

from hyperpose_core.evaluation.statistics import Bootstrap, block_length, compare_paired, confidence_interval

QUICK = Bootstrap(repeats=300)


def video_errors(videos: int, frames: int, correlation: float, seed: int = 0) -> np.ndarray:
    """Errors [videos, frames] whose neighbours are correlated; their true median is 1."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(videos, frames))
    logarithm = np.empty_like(steps)
    logarithm[:, 0] = steps[:, 0]
    for frame in range(1, frames):
        new = np.sqrt(1 - correlation**2) * steps[:, frame]
        logarithm[:, frame] = correlation * logarithm[:, frame - 1] + new
    return np.exp(logarithm)


def share_holding(values: np.ndarray, truth: float, bootstrap: Bootstrap) -> float:
    intervals = [confidence_interval(video, bootstrap=bootstrap) for video in values]
    return float(np.mean([not interval.excludes(truth) for interval in intervals]))


def test_intervals_hold_the_truth_though_neighbouring_frames_fail_together() -> None:
    videos = video_errors(100, 400, 0.9)
    assert share_holding(videos, 1.0, QUICK) > 0.85
    # Drawing single frames promises far too much.
    assert share_holding(videos, 1.0, Bootstrap(repeats=300, block=1)) < 0.6


def test_blocks_follow_how_long_errors_hang_together() -> None:
    lengths = [block_length(video_errors(1, 4000, correlation)[0]) for correlation in (0.0, 0.8, 0.98)]
    assert lengths[0] < 8 < lengths[1] < lengths[2] <= 500
    assert block_length(np.arange(40.0)) == 5
    assert block_length([0.2, 0.1]) == 1


def test_the_same_seed_gives_the_same_interval_and_confidence_widens_it() -> None:
    values = video_errors(1, 200, 0.5)[0]
    first = confidence_interval(values, bootstrap=QUICK)
    assert first == confidence_interval(values, bootstrap=QUICK)
    assert first != confidence_interval(values, bootstrap=Bootstrap(repeats=300, seed=1))
    assert first.estimate == np.median(values)
    narrow = confidence_interval(values, bootstrap=Bootstrap(repeats=300, confidence=0.5))
    assert first.low < narrow.low < narrow.high < first.high


def test_the_mean_of_independent_values_has_the_textbook_interval() -> None:
    values = np.random.default_rng(3).normal(10.0, 2.0, 900)
    interval = confidence_interval(values, np.mean, Bootstrap(block=1))
    half = 1.96 * np.std(values, ddof=1) / 30
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


def test_a_difference_is_seen_that_both_intervals_alone_would_hide() -> None:
    """Hard frames are hard for both methods; only frame by frame is the second seen to be better."""
    hard = video_errors(1, 500, 0.9, seed=1)[0]
    comparison = compare_paired(hard, 0.9 * hard, bootstrap=QUICK)
    assert comparison.second.high > comparison.first.estimate
    assert comparison.difference.excludes(0.0)
    assert comparison.difference.estimate == pytest.approx(-0.1 * np.median(hard))


def test_runs_that_scatter_leave_a_difference_undecided() -> None:
    frames = video_errors(1, 2000, 0.0)[0]
    steady = np.array([1.00, 1.01, 0.99])[:, None] * frames
    scattered = np.array([1.3, 0.7, 1.2])[:, None] * frames
    assert compare_paired(steady, 0.9 * steady, bootstrap=QUICK).difference.excludes(0.0)
    undecided = compare_paired(scattered, np.array([0.9, 1.1, 0.8])[:, None] * frames, bootstrap=QUICK)
    assert not undecided.difference.excludes(0.0)
    assert undecided.first.high - undecided.first.low > 3 * 0.1


def test_three_runs_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(5)
    frames = video_errors(100, 200, 0.0, seed=7)
    hits = 0
    for video in frames:
        runs = video * np.exp(generator.normal(0.0, 0.2, (2, 3, 1)))
        hits += not compare_paired(*runs, bootstrap=QUICK).difference.excludes(0.0)
    assert hits >= 90


def test_frames_that_were_not_answered_count_as_infinite_errors() -> None:
    values = np.where(np.arange(100) % 10 == 0, np.inf, 1.0 + np.arange(100) / 100)
    interval = confidence_interval(values)
    assert np.isfinite([interval.low, interval.estimate, interval.high]).all()
    lost = np.full(100, np.inf)
    comparison = compare_paired(values, lost)
    assert comparison.second.estimate == np.inf
    assert not comparison.difference.excludes(0.0)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], np.zeros((2, 2, 2))])
def test_what_is_no_row_of_numbers_is_refused(values) -> None:
    with pytest.raises(ValueError, match="expected numbers"):
        confidence_interval(values)


def test_different_frames_are_not_paired() -> None:
    with pytest.raises(ValueError, match="nothing to pair"):
        compare_paired(np.ones(5), np.ones(6))
