"""`~/status`: what a pose is and whether it can be trusted, as a diagnostic_msgs/DiagnosticArray."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from hyperpose_ros.common.conversions import stamp_from_nanoseconds
from hyperpose_ros.fusion.tracking import Tracking
from hyperpose_ros.fusion.validity import ValidationResult
from hyperpose_ros.localizer.map_localizer import NetworkError, RefinedFrame, network_error
from hyperpose_ros.localizer.network_localizer import Localization

_VERIFIED = "verified"


def network_status(name: str, localization: Localization, tracking: Tracking) -> DiagnosticArray:
    """Return the message for the network's answer: OK where its fix is trusted, else WARN with reasons.

    Args:
        name: the status' name.
        localization: the network's answer.
        tracking: whether the robot knows where it is.
    """
    validation = localization.validation
    values = {
        "source": "network",
        "verified": "false",
        "tracking": tracking.value,
        **_outcome_values(validation),
        "age_s": _age_s(localization),
        "checkpoint": str(localization.loaded.path),
        **validation.values,
    }
    message = "trusted" if validation.trusted else f"not trusted: {validation.reason}"
    return _array(name, localization.fix.stamp_ns, validation.trusted, message, values)


def map_status(
    name: str,
    localization: Localization,
    frames: Sequence[RefinedFrame],
    validation: ValidationResult | None,
    leads: bool,
    tracking: Tracking,
) -> DiagnosticArray:
    """Return the message for the landmark map's answer.

    OK where it verifies a pose that is trusted and, unless that is the node's pose, confirms the network's.

    Args:
        name: the status' name.
        localization: the network's answer.
        frames: the map's answers; several cameras' values stand side by side.
        validation: of the verified ones; None if there are none.
        leads: whether the node's pose is the map's.
        tracking: whether the robot knows where it is.
    """
    verified = [entry for entry in frames if entry.verified]
    errors = [error for entry in verified if (error := network_error(entry)) is not None]
    confirmed = bool(errors) and all(error.is_expected for error in errors)
    loaded_map = localization.loaded.map
    values = {
        "source": "map",
        "verified": str(bool(verified)).lower(),
        "tracking": tracking.value,
        "network_confirmed": str(confirmed).lower(),
        **(
            {"outcome": "withheld", "causes": "not_verified"}
            if validation is None
            else _outcome_values(validation)
        ),
        "age_s": _age_s(localization),
        "map": "" if loaded_map is None else str(loaded_map.path),
        **_found(frames),
        **_worst(errors),
        **({} if validation is None else validation.values),
    }
    # Where several cameras see, those that are verified make the pose.
    stamp_ns = max(entry.decoded.frame.stamp_ns for entry in verified or frames)
    message = _unverified(frames) if validation is None else _verified(validation, errors, confirmed or leads)
    return _array(name, stamp_ns, message == _VERIFIED, message, values)


def scene_status(name: str, stamp_ns: int, scene: str, probability: float | None) -> DiagnosticArray:
    """Return the message for the scene that the network chose, and the probability that it gave it."""
    values = {"scene": scene, "probability": "" if probability is None else f"{probability:.6f}"}
    return _array(name, stamp_ns, is_well=True, message=scene, values=values)


def _unverified(frames: Sequence[RefinedFrame]) -> str:
    reasons = (
        entry.failure
        if entry.refinement is None or entry.refinement.reason is None
        else entry.refinement.reason.value
        for entry in frames
    )
    return f"not verified: {'; '.join(dict.fromkeys(reasons))}"


def _verified(validation: ValidationResult, errors: Sequence[NetworkError], is_well: bool) -> str:
    if not validation.trusted:
        return f"verified, but not trusted: {validation.reason}"
    if is_well or not errors:
        return _VERIFIED
    worst = max(errors, key=lambda error: error.metres)
    return (
        f"the map contradicts the network: {worst.metres:.2f} m and {worst.degrees:.1f} degrees apart, more "
        "than its covariance allows"
    )


def _found(frames: Sequence[RefinedFrame]) -> dict[str, str]:
    """Return what the map found, one value a camera; nothing where it could not be asked."""
    answers = [entry.refinement for entry in frames if entry.refinement is not None]
    columns = {
        "inliers": [str(answer.inliers) for answer in answers],
        "inlier_ratio": [f"{answer.inlier_ratio:.3f}" for answer in answers],
        "spread": [f"{answer.spread:.3f}" for answer in answers],
        "found_by": ["" if answer.source is None else answer.source.value for answer in answers],
    }
    return {key: ", ".join(column) for key, column in columns.items()}


def _worst(errors: Sequence[NetworkError]) -> dict[str, str]:
    """Return how far off the network's poses are by what is verified, the worst camera's."""
    if not errors:
        return {}
    return {
        "network_error_m": f"{max(error.metres for error in errors):.3f}",
        "network_error_deg": f"{max(error.degrees for error in errors):.3f}",
    }


def _outcome_values(validation: ValidationResult) -> dict[str, str]:
    return {"outcome": _outcome(validation), "causes": ", ".join(validation.causes)}


def _outcome(validation: ValidationResult) -> str:
    if validation.fix is None:
        return "withheld"
    return "published" if validation.trusted else "published with inflated covariance"


def _age_s(localization: Localization) -> str:
    """Return how long ago the first of the images was received."""
    return f"{(time.monotonic_ns() - localization.received_ns) / 1e9:.3f}"


def _array(
    name: str, stamp_ns: int, is_well: bool, message: str, values: Mapping[str, str]
) -> DiagnosticArray:
    level = DiagnosticStatus.OK if is_well else DiagnosticStatus.WARN
    status = DiagnosticStatus(level=level, name=name, message=message)
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp_from_nanoseconds(stamp_ns)
    return array
