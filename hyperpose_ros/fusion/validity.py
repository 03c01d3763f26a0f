"""Whether a fix can be trusted: what speaks against it, in one word for counters and in words for people."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.uncertainty.region import TrainedRegion
from hyperpose_ros.common.fix import Fix, PoseWithCovariance, View
from hyperpose_ros.fusion.motion_gate import GateAnswer, GateSettings, MotionGate
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
"""What a covariance that nobody has measured, so large that it contradicts nothing, leaves of the checks."""

MARGIN_SPACINGS = 5.0
MARGIN_DEVIATIONS = 3.0
"""The region's margin where the user gives none: spacings of the trained positions plus deviations of the
pose. A robot does not drive exactly where the images were taken, and the estimate errs even where it does."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the judge says of a fix.

    Attributes:
        fix: what may be published: the fix, or one with inflated covariances; None where nothing may.
        causes: what speaks against the fix, a word each, the gravest first; empty where it is trusted.
        reason: the same in words.
        values: what was looked at, by name.
    """

    fix: Fix | None
    causes: tuple[str, ...] = ()
    reason: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against the fix."""
        return not self.causes


class Judge:
    """Looks at one fix after the other; safe to use from any thread.

    Attributes:
        history: the latest verdicts, for diagnostics.
    """

    def __init__(
        self, checkpoint: Checkpoint, parameters: Callable[[], LocalizerParameters], odometry: Odometry | None
    ) -> None:
        """Build a judge that has seen no fix yet.

        Args:
            checkpoint: the network's, for its trained region and whether its covariance was measured.
            parameters: the node's parameters now.
            odometry: what the robot has driven; None where that is not known, and then jumps are not seen.
        """
        self._parameters = parameters
        self._odometry = odometry
        self._gate = MotionGate()
        self._verified_gate = MotionGate()
        self._lock = threading.Lock()
        self.history = TrustHistory()
        self.adopt(checkpoint)

    def adopt(self, checkpoint: Checkpoint) -> None:
        """Judge the fixes of another network from now on; what the last one said says nothing of it."""
        with self._lock:
            self._region: TrainedRegion | None = checkpoint.region
            self._is_measured = checkpoint.uncertainty.is_measured
        self.reset()

    def reset(self) -> None:
        """Forget every fix: time has jumped back, or the robot was moved."""
        with self._lock:
            self._gate.reset()
            self._verified_gate.reset()
        self.history.clear()

    def judge(self, fix: Fix) -> Verdict:
        """Judge a fix, and remember it where it can be trusted."""
        with self._lock:
            verdict = self._judge(fix, self._parameters())
        self.history.add(verdict.causes)
        return verdict

    def judge_verified(self, fix: Fix, leads: bool, starts_anew: bool = False) -> Verdict:
        """Judge a fix that a landmark map has verified, which may be older than the last one of the network.

        It is held against the last verified fix alone: the network's say less than it does.

        Args:
            fix: the fix.
            leads: whether the network's next fixes are held against this one where it can be trusted.
            starts_anew: whether others that agree with it have found the robot elsewhere than the last
                verified fix would have it.
        """
        with self._lock:
            parameters = self._parameters()
            if starts_anew:
                self._verified_gate.reset()
            verdict = _unusable(fix)
            if verdict is None:
                verdict = self._sum_up(fix, {}, {"covariance": "measured"}, self._verified_gate, parameters)
            odometry = None if self._odometry is None else self._odometry.pose_at(fix.stamp_ns)
            if verdict.trusted and fix.base is not None and odometry is not None:
                for gate in (self._verified_gate, self._gate) if leads else (self._verified_gate,):
                    gate.trust(fix.base, odometry)
        return verdict

    def foretell(self, stamp_ns: int) -> PoseWithCovariance | None:
        """Return the last verified body in the map carried on by odometry to a stamp, nanoseconds.

        Returns:
            None where none was verified, or what was driven since is not known.
        """
        with self._lock:
            odometry = None if self._odometry is None else self._odometry.pose_at(stamp_ns)
            if odometry is None:
                return None
            return self._verified_gate.foretell(odometry, self._parameters().odometry_noise)

    def _judge(self, fix: Fix, parameters: LocalizerParameters) -> Verdict:
        unusable = _unusable(fix)
        if unusable is not None:
            return unusable
        reasons, values = self._look_at_views(fix, parameters)
        values["covariance"] = self._describe_covariance()
        return self._sum_up(fix, reasons, values, self._gate, parameters)

    def _sum_up(
        self,
        fix: Fix,
        reasons: dict[str, str],
        values: dict[str, str],
        gate: MotionGate,
        parameters: LocalizerParameters,
    ) -> Verdict:
        """Add to what its views say what the cameras together and the motion say of a fix."""
        if fix.disagreement:
            reasons = {DISAGREEMENT: fix.disagreement, **reasons}
        if fix.left_out:
            values["cameras_left_out"] = ", ".join(fix.left_out)
        answer = self._ask_gate(gate, fix, parameters, is_sound=not reasons, values=values)
        if answer is not None and not answer.passes:
            reasons[JUMP] = (
                f"{answer.innovation_m:.2f} m from where odometry has it, at a Mahalanobis distance of "
                f"{answer.mahalanobis:.1f}, beyond the gate of probability {parameters.jump_gate:g}"
            )
        publishable = fix if not reasons else None
        if reasons and parameters.on_invalid == "inflate":
            publishable = inflated(fix, parameters.inflation)
        return Verdict(publishable, tuple(reasons), "; ".join(reasons.values()), values)

    def _look_at_views(
        self, fix: Fix, parameters: LocalizerParameters
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return what speaks against the views, by cause, and what was looked at.

        Views at fault count as the fusion of cameras counts them: as long as they are fewer than the others,
        the others decide.
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

    def _ask_gate(
        self,
        gate: MotionGate,
        fix: Fix,
        parameters: LocalizerParameters,
        is_sound: bool,
        values: dict[str, str],
    ) -> GateAnswer | None:
        """Ask a motion gate, where it can say anything, and add to the values what it said or why not."""
        if parameters.jump_gate == 0 or self._odometry is None or fix.base is None:
            # Without a gap-free record of the way driven, the last trusted fix says nothing later on.
            gate.reset()
            values["jump"] = "off" if parameters.jump_gate == 0 else self._what_is_missing()
            return None
        odometry = self._odometry.pose_at(fix.stamp_ns)
        if odometry is None:
            values["jump"] = "not checked: no odometry at the image's stamp"
            return None
        settings = GateSettings(parameters.jump_gate, parameters.odometry_noise, parameters.jump_recovery)
        answer = gate.judge(fix.base, odometry, settings, is_sound)
        values["jump"] = _describe_answer(answer)
        if answer.mahalanobis is not None:
            values["jump_mahalanobis"] = f"{answer.mahalanobis:.3f}"
            values["jump_m"] = f"{answer.innovation_m:.3f}"
        return answer

    def _what_is_missing(self) -> str:
        missing = "odometry" if self._odometry is None else "the camera's extrinsics"
        return f"not checked: {missing} not known"

    def _describe_covariance(self) -> str:
        return "measured" if self._is_measured else f"not measured: {UNMEASURED_CHECKS}"


def _unusable(fix: Fix) -> Verdict | None:
    """Return the verdict on a fix that has no pose; None where it has one."""
    if fix.published is None and any(view.in_map is not None for view in fix.views):
        return Verdict(None, (NO_EXTRINSICS,), "where the camera is on the robot is not known")
    if fix.published is None or not _is_usable(fix.published.covariance):
        return Verdict(None, (NOT_FINITE,), "the network's output is not finite")
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
    """Where a view says that its camera is, against where the network was trained.

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
    """Return what speaks against a view, in words by cause."""
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


def _describe_answer(answer: GateAnswer) -> str:
    if answer.mahalanobis is None:
        return "nothing to compare with yet"
    if answer.recovered:
        return "a new track: the latest fixes agree with one another"
    return "none" if answer.passes else "yes"


def _is_usable(covariance: Array) -> bool:
    """Tell whether a covariance [6, 6] is finite and positive definite."""
    if not np.isfinite(covariance).all():
        return False
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return True
