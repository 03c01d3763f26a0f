"""The node's state as a diagnostic_msgs/DiagnosticArray: counters, latencies, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from hyperpose_ros.counters import FrameCounts, StageLatency
from hyperpose_ros.subscription import TopicHealth

PERIOD_S = 1.0


@dataclass(frozen=True)
class NodeHealth:
    """What diagnostics are made of.

    Attributes:
        state: the lifecycle state's name.
        counts: what became of the frames.
        latencies: how long the latest ones took, by stage.
        topic: the image subscription; None where there is none.
        seconds_without_image: since the latest message, or since activation.
        image_timeout: seconds without an image that are too many.
    """

    state: str
    counts: FrameCounts
    latencies: tuple[StageLatency, ...]
    topic: TopicHealth | None
    seconds_without_image: float
    image_timeout: float


def diagnostic_array(name: str, stamp: Time, health: NodeHealth) -> DiagnosticArray:
    """Return the message.

    Args:
        name: the status' name.
        stamp: the message's stamp.
        health: the state to describe.
    """
    level, summary = _verdict(health)
    status = DiagnosticStatus(level=level, name=name, message=summary, values=_values(health))
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array


def _verdict(health: NodeHealth) -> tuple[bytes, str]:
    if health.topic is None:
        return DiagnosticStatus.OK, health.state
    if health.topic.problem:
        return DiagnosticStatus.WARN, health.topic.problem
    if health.seconds_without_image > health.image_timeout:
        return (
            DiagnosticStatus.WARN,
            f"no image on {health.topic.topic} for {health.seconds_without_image:.0f} s",
        )
    return DiagnosticStatus.OK, "localizing"


def _values(health: NodeHealth) -> list[KeyValue]:
    counts = health.counts
    values = {"state": health.state, "received": str(counts.received), "published": str(counts.published)}
    for outcome, by_cause in (
        ("withheld", counts.withheld),
        ("refused", counts.refused),
        ("dropped", counts.dropped),
    ):
        values.update(_causes(outcome, by_cause))
    values["in_flight"] = str(counts.in_flight)
    values["time_jumps"] = str(counts.time_jumps)
    if health.topic is not None:
        values["image_topic"] = health.topic.topic
        values["image_publishers"] = str(health.topic.publishers)
        values["image_reliability"] = health.topic.reliability
    for latency in health.latencies:
        values[f"latency.{latency.stage}.median_ms"] = f"{latency.median_ms:.3f}"
        values[f"latency.{latency.stage}.p95_ms"] = f"{latency.p95_ms:.3f}"
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def _causes(outcome: str, by_cause: Mapping[str, int]) -> dict[str, str]:
    values = {outcome: str(sum(by_cause.values()))}
    values.update({f"{outcome}.{cause}": str(count) for cause, count in sorted(by_cause.items())})
    return values
