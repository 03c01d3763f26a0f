"""Results as plain data, as short text and as bars of a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.evaluation.statistics import Interval


def plain_data(value: Any) -> Any:
    """Return what JSON can hold: tuples as lists, and null for what is not a finite number."""
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def error_bars(intervals: Sequence[Interval]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return estimates [N] and the lengths of their bars, down and up [2, N], for matplotlib."""
    centres = np.array([interval.estimate for interval in intervals])
    ends = np.array([[interval.low, interval.high] for interval in intervals]).T
    lengths = np.abs(ends - centres)
    return centres, np.where(np.isfinite(lengths), lengths, 0.0)


def interval_text(interval: Interval, form: Callable[[float], str], sign: bool = False) -> str:
    """Return a figure and its interval, such as "0.31 [0.28, 0.35]".

    Args:
        interval: the figure.
        form: turns a number into text.
        sign: say the sign of positive numbers, too.
    """
    texts = [
        f"{'+' if sign and value > 0 else ''}{form(value)}"
        for value in (interval.estimate, interval.low, interval.high)
    ]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"
