"""Which epoch's network is recommended: the last one, unless an earlier one is better beyond chance.

Schedules end at a rate of next to nothing, so the last epoch is the one that a recipe is made for. Held-out
errors go up and down from epoch to epoch, and neighbouring frames fail together: the least of them on a block
or two is mostly luck, and its network, from the middle of the schedule, may be far worse elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.evaluation.statistics import Bootstrap, confidence_interval
from hyperpose_core.geometry.poses import Array

FEWEST_BLOCKS = 12
"""Held-out blocks from which on an epoch can be told from another beyond chance."""

# Stricter than usual: the earlier epoch is the best of many.
_BY_BLOCKS = Bootstrap(block=1, confidence=0.998, repeats=10_000)
_ASTRAY = 3.0  # times the least error: no chance, but training that has come apart


@dataclass(frozen=True, eq=False)
class EpochScore:
    """What an epoch's network scored on the frames held out.

    Attributes:
        epoch: counted from 1.
        errors: of each frame, position in the network's units and angle in radians together, [N]; infinite
            where the answer is not finite.
    """

    epoch: int
    errors: Array

    @property
    def median(self) -> float:
        """The median error; NaN where nothing is held out."""
        return float(np.median(self.errors)) if len(self.errors) else float("nan")


@dataclass(frozen=True)
class Recommendation:
    """An epoch, and why it is this one.

    Attributes:
        epoch: counted from 1.
        reason: for people.
    """

    epoch: int
    reason: str


def recommend(least: EpochScore, last: EpochScore, blocks: npt.NDArray[np.int64]) -> Recommendation:
    """Choose between the epoch of the least held-out error and the last one.

    Args:
        least: the former.
        last: the latter.
        blocks: [N] which block of consecutive frames each held-out frame is of.
    """
    count = len(np.unique(blocks))
    if not count:
        return Recommendation(last.epoch, "the last one: nothing was held out to choose by")
    if least.epoch == last.epoch:
        return Recommendation(last.epoch, "the last one, with the least error on held-out frames, too")
    if not last.median <= _ASTRAY * least.median:
        times = f"{last.median / least.median:.1f} times as large" if np.isfinite(last.median) else "infinite"
        return Recommendation(
            least.epoch, f"training went astray: the last epoch's held-out error is {times}"
        )
    if count < FEWEST_BLOCKS:
        reason = f"epoch {least.epoch} did better on {count} held-out blocks only, which may be chance"
        return Recommendation(last.epoch, f"the last one: {reason}")
    if _is_better(least.errors, last.errors, blocks):
        reason = f"better than the last one on {count} held-out blocks, beyond chance"
        return Recommendation(least.epoch, reason)
    reason = f"the last one: that epoch {least.epoch} did better on {count} held-out blocks may be chance"
    return Recommendation(last.epoch, reason)


def _is_better(errors: Array, others: Array, blocks: npt.NDArray[np.int64]) -> bool:
    """Tell whether errors [N] are smaller than others [N], block by block, beyond chance."""
    with np.errstate(invalid="ignore"):
        differences = np.nan_to_num(errors - others, nan=0.0, posinf=np.inf, neginf=-np.inf)
    by_block = [float(np.median(differences[blocks == block])) for block in np.unique(blocks)]
    return confidence_interval(by_block, np.mean, _BY_BLOCKS).high < 0.0
