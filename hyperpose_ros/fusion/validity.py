"""Pose validity: whether to trust a fix, and the reasons against it, as keys for counters and as text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.uncertainty.region import TrainedRegion
from hyperpose_ros.common.fix import Fix, PoseWithCovariance, View
from hyperpose_ros.fusion.motion_gate import GateResult, GateSettings, MotionGate
from hyperpose_ros.fusion.trust_history import TrustHistory
from hyperpose_ros.parameters.localizer import LocalizerParameters

if TYPE_CHECKING:
    from hyperpose_core.checkpoint.file import Checkpoint
    from hyperpose_ros.tf.odometry import Odometry

NOT_FINITE = "not_finite"
NO_EXTRINSICS = "no_extrinsics"
DISAGREEMENT = "disagreement"
SCENE_PROBABILITY = "scene_probability"
OUTSIDE_REGION = "outside_region"
JUMP = "jump"

UNMEASURED_CHECKS = (
    "jumps, cameras that disagree and poses outside the trained region are noticed only where they are gross"
)
"""What is left of the checks if the covariance was never fitted, and is therefore very large."""

MARGIN_SPACINGS = 5.0
MARGIN_DEVIATIONS = 3.0
"""Default margin of the trained region: spacings of the trained positions plus standard deviations of the
pose, since robots do not drive exactly where the images were taken, and estimates err."""


@dataclass(frozen=True, eq=False)
class ValidationResult:
    """Whether a fix is valid.

    Attributes:
        fix: what to publish: the fix, or one with inflated covariances; None to withhold it.
        causes: keys of the reasons against the fix, the gravest first; empty where it is trusted.
        reason: the same as text.
        values: the quantities checked, by name.
    """

    fix: Fix | None
    causes: tuple[str, ...] = ()
    reason: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """Whether there is no reason against the fix."""
        return not self.causes


class PoseValidator:
    """Validates one fix after the other; thread-safe.

    Attributes:
        history: the latest results, for diagnostics.
    """

    def __init__(
        self, checkpoint: Checkpoint, parameters: Callable[[], LocalizerParameters], odometry: Odometry | None
    ) -> None:
        """Build a validator without any fix yet.

        Args:
            checkpoint: the network's, for its trained region and whether its covariance was measured.
            parameters: the node's parameters now.
            odometry: the robot's; None if unknown, which disables the check for jumps.
        """
        self._parameters = parameters
        self._odometry = odometry
        self._gate = MotionGate()
        self._verified_gate = MotionGate()
        self._lock = threading.Lock()
        self.history = TrustHistory()
        self.adopt(checkpoint)

    def adopt(self, checkpoint: Checkpoint) -> None:
        """Validate the fixes of another network from now on, independent of the former one's."""
        with self._lock:
            self._region: TrainedRegion | None = checkpoint.region
            self._is_measured = checkpoint.uncertainty.is_measured
        self.reset()

    def reset(self) -> None:
        """Forget all fixes: time jumped back, or the robot was moved."""
        with self._lock:
            self._gate.reset()
            self._verified_gate.reset()
        self.history.clear()

    def validate(self, fix: Fix) -> ValidationResult:
        """Validate a fix; a trusted one is the reference of the next."""
        with self._lock:
            validation = self._validate(fix, self._parameters())
        self.history.add(validation.causes)
        return validation

    def validate_verified(self, fix: Fix, leads: bool, starts_anew: bool = False) -> ValidationResult:
        """Validate a fix verified by the landmark map, which may be older than the network's last one.

        It is checked against the last verified fix alone: the network's are less accurate.

        Args:
            fix: the fix.
            leads: whether the network's next fixes are checked against this one if it is trusted.
            starts_anew: whether agreeing fixes place the robot elsewhere than the last verified one.
        """
        with self._lock:
            parameters = self._parameters()
            if starts_anew:
                self._verified_gate.reset()
            validation = _unusable(fix)
            if validation is None:
                validation = self._combine(
                    fix, {}, {"covariance": "measured"}, self._verified_gate, parameters
                )
            odometry = None if self._odometry is None else self._odometry.pose_at(fix.stamp_ns)
            if validation.trusted and fix.base is not None and odometry is not None:
                for gate in (self._verified_gate, self._gate) if leads else (self._verified_gate,):
                    gate.trust(fix.base, odometry)
        return validation

    def predict(self, stamp_ns: int) -> PoseWithCovariance | None:
        """Return the last verified pose of the body in the map, propagated by odometry to a stamp (ns).

        Returns:
            None without a verified pose, or without odometry since.
        """
        with self._lock:
            odometry = None if self._odometry is None else self._odometry.pose_at(stamp_ns)
            if odometry is None:
                return None
            return self._verified_gate.predict(odometry, self._parameters().odometry_noise)

    def _validate(self, fix: Fix, parameters: LocalizerParameters) -> ValidationResult:
        unusable = _unusable(fix)
        if unusable is not None:
            return unusable
        reasons, values = self._check_views(fix, parameters)
        values["covariance"] = self._describe_covariance()
        return self._combine(fix, reasons, values, self._gate, parameters)

    def _combine(
        self,
        fix: Fix,
        reasons: dict[str, str],
        values: dict[str, str],
        gate: MotionGate,
        parameters: LocalizerParameters,
    ) -> ValidationResult:
        """Combine the reasons of single views with those of all cameras together and of the motion."""
        if fix.disagreement:
            reasons = {DISAGREEMENT: fix.disagreement, **reasons}
        if fix.left_out:
            values["cameras_left_out"] = ", ".join(fix.left_out)
        result = self._apply_gate(gate, fix, parameters, is_sound=not reasons, values=values)
        if result is not None and not result.passes:
            reasons[JUMP] = (
                f"{result.innovation_m:.2f} m from where odometry has it, at a Mahalanobis distance of "
                f"{result.mahalanobis:.1f}, beyond the gate of probability {parameters.jump_gate:g}"
            )
        publishable = fix if not reasons else None
        if reasons and parameters.on_invalid == "inflate":
            publishable = inflated(fix, parameters.inflation)
        return ValidationResult(publishable, tuple(reasons), "; ".join(reasons.values()), values)

    def _check_views(
        self, fix: Fix, parameters: LocalizerParameters
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the reasons against the views by key, and the quantities checked.

        As in the fusion of cameras, the majority decides: a minority of views at fault does not matter.
        """
        places = [
            _Place(view, view.in_world, view.in_map, self._region, parameters.region_margin)
            for view in fix.views
            if view.in_world is not None and view.in_map is not None and _is_usable(view.in_map.covariance)
        ]
        faults = [_faults(place, parameters.min_scene_probability) for place in places]
        reasons: dict[str, str] = {}
        if 2 * sum(1 for fault in faults if fault) >= len(faults):
            for cause in (SCENE_PROBABILITY, OUTSIDE_REGION):
                found = [fault[cause] for fault in faults if cause in fault]
                if found:
                    reasons[cause] = "; ".join(dict.fromkeys(found))
        return reasons, _describe_places(places)

    def _apply_gate(
        self,
        gate: MotionGate,
        fix: Fix,
        parameters: LocalizerParameters,
        is_sound: bool,
        values: dict[str, str],
    ) -> GateResult | None:
        """Apply a motion gate where possible, and add its result, or why there is none, to the values."""
        if parameters.jump_gate == 0 or self._odometry is None or fix.base is None:
            # Without gap-free odometry, the last trusted fix is no reference any more.
            gate.reset()
            values["jump"] = "off" if parameters.jump_gate == 0 else self._missing_input()
            return None
        odometry = self._odometry.pose_at(fix.stamp_ns)
        if odometry is None:
            values["jump"] = "not checked: no odometry at the image's stamp"
            return None
        settings = GateSettings(parameters.jump_gate, parameters.odometry_noise, parameters.jump_recovery)
        result = gate.check(fix.base, odometry, settings, is_sound)
        values["jump"] = _describe_gate(result)
        if result.mahalanobis is not None:
            values["jump_mahalanobis"] = f"{result.mahalanobis:.3f}"
            values["jump_m"] = f"{result.innovation_m:.3f}"
        return result

    def _missing_input(self) -> str:
        missing = "odometry" if self._odometry is None else "the camera's extrinsics"
        return f"not checked: {missing} not known"

    def _describe_covariance(self) -> str:
        return "measured" if self._is_measured else f"not measured: {UNMEASURED_CHECKS}"


def _unusable(fix: Fix) -> ValidationResult | None:
    """Return the result for a fix without a usable pose; None if it has one."""
    if fix.published is None and any(view.in_map is not None for view in fix.views):
        return ValidationResult(None, (NO_EXTRINSICS,), "where the camera is on the robot is not known")
    if fix.published is None or not _is_usable(fix.published.covariance):
        return ValidationResult(None, (NOT_FINITE,), "the network's output is not finite")
    return None


def inflated(fix: Fix, factor: float) -> Fix:
    """Return a fix with every covariance multiplied by a factor: a variance factor, not one of deviations."""

    def inflate(estimate: PoseWithCovariance | None) -> PoseWithCovariance | None:
        if estimate is None:
            return None
        return PoseWithCovariance(estimate.pose, estimate.covariance * factor)

    views = tuple(replace(view, in_map=inflate(view.in_map)) for view in fix.views)
    return replace(fix, views=views, base=inflate(fix.base), published=inflate(fix.published))


class _Place:
    """A view's camera position relative to where the network was trained.

    Attributes:
        view: the view.
        distance: metres to the nearest trained position; None where no region is known.
        margin: metres that it may be; None where there is no limit.
    """

    def __init__(
        self,
        view: View,
        in_world: Pose,
        in_map: PoseWithCovariance,
        region: TrainedRegion | None,
        margin: float,
    ) -> None:
        self.view = view
        self.distance: float | None = None
        self.margin: float | None = margin if margin > 0 else None
        if region is None:
            return
        scene = None if view.scene is None else view.scene_index
        self.distance = region.distance(in_world.position, scene)
        if margin < 0:
            deviation = float(np.linalg.eigvalsh(in_map.covariance[:3, :3])[-1]) ** 0.5
            self.margin = MARGIN_SPACINGS * region.typical_spacing(scene) + MARGIN_DEVIATIONS * deviation


def _faults(place: _Place, min_scene_probability: float) -> dict[str, str]:
    """Return the reasons against a view, as text by key."""
    faults = {}
    probability = place.view.scene_probability
    # Written so that a probability that is not a number is too low.
    if probability is not None and not probability >= min_scene_probability:
        faults[SCENE_PROBABILITY] = (
            f"scene {place.view.scene} has probability {probability:.2f}, below {min_scene_probability:g}"
        )
    if place.distance is not None and place.margin is not None and place.distance > place.margin:
        faults[OUTSIDE_REGION] = (
            f"{place.distance:.2f} m from the nearest trained position, beyond the margin of "
            f"{place.margin:.2f} m"
        )
    return faults


def _describe_places(places: Sequence[_Place]) -> dict[str, str]:
    """Return scenes and region as values, of several views the least likely and the farthest."""
    values = {}
    probabilities = [
        place.view.scene_probability for place in places if place.view.scene_probability is not None
    ]
    if probabilities:
        values["scene"] = ", ".join(dict.fromkeys(place.view.scene or "" for place in places))
        values["scene_probability"] = f"{min(probabilities):.4f}"
    distances = [(place.distance, place.margin) for place in places if place.distance is not None]
    if not distances:
        values["region"] = "not known to the checkpoint"
        return values
    distance, margin = max(distances, key=lambda pair: pair[0])
    values["region_distance_m"] = f"{distance:.3f}"
    values["region_margin_m"] = "off" if margin is None else f"{margin:.3f}"
    return values


def _describe_gate(result: GateResult) -> str:
    if result.mahalanobis is None:
        return "nothing to compare with yet"
    if result.recovered:
        return "a new track: the latest fixes agree with one another"
    return "none" if result.passes else "yes"


def _is_usable(covariance: Array) -> bool:
    """Tell whether a covariance [6, 6] is finite and positive definite."""
    if not np.isfinite(covariance).all():
        return False
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return True
