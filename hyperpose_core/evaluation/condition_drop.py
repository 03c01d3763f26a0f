"""What light and season cost: each condition's errors against those of the same frames as they were taken.

Variants of a frame (`hyperpose ecl generate`, the Extended Cambridge Landmarks) have its pose to the last
bit: that is how the frames of two conditions are paired, whatever their files are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.evaluation.statistics import (
    DEFAULT_BOOTSTRAP,
    Bootstrap,
    PairedComparison,
    compare_paired,
)

ORIGINAL_CONDITIONS = ("original", "")
"""What images are labelled as that nobody has changed."""


@dataclass(frozen=True)
class ConditionDrop:
    """A condition against the original, on the frames that both have.

    Attributes:
        condition: its label.
        frames: how many frames both have.
        position_m: median position error of the original (first) and of the condition (second), metres.
        orientation_deg: likewise, degrees.
        position_ratio: the condition's median position error over the original's.
        orientation_ratio: likewise.
    """

    condition: str
    frames: int
    position_m: PairedComparison
    orientation_deg: PairedComparison
    position_ratio: float
    orientation_ratio: float


@dataclass(frozen=True, eq=False)
class FramePairs:
    """The frames that a condition shares with the original.

    Attributes:
        condition: its label.
        original: [K] places of the original frames, in their order.
        variant: [K] places of the condition's frames, frame by frame the same.
    """

    condition: str
    original: NDArray[np.intp]
    variant: NDArray[np.intp]


def pair_frames(
    conditions: Sequence[str],
    scenes: Sequence[str],
    positions: NDArray[np.float64],
    orientations: NDArray[np.float64],
) -> list[FramePairs]:
    """Find each condition's frames among the original ones: same scene, same true pose, to the last bit.

    A camera that stands still has several frames of one pose; they are paired in their order.

    Args:
        conditions: [N] labels; `ORIGINAL_CONDITIONS` mark the original frames.
        scenes: [N] labels.
        positions: [N, 3] true positions, metres.
        orientations: [N, 4] true orientations.

    Returns:
        a pairing a condition, in order of appearance; none for a condition that shares no frame.
    """
    places: dict[str, dict[tuple[object, ...], int]] = {}
    seen: Counter[tuple[object, ...]] = Counter()
    for place, (label, scene) in enumerate(zip(conditions, scenes, strict=True)):
        condition = "" if label in ORIGINAL_CONDITIONS else label
        pose = (condition, scene, positions[place].tobytes(), orientations[place].tobytes())
        places.setdefault(condition, {})[(*pose[1:], seen[pose])] = place
        seen[pose] += 1
    originals = places.pop("", {})
    pairs = []
    for condition, own in places.items():
        shared = [(place, own[key]) for key, place in originals.items() if key in own]
        if shared:
            original, variant = np.array(shared, dtype=np.intp).T
            pairs.append(FramePairs(condition, original, variant))
    return pairs


def condition_drops(
    pairs: Sequence[FramePairs],
    position_m: NDArray[np.float64],
    orientation_deg: NDArray[np.float64],
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> tuple[ConditionDrop, ...]:
    """Compare the errors of each condition with the original's.

    Args:
        pairs: what `pair_frames` found.
        position_m: errors [N], or [S, N] of S runs; infinite without an estimate.
        orientation_deg: of the same shape.
        bootstrap: how intervals are made.
    """
    drops = []
    for pair in pairs:
        position, orientation = (
            compare_paired(errors[..., pair.original], errors[..., pair.variant], bootstrap=bootstrap)
            for errors in (position_m, orientation_deg)
        )
        drops.append(
            ConditionDrop(
                condition=pair.condition,
                frames=len(pair.original),
                position_m=position,
                orientation_deg=orientation,
                position_ratio=_ratio(position),
                orientation_ratio=_ratio(orientation),
            )
        )
    return tuple(drops)


def _ratio(comparison: PairedComparison) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(comparison.second.estimate) / comparison.first.estimate)
