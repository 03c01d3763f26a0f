"""Figures of a landmark map's poses beside the network's, of the same frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.metrics import Scores, Timing, quantile, score


@dataclass(frozen=True)
class RefinedScores:
    """What a landmark map made of the frames that a network had answered.

    Attributes:
        frames: all of them.
        verified: those whose pose the map confirms.
        verified_share: their share.
        timing: of the refiner alone, over all frames; None where nothing was measured.
        scores: the figures of the map's poses, over the verified frames; None where there is none.
    """

    frames: int
    verified: int
    verified_share: float
    timing: Timing | None
    scores: Scores | None


def score_refined(refined: Comparison) -> RefinedScores:
    """Score a map's poses.

    Args:
        refined: all frames, unanswered where the map did not verify a pose.
    """
    verified = refined.estimated
    times = np.array([]) if refined.milliseconds is None else refined.milliseconds
    measured = times[np.isfinite(times)]
    return RefinedScores(
        frames=len(refined),
        verified=int(verified.sum()),
        verified_share=float(verified.mean()),
        timing=Timing(quantile(measured, 0.5), quantile(measured, 0.95)) if len(measured) else None,
        scores=score(refined.rows(verified)) if verified.any() else None,
    )
