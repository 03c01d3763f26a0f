"""`~/status`: whether a fix can be trusted, as a diagnostic_msgs/DiagnosticArray."""

from __future__ import annotations

from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from hyperpose_ros.common.conversions import stamp_from_nanoseconds
from hyperpose_ros.fusion.validity import Verdict


def status_array(name: str, stamp_ns: int, verdict: Verdict, checkpoint: Path) -> DiagnosticArray:
    """Return the message: one status, OK where the fix is trusted, else WARN with the reasons.

    Args:
        name: the status' name.
        stamp_ns: the images' stamp in nanoseconds.
        verdict: what the judge says of the fix.
        checkpoint: the file of the network that it comes from.
    """
    status = DiagnosticStatus(
        level=DiagnosticStatus.OK if verdict.trusted else DiagnosticStatus.WARN,
        name=name,
        message="trusted" if verdict.trusted else f"not trusted: {verdict.reason}",
    )
    values = {
        "outcome": _outcome(verdict),
        "causes": ", ".join(verdict.causes),
        "checkpoint": str(checkpoint),
        **verdict.values,
    }
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp_from_nanoseconds(stamp_ns)
    return array


def _outcome(verdict: Verdict) -> str:
    if verdict.fix is None:
        return "withheld"
    return "published" if verdict.trusted else "published with inflated covariance"
