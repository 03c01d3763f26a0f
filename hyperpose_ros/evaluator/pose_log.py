"""Estimated and true poses of a run, matched by their stamps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.geometry.poses import Array, Pose

_NANOSECONDS = 1e9

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class MatchCounts:
    """What became of the poses of a run.

    Attributes:
        estimates: estimated poses received.
        ground_truths: true poses received.
        frames_scored: estimates that have a true pose.
        estimates_without_truth: estimates that have none.
        truths_without_estimate: true poses that no estimate was matched with.
    """

    estimates: int
    ground_truths: int
    frames_scored: int
    estimates_without_truth: int
    truths_without_estimate: int


class PoseLog:
    """Collects poses by stamp; a pose that comes again (a bag played in a loop) replaces the earlier one.

    A localizer that refines publishes a verified pose beside the network's of the same image. It is told by
    being the verified one, so that the two are never scored as one.

    Args:
        tolerance_ns: how far an estimate's stamp may lie from the true pose's, nanoseconds.
    """

    def __init__(self, tolerance_ns: int = 0) -> None:
        self._tolerance_ns = tolerance_ns
        self._estimates: dict[int, list[Pose]] = {}
        self._covariances: dict[int, list[Array]] = {}
        self._verified: dict[int, tuple[Pose, Array]] = {}
        self._truths: dict[int, Pose] = {}

    def add_estimate(self, stamp_ns: int, pose: Pose) -> None:
        """Add an estimated pose of the camera."""
        self._estimates.setdefault(stamp_ns, []).append(pose)

    def add_covariance(self, stamp_ns: int, covariance: Array) -> None:
        """Add the covariance [6, 6] of the estimate with this stamp."""
        self._covariances.setdefault(stamp_ns, []).append(covariance)

    def add_verified(self, stamp_ns: int, pose: Pose, covariance: Array) -> None:
        """Add a pose of the camera that a landmark map has verified, and its covariance [6, 6]."""
        self._verified[stamp_ns] = (pose, covariance)

    def add_truth(self, stamp_ns: int, pose: Pose) -> None:
        """Add a true pose of the camera."""
        self._truths[stamp_ns] = pose

    def move_truths(self, before: Pose, after: Pose) -> None:
        """Replace every true pose by before @ pose @ after."""
        self._truths = {stamp: before @ pose @ after for stamp, pose in self._truths.items()}

    @property
    def has_truth(self) -> bool:
        """Whether any true pose has come."""
        return bool(self._truths)

    def counts(self) -> MatchCounts:
        """Count what was received and matched."""
        pairs = self._pairs()
        return MatchCounts(
            estimates=len(self._estimates),
            ground_truths=len(self._truths),
            frames_scored=len(pairs),
            estimates_without_truth=len(self._estimates) - len(pairs),
            truths_without_estimate=len(self._truths) - len(set(pairs.values())),
        )

    def comparison(self, count_unanswered: bool = False) -> Comparison:
        """Return the matched poses in the order of time, the network's where a map has verified another.

        Args:
            count_unanswered: also count true poses without an estimate as frames.

        Raises:
            HyperPoseError: no estimate matches a true pose; the message says why.
        """
        rows = self._rows(count_unanswered)
        covariances = [self._covariance(stamp) for stamp, _ in rows]
        return Comparison.from_poses(
            [self._estimate(stamp) for stamp, _ in rows],
            [self._truths[truth] for _, truth in rows],
            stamps_ns=[stamp for stamp, _ in rows],
            covariances=covariances if any(item is not None for item in covariances) else None,
        )

    def refined(self, count_unanswered: bool = False) -> Comparison | None:
        """Return the same frames with the poses that a landmark map has verified; None where there is none.

        Args:
            count_unanswered: as `comparison` takes it.

        Raises:
            HyperPoseError: no estimate matches a true pose; the message says why.
        """
        if not self._verified:
            return None
        rows = self._rows(count_unanswered)
        found = [self._verified.get(stamp) for stamp, _ in rows]
        return Comparison.from_poses(
            [None if item is None else item[0] for item in found],
            [self._truths[truth] for _, truth in rows],
            stamps_ns=[stamp for stamp, _ in rows],
            covariances=[None if item is None else item[1] for item in found],
        )

    def _estimate(self, stamp_ns: int) -> Pose | None:
        verified = self._verified.get(stamp_ns)
        poses = self._estimates.get(stamp_ns, [])
        return _latest(pose for pose in poses if verified is None or not _equal(pose, verified[0]))

    def _covariance(self, stamp_ns: int) -> Array | None:
        verified = self._verified.get(stamp_ns)
        found = self._covariances.get(stamp_ns, [])
        return _latest(each for each in found if verified is None or not np.array_equal(each, verified[1]))

    def _rows(self, count_unanswered: bool) -> list[tuple[int, int]]:
        """Return the stamps of estimate and truth of each frame to score, in the order of time."""
        pairs = self._pairs()
        if not pairs:
            raise HyperPoseError(f"nothing to score: {self.reason_for_nothing()}")
        rows = list(pairs.items())
        if count_unanswered:
            estimated = set(pairs.values())
            rows += [(stamp, stamp) for stamp in self._truths if stamp not in estimated]
        return sorted(rows)

    def _pairs(self) -> dict[int, int]:
        """Stamp of each estimate that has a true pose -> stamp of the nearest true pose."""
        if not self._tolerance_ns:
            return {stamp: stamp for stamp in self._estimates if stamp in self._truths}
        truths = np.array(sorted(self._truths), dtype=np.int64)
        pairs = {}
        for stamp in self._estimates:
            nearest = _nearest(truths, stamp)
            if nearest is not None and abs(nearest - stamp) <= self._tolerance_ns:
                pairs[stamp] = nearest
        return pairs

    def reason_for_nothing(self) -> str:
        """Say, in a few words, why no estimate matches a true pose."""
        if not self._truths and not self._estimates:
            return "neither an estimate nor a true pose came"
        if not self._truths:
            return f"{len(self._estimates)} estimates came, but no true pose"
        if not self._estimates:
            return f"{len(self._truths)} true poses came, but no estimate"
        truths = np.array(sorted(self._truths), dtype=np.int64)
        gaps = [abs(stamp - (_nearest(truths, stamp) or 0)) for stamp in self._estimates]
        tolerance_s, nearest_s = self._tolerance_ns / _NANOSECONDS, min(gaps) / _NANOSECONDS
        return (
            f"no stamp of {len(self._estimates)} estimates is within {tolerance_s:g} s of one of "
            f"{len(self._truths)} true poses; the nearest are {nearest_s:g} s apart"
        )


def _equal(pose: Pose, other: Pose) -> bool:
    return np.array_equal(pose.position, other.position) and np.array_equal(
        pose.orientation, other.orientation
    )


def _latest(items: Iterable[_Item]) -> _Item | None:
    return next(iter([*items][::-1]), None)


def _nearest(stamps: np.ndarray[tuple[int], np.dtype[np.int64]], stamp: int) -> int | None:
    if not len(stamps):
        return None
    after = int(np.searchsorted(stamps, stamp))
    around = stamps[max(0, after - 1) : after + 1].tolist()
    return int(min(around, key=lambda candidate: abs(candidate - stamp)))
