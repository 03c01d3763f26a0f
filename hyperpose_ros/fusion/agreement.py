"""Whether the latest fixes agree with one another, and with odometry in between where there is any.

One fix may be wrong and look right: where houses repeat, a landmark map can confirm the wrong street. Several
that fit the way driven between them are much harder to come by.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from hyperpose_core.geometry.poses import Array, Pose, quaternion_to_rotation_vector
from hyperpose_ros.common.fix import PoseWithCovariance
from hyperpose_ros.fusion.motion_gate import agrees, carried_on, innovation, mahalanobis_distance

PROBABILITY = 0.999
"""Of the chi-squared gate in which two fixes agree: the share of true pairs that do."""

MOST_TURNING_RAD_S = 2.0
"""How fast a robot without odometry is taken to turn at most."""

_MOST_REMEMBERED = 50


@dataclass(frozen=True, eq=False)
class Sighting:
    """A fix, and where odometry was at the same instant.

    Attributes:
        stamp_ns: the images' stamp, nanoseconds.
        body: the robot's body in the map, or its camera where that is all that is known.
        odometry: the body in odometry's frame; None where that is not known.
    """

    stamp_ns: int
    body: PoseWithCovariance
    odometry: Pose | None


@dataclass(frozen=True)
class AgreementSettings:
    """What is asked of fixes.

    Attributes:
        poses: so many must agree, each with every other.
        window_ns: the oldest of them is at most this much older than the newest, nanoseconds.
        deviations: standard deviations [6] below which no fix counts as more exact: clocks of camera and
            odometry that are not quite the same make exact poses contradict each other.
        odometry_noise: as in `GateSettings`.
        max_speed: without odometry, how fast the robot drives at most, m/s.
    """

    poses: int
    window_ns: int
    deviations: Array
    odometry_noise: float
    max_speed: float


class AgreeingFixes:
    """Remembers the latest fixes and finds those that agree with the newest one."""

    def __init__(self) -> None:
        """Start without any."""
        self._sightings: deque[Sighting] = deque(maxlen=_MOST_REMEMBERED)

    def clear(self) -> None:
        """Forget all fixes."""
        self._sightings.clear()

    def add(self, newest: Sighting, settings: AgreementSettings) -> tuple[Sighting, ...]:
        """Add a fix, and return those that agree with it and with one another, the newest first.

        A fix of the same stamp as an earlier one, or an older one, takes the place of all from there on.
        """
        while self._sightings and self._sightings[-1].stamp_ns >= newest.stamp_ns:
            self._sightings.pop()
        self._sightings.append(newest)
        while newest.stamp_ns - self._sightings[0].stamp_ns > settings.window_ns:
            self._sightings.popleft()
        agreeing = [newest]
        for earlier in list(self._sightings)[-2::-1]:
            if len(agreeing) < settings.poses and all(_agree(earlier, later, settings) for later in agreeing):
                agreeing.append(earlier)
        return tuple(agreeing)


def with_floor(covariance: Array, deviations: Array) -> Array:
    """Return the smallest covariance [6, 6] not below a given one nor below that of deviations [6].

    "Below" in the order of positive semi-definite matrices: no direction is more exact than in either.
    """
    scaled = covariance / np.outer(deviations, deviations)
    values, axes = np.linalg.eigh((scaled + scaled.T) / 2.0)
    raised = (axes * np.maximum(values, 1.0)) @ axes.T
    return np.asarray(raised * np.outer(deviations, deviations))


def _agree(earlier: Sighting, later: Sighting, settings: AgreementSettings) -> bool:
    start, end = (_blurred(fix.body, settings.deviations) for fix in (earlier, later))
    if earlier.odometry is not None and later.odometry is not None:
        step = earlier.odometry.inverse() @ later.odometry
        travelled = float(np.linalg.norm(step.position))
        turned = float(np.linalg.norm(quaternion_to_rotation_vector(step.orientation)))
        start = carried_on(start, step, travelled, turned, settings.odometry_noise)
        residual = innovation(start, end)
    else:
        seconds = (later.stamp_ns - earlier.stamp_ns) / 1e9
        residual = innovation(start, end)
        residual[:3] = _beyond(residual[:3], settings.max_speed * seconds)
        residual[3:] = _beyond(residual[3:], MOST_TURNING_RAD_S * seconds)
    distance = mahalanobis_distance(residual, start.covariance + end.covariance)
    return agrees(distance, PROBABILITY)


def _blurred(body: PoseWithCovariance, deviations: Array) -> PoseWithCovariance:
    return PoseWithCovariance(body.pose, with_floor(body.covariance, deviations))


def _beyond(vector: Array, reach: float) -> Array:
    """Return what is left of a vector once it is shortened by a reach."""
    length = float(np.linalg.norm(vector))
    return np.zeros(3) if length <= reach else vector * (1.0 - reach / length)
