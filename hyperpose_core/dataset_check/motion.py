"""How a dataset's camera moved, and what its time stamps say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.geometry.poses import orientation_errors_deg, position_errors

_JUMP_FACTOR = 10.0
_SMALLEST_JUMP_M = 0.5
_TIME_GAP_FACTOR = 5.0
_NANOSECONDS = 1e9


@dataclass(frozen=True)
class Motion:
    """Movement through the frames of a part, sequence by sequence.

    Attributes:
        extent_m: size of the box around all positions along the world's axes.
        travelled_m: length of the way along all frames.
        median_step_m: from frame to frame.
        median_turn_deg: from frame to frame.
        largest_step_m: from frame to frame.
        largest_step_to: name of the frame that the largest step leads to.
        jumps: steps of more than ten times the median and half a metre: gaps, or wrong poses.
    """

    extent_m: tuple[float, float, float]
    travelled_m: float
    median_step_m: float
    median_turn_deg: float
    largest_step_m: float
    largest_step_to: str
    jumps: int


@dataclass(frozen=True)
class TimeStamps:
    """What is to be said of the time stamps of a part; seconds.

    Attributes:
        stamped: how many frames have one.
        missing: how many have none.
        duplicated: how many have the stamp of an earlier frame of their sequence.
        unsorted: how many are older than the frame before.
        duration_s: of all sequences together.
        median_period_s: from frame to frame; NaN where it is not known.
        longest_gap_s: from frame to frame; NaN where it is not known.
        gaps: how many are longer than five times the median.
    """

    stamped: int
    missing: int
    duplicated: int
    unsorted: int
    duration_s: float
    median_period_s: float
    longest_gap_s: float
    gaps: int

    def faults(self) -> list[str]:
        """Return what is wrong, a line each; a part without any stamps is not at fault."""
        faults = []
        if self.stamped and self.missing:
            faults.append(f"{self.missing} frames without a time stamp, {self.stamped} with one")
        if self.duplicated:
            faults.append(f"{self.duplicated} duplicated time stamps")
        if self.unsorted:
            faults.append(f"{self.unsorted} time stamps out of order")
        return faults


def measure_motion(images: Sequence[PosedImage]) -> Motion:
    """Measure the movement through some frames, at least one, in the order they are in."""
    positions = np.array([image.pose.position for image in images])
    steps, turns, names = [0.0], [0.0], [images[0].path.name]
    for sequence in _sequences(images):
        if len(sequence) < 2:
            continue
        at = np.array([image.pose.position for image in sequence])
        facing = np.array([image.pose.orientation for image in sequence])
        steps += position_errors(at[1:], at[:-1]).tolist()
        turns += orientation_errors_deg(facing[1:], facing[:-1]).tolist()
        names += [f"{image.sequence}/{image.path.name}".lstrip("/") for image in sequence[1:]]
    taken = slice(1, None) if len(steps) > 1 else slice(None)
    median = float(np.median(steps[taken]))
    largest = int(np.argmax(steps))
    x, y, z = np.ptp(positions, axis=0).tolist()
    threshold = max(_JUMP_FACTOR * median, _SMALLEST_JUMP_M)
    return Motion(
        extent_m=(x, y, z),
        travelled_m=float(np.sum(steps)),
        median_step_m=median,
        median_turn_deg=float(np.median(turns[taken])),
        largest_step_m=steps[largest],
        largest_step_to=names[largest],
        jumps=int(np.sum(np.array(steps) > threshold)),
    )


def measure_stamps(images: Sequence[PosedImage]) -> TimeStamps:
    """Look at the time stamps of some frames, in the order they are in."""
    duplicated = unsorted = 0
    duration_ns = 0
    periods_ns: list[int] = []
    stamped = 0
    for sequence in _sequences(images):
        stamps = [image.stamp_ns for image in sequence if image.stamp_ns is not None]
        if not stamps:
            continue
        stamped += len(stamps)
        duplicated += len(stamps) - len(set(stamps))
        unsorted += sum(after < before for before, after in zip(stamps, stamps[1:], strict=False))
        duration_ns += max(stamps) - min(stamps)
        ordered = sorted(set(stamps))
        periods_ns += [after - before for before, after in zip(ordered, ordered[1:], strict=False)]
    periods = np.array(periods_ns) / _NANOSECONDS
    median = float(np.median(periods)) if len(periods) else float("nan")
    return TimeStamps(
        stamped=stamped,
        missing=len(images) - stamped,
        duplicated=duplicated,
        unsorted=unsorted,
        duration_s=duration_ns / _NANOSECONDS,
        median_period_s=median,
        longest_gap_s=float(periods.max()) if len(periods) else float("nan"),
        gaps=int(np.sum(periods > _TIME_GAP_FACTOR * median)),
    )


def _sequences(images: Sequence[PosedImage]) -> Iterable[list[PosedImage]]:
    groups: dict[tuple[str, str], list[PosedImage]] = {}
    for image in images:
        groups.setdefault((image.scene, image.sequence), []).append(image)
    return groups.values()
