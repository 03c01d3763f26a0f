"""Errors of estimated poses, as soon as both the estimate and the true pose are there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from hyperpose_core.geometry.poses import Pose, orientation_errors_deg, position_errors

_KEPT = 1000


@dataclass(frozen=True, eq=False)
class PoseError:
    """How far an estimate is off.

    Attributes:
        stamp_ns: the estimate's stamp, nanoseconds.
        estimate: the estimated pose.
        truth: the true pose.
        position_m: distance of the two positions, metres.
        orientation_deg: angle between the two orientations, degrees.
    """

    stamp_ns: int
    estimate: Pose
    truth: Pose
    position_m: float
    orientation_deg: float


class ErrorMatcher:
    """Matches estimates with true poses by stamp, in whichever order they come.

    An estimate takes the nearest true pose that is there, or waits for the first that is near enough.

    Args:
        tolerance_ns: how far the two stamps may lie apart, nanoseconds.
    """

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._waiting: OrderedDict[int, Pose] = OrderedDict()
        self._truths: OrderedDict[int, Pose] = OrderedDict()

    def add_estimate(self, stamp_ns: int, pose: Pose) -> PoseError | None:
        """Add an estimate and return its error, if its true pose is there already."""
        nearest = min(self._truths, key=lambda stamp: abs(stamp - stamp_ns), default=None)
        if nearest is None or not self._are_near(nearest, stamp_ns):
            _keep(self._waiting, stamp_ns, pose)
            return None
        return _error(stamp_ns, pose, self._truths[nearest])

    def add_truth(self, stamp_ns: int, pose: Pose) -> list[PoseError]:
        """Add a true pose and return the errors of the estimates that have waited for it."""
        _keep(self._truths, stamp_ns, pose)
        found = [stamp for stamp in self._waiting if self._are_near(stamp, stamp_ns)]
        return [_error(stamp, self._waiting.pop(stamp), pose) for stamp in found]

    def _are_near(self, stamp_ns: int, other_ns: int) -> bool:
        return abs(stamp_ns - other_ns) <= self._tolerance_ns


def _keep(poses: OrderedDict[int, Pose], stamp_ns: int, pose: Pose) -> None:
    poses[stamp_ns] = pose
    if len(poses) > _KEPT:
        poses.popitem(last=False)


def _error(stamp_ns: int, estimate: Pose, truth: Pose) -> PoseError:
    return PoseError(
        stamp_ns,
        estimate,
        truth,
        float(position_errors(estimate.position, truth.position)),
        float(orientation_errors_deg(estimate.orientation, truth.orientation)),
    )
