"""How sure a median error is: confidence intervals for video frames and for repeated training.

Frames of a video are not independent: neighbours fail together. So whole blocks of consecutive frames are
drawn again, not single frames (the circular block bootstrap of Politis and Romano, 1992). A network that is
trained again comes out a little different, too. Three runs are too few to draw from, so their spread enters
as what it is for normal deviations: Student's t with one degree of freedom fewer than there are runs. The
same correction for few blocks is made to the draws of frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_FEWEST_BLOCKS = 8
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and its confidence interval.

    Attributes:
        estimate: the figure on the data as they are.
        low: lower end of the interval.
        high: upper end of the interval.
        confidence: the share of such intervals that hold the true figure, such as 0.95.
    """

    estimate: float
    low: float
    high: float
    confidence: float

    def excludes(self, value: float) -> bool:
        """Tell whether a value lies outside; never where an end is not a number."""
        return self.low > value or self.high < value


@dataclass(frozen=True)
class PairedComparison:
    """Two methods on the same frames, from the same seeds.

    Attributes:
        first: figure of the first method.
        second: figure of the second method.
        difference: second minus first; the same frames are drawn for both, and runs of one seed are paired.
    """

    first: Interval
    second: Interval
    difference: Interval


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        block: consecutive frames that are drawn together; None takes it from the data (`block_length`).
        confidence: of the intervals.
        repeats: draws.
        seed: of the draws; the same seed gives the same intervals.
    """

    block: int | None = None
    confidence: float = 0.95
    repeats: int = 2000
    seed: int = 0


DEFAULT_BOOTSTRAP = Bootstrap()


def confidence_interval(
    values: ArrayLike,
    statistic: Callable[..., Array] = np.median,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> Interval:
    """Interval of a statistic over frames, averaged over runs.

    Args:
        values: [N] one value a frame, or [S, N] for S runs, in the order of the recording. Infinite values
            (frames without an estimate) are allowed.
        statistic: `np.median`, `np.mean` or another kind of average, called with (values, axis=...).
        bootstrap: how to draw.

    Raises:
        ValueError: there is no value, or one is not a number.
    """
    rows = _as_rows(values)
    frames = _FrameDraws(rows.shape[1], bootstrap.block or block_length(rows), bootstrap)
    interval = _interval(statistic(rows, axis=1), frames.apply(rows, statistic), frames, bootstrap)
    return _within(interval, rows)


def compare_paired(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Callable[..., Array] = np.median,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> PairedComparison:
    """Compare two methods: their statistics and the difference, each with its interval.

    Args:
        first: [N], or [S, N] for S runs; column i is the same frame in both, row s the same seed.
        second: of the same shape.
        statistic: as for `confidence_interval`.
        bootstrap: how to draw.

    Raises:
        ValueError: the shapes differ, there is no value, or one is not a number.
    """
    rows = _as_rows(first), _as_rows(second)
    if rows[0].shape != rows[1].shape:
        raise ValueError(f"nothing to pair: shapes {rows[0].shape} and {rows[1].shape} differ")
    block = bootstrap.block or max(map(block_length, rows))
    frames = _FrameDraws(rows[0].shape[1], block, bootstrap)
    by_run = [statistic(values, axis=1) for values in rows]
    draws = [frames.apply(values, statistic) for values in rows]
    with np.errstate(invalid="ignore"):
        differences = by_run[1] - by_run[0], draws[1] - draws[0]
    return PairedComparison(
        first=_within(_interval(by_run[0], draws[0], frames, bootstrap), rows[0]),
        second=_within(_interval(by_run[1], draws[1], frames, bootstrap), rows[1]),
        difference=_interval(*differences, frames, bootstrap),
    )


def block_length(values: ArrayLike) -> int:
    """Frames that belong together: four times the lag at which the values' correlation falls below 1/e.

    Ranks are correlated, not values, so that a few gross errors do not decide. The data are always cut into
    at least 8 blocks.

    Args:
        values: [N] or [S, N], in the order of the recording.

    Raises:
        ValueError: there is no value, or one is not a number.
    """
    rows = _as_rows(values)
    frames = rows.shape[1]
    ranks = np.argsort(np.argsort(rows, axis=1, kind="stable"), axis=1).astype(np.float64)
    ranks -= ranks.mean(axis=1, keepdims=True)
    # Padded with as many zeros, the product of spectra is the covariance at every lag without a wrap.
    spectrum = np.fft.rfft(ranks, 2 * frames, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :frames].sum(axis=0)
    small = covariance < covariance[0] / np.e
    lag = int(np.argmax(small)) if small.any() else frames
    return max(1, min(4 * lag, frames // _FEWEST_BLOCKS))


class _FrameDraws:
    """Which frames each repeat takes; the same for everything that is compared."""

    def __init__(self, frames: int, block: int, bootstrap: Bootstrap) -> None:
        self._frames = frames
        self._block = max(1, min(block, frames))
        self.blocks = -(-frames // self._block)
        generator = np.random.default_rng(bootstrap.seed)
        self._starts = generator.integers(0, frames, (bootstrap.repeats, self.blocks))

    def apply(self, rows: Array, statistic: Callable[..., Array]) -> Array:
        """Return the statistic of each repeat [repeats], averaged over the runs."""
        step = max(1, _NUMBERS_AT_ONCE // self._frames)
        parts = []
        for begin in range(0, len(self._starts), step):
            frames = self._indices(self._starts[begin : begin + step])
            parts.append(np.mean([statistic(values[frames], axis=1) for values in rows], axis=0))
        return np.concatenate(parts)

    def _indices(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        places = (starts[:, :, None] + np.arange(self._block)) % self._frames
        return places.reshape(len(starts), -1)[:, : self._frames]


def _as_rows(values: ArrayLike) -> Array:
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if rows.ndim != 2 or rows.size == 0 or np.isnan(rows).any():
        raise ValueError(f"expected numbers of shape [N] or [S, N], got shape {np.shape(values)} or a NaN")
    return rows


def _interval(by_run: Array, draws: Array, frames: _FrameDraws, bootstrap: Bootstrap) -> Interval:
    """Put the draws of frames [repeats] and the spread of the runs [S] together."""
    estimate = float(np.mean(by_run))
    generator = np.random.default_rng((bootstrap.seed, 1))
    with np.errstate(invalid="ignore"):
        deviations = (draws - estimate) * _student_factor(frames.blocks, len(draws), generator)
        if len(by_run) > 1:
            spread = np.std(by_run, ddof=1) / np.sqrt(len(by_run))
            deviations = deviations + spread * generator.standard_t(len(by_run) - 1, len(draws))
    if not np.isfinite(estimate) or np.isnan(deviations).any():
        return Interval(estimate, float("nan"), float("nan"), bootstrap.confidence)
    tail = (1.0 - bootstrap.confidence) / 2.0
    # Without interpolation, which would make a NaN of two infinite draws.
    low, high = np.quantile(estimate + deviations, [tail, 1.0 - tail], method="inverted_cdf")
    return Interval(estimate, float(low), float(high), bootstrap.confidence)


def _within(interval: Interval, rows: Array) -> Interval:
    """Cut off what no median or mean of the values can be, such as a negative error."""
    low, high = np.clip([interval.low, interval.high], rows.min(), rows.max())
    return Interval(interval.estimate, float(low), float(high), interval.confidence)


def _student_factor(blocks: int, repeats: int, generator: np.random.Generator) -> Array:
    """Return what turns normal deviations estimated from so many blocks into Student's."""
    freedom = max(1, blocks - 1)
    return np.sqrt(blocks / generator.chisquare(freedom, repeats))
