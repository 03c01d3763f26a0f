"""Holds each fix against what odometry says has been driven since the last trusted one.

The innovation is the difference, in the map's axes, of a fix and the last trusted fix carried on by odometry.
It is too large where its squared Mahalanobis distance lies beyond a quantile of the chi-squared distribution
of six degrees of freedom (Bar-Shalom et al., Estimation with Applications to Tracking and Navigation, 2001,
section 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np

from hyperpose_core.geometry.poses import (
    Array,
    Pose,
    move_covariance,
    quaternion_to_rotation_vector,
    relative_quaternion,
)
from hyperpose_ros.common.fix import PoseWithCovariance

TURN_PER_METRE_RAD = 0.1
"""A metre travelled counts as this much turning: wheels that only roll straight on lose the heading too."""


@dataclass(frozen=True)
class GateSettings:
    """What the gate asks for.

    Attributes:
        probability: of the chi-squared gate: the share of true motions that pass where the covariances are
            right.
        odometry_noise: one standard deviation of odometry's error as a share of the way: metres a metre
            travelled, radians a radian turned, both added up along the way.
        recovery: this many refused fixes in a row that agree with one another are a new track.
    """

    probability: float
    odometry_noise: float
    recovery: int


@dataclass(frozen=True)
class GateResult:
    """What the gate says of a fix.

    Attributes:
        passes: whether it may be trusted as far as motion goes.
        mahalanobis: distance from what odometry predicted; None where there was no trusted fix to start from.
        innovation_m: that distance in metres; None likewise.
        recovered: whether it passes because it ends a row of refused fixes that agree with one another.
    """

    passes: bool
    mahalanobis: float | None = None
    innovation_m: float | None = None
    recovered: bool = False


@dataclass(frozen=True, eq=False)
class _Anchor:
    """A fix to go on from: where it was, where odometry was, and the way that odometry had come by then."""

    fix: PoseWithCovariance
    odometry: Pose
    travelled_m: float
    turned_rad: float


class MotionGate:
    """Remembers the last trusted fix and a row of refused ones that agree.

    A robot that was carried elsewhere, or whose first fix was wrong, is not locked out: each refused fix is
    held against the refused one before it, and once `recovery` of them in a row agree, they are believed.
    """

    def __init__(self) -> None:
        """Start without a trusted fix: the next one passes."""
        self.reset()

    def reset(self) -> None:
        """Forget every fix."""
        self._trusted: _Anchor | None = None
        self._refused: _Anchor | None = None
        self._refused_count = 0
        self._odometry: Pose | None = None
        self._travelled_m = 0.0
        self._turned_rad = 0.0

    def check(
        self, fix: PoseWithCovariance, odometry: Pose, settings: GateSettings, is_sound: bool = True
    ) -> GateResult:
        """Hold a fix against odometry, and go on from it where it passes.

        Args:
            fix: the robot's body in the map.
            odometry: the body in the odometry's frame at the same instant.
            settings: how strict to be.
            is_sound: whether nothing else speaks against the fix; one that is not sound is only measured.
        """
        self._travel(odometry)
        here = _Anchor(fix, odometry, self._travelled_m, self._turned_rad)
        if self._trusted is None:
            if is_sound:
                self._trust(here)
            return GateResult(True)
        mahalanobis, innovation_m = _innovation(self._trusted, here, settings.odometry_noise)
        passes = agrees(mahalanobis, settings.probability)
        recovered = is_sound and not passes and self._ends_a_row(here, settings)
        if is_sound and (passes or recovered):
            self._trust(here)
        return GateResult(passes or recovered, mahalanobis, innovation_m, recovered)

    def trust(self, fix: PoseWithCovariance, odometry: Pose) -> None:
        """Go on from a fix that is more certain than those checked here, whatever was trusted before.

        The arguments are those of `check`. The fix may be older than the last one checked.
        """
        self._travel(odometry)
        self._trust(_Anchor(fix, odometry, self._travelled_m, self._turned_rad))

    def predict(self, odometry: Pose, odometry_noise: float) -> PoseWithCovariance | None:
        """Return the last trusted fix carried on to where odometry is now; None where there is none.

        Args:
            odometry: the body in the odometry's frame.
            odometry_noise: as in `GateSettings`.
        """
        if self._trusted is None:
            return None
        travelled_m, turned_rad = self._way_to(odometry)
        return _carried_on(self._trusted, odometry, travelled_m, turned_rad, odometry_noise)

    def _travel(self, odometry: Pose) -> None:
        self._travelled_m, self._turned_rad = self._way_to(odometry)
        self._odometry = odometry

    def _way_to(self, odometry: Pose) -> tuple[float, float]:
        """Return the metres travelled and the radians turned once odometry is there."""
        if self._odometry is None:
            return self._travelled_m, self._turned_rad
        step = self._odometry.inverse() @ odometry
        turned = float(np.linalg.norm(quaternion_to_rotation_vector(step.orientation)))
        return self._travelled_m + float(np.linalg.norm(step.position)), self._turned_rad + turned

    def _trust(self, anchor: _Anchor) -> None:
        self._trusted = anchor
        self._refused = None
        self._refused_count = 0

    def _ends_a_row(self, here: _Anchor, settings: GateSettings) -> bool:
        """Add a refused fix to the row of those before it, or begin a new row with it."""
        goes_on = self._refused is not None and agrees(
            _innovation(self._refused, here, settings.odometry_noise)[0], settings.probability
        )
        self._refused_count = self._refused_count + 1 if goes_on else 1
        self._refused = here
        return self._refused_count >= settings.recovery


def chi_squared_6_cdf(value: float) -> float:
    """Return the probability that a chi-squared variable of six degrees of freedom is at most `value`."""
    half = value / 2.0
    return 1.0 - exp(-half) * (1.0 + half + half * half / 2.0)


def agrees(mahalanobis: float, probability: float) -> bool:
    """Tell whether an innovation's Mahalanobis distance lies within the gate of a probability."""
    return chi_squared_6_cdf(mahalanobis**2) <= probability


def innovation(predicted: PoseWithCovariance, found: PoseWithCovariance) -> Array:
    """Return how far a fix lies from where it was predicted [6]: position and rotation, in the map's axes."""
    position = found.pose.position - predicted.pose.position
    rotation = quaternion_to_rotation_vector(
        relative_quaternion(predicted.pose.orientation, found.pose.orientation)
    )
    return np.concatenate([position, rotation])


def mahalanobis_distance(residual: Array, covariance: Array) -> float:
    """Return the length of a residual [6] in standard deviations of its covariance [6, 6]."""
    return max(float(residual @ np.linalg.solve(covariance, residual)), 0.0) ** 0.5


def carried_on(
    fix: PoseWithCovariance, step: Pose, travelled_m: float, turned_rad: float, noise: float
) -> PoseWithCovariance:
    """Return a fix carried on by odometry.

    Args:
        fix: the body in the map.
        step: the body's motion since, in its own frame at the fix.
        travelled_m: the way that odometry has come since, metres.
        turned_rad: the same of its turns, radians.
        noise: as `GateSettings.odometry_noise`.
    """
    pose = fix.pose @ step
    turned = turned_rad + TURN_PER_METRE_RAD * travelled_m
    moved = move_covariance(fix.covariance, pose.position - fix.pose.position)
    return PoseWithCovariance(pose, moved + _diagonal(noise * travelled_m, noise * turned))


def _innovation(start: _Anchor, end: _Anchor, noise: float) -> tuple[float, float]:
    """Return how far a fix lies from an earlier one carried on by odometry: Mahalanobis, and metres."""
    predicted = _carried_on(start, end.odometry, end.travelled_m, end.turned_rad, noise)
    residual = innovation(predicted, end.fix)
    distance = mahalanobis_distance(residual, predicted.covariance + end.fix.covariance)
    return distance, float(np.linalg.norm(residual[:3]))


def _carried_on(
    start: _Anchor, odometry: Pose, travelled_m: float, turned_rad: float, noise: float
) -> PoseWithCovariance:
    """Return an earlier fix carried on to where odometry is once it has come a way since its start."""
    step = start.odometry.inverse() @ odometry
    return carried_on(start.fix, step, travelled_m - start.travelled_m, turned_rad - start.turned_rad, noise)


def _diagonal(position_deviation: float, rotation_deviation: float) -> Array:
    deviations = [position_deviation] * 3 + [rotation_deviation] * 3
    return np.diag(np.square(deviations))
