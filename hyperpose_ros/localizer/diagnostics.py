"""The node's state on /diagnostics: counters, rate, latencies, memory, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import getpagesize
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from hyperpose_ros.fusion.tracking import Tracking
from hyperpose_ros.fusion.trust_history import TrustSummary
from hyperpose_ros.images.counters import FrameCounts, RecentFrames, StageLatency
from hyperpose_ros.images.subscription import TopicHealth
from hyperpose_ros.tf.frames import TransformHealth

if TYPE_CHECKING:  # what the node imports once it is configured
    from hyperpose_ros.localizer.estimator_slot import DeviceMemory
    from hyperpose_ros.localizer.refinement import RefinementHealth

_NAME = "localization"
_PERIOD_S = 1.0


@dataclass(frozen=True)
class SessionHealth:
    """What diagnostics say of a configured node.

    Attributes:
        checkpoint: the file of the network in use.
        architecture: the network's.
        device: where it runs.
        device_memory: what the process holds of a GPU's memory; None on the CPU.
        is_enabled: whether images are answered.
        topics: the image subscriptions, one a camera; none while the node is not active.
        problems: what else is wrong with its topics, and what to do, a sentence each.
        seconds_without_image: since the latest message, or since activation.
        trust: how many of the latest fixes could be trusted.
        transform: how it stands with the transform on /tf.
        tracking: whether the robot knows where it is.
        lost: why not, a sentence; empty where it does, or nothing was seen yet.
        refinement: how it stands with the landmark map; None where refinement is off.
    """

    checkpoint: str
    architecture: str
    device: str
    device_memory: DeviceMemory | None
    is_enabled: bool
    topics: tuple[TopicHealth, ...]
    problems: tuple[str, ...]
    seconds_without_image: float
    trust: TrustSummary
    transform: TransformHealth
    tracking: Tracking
    lost: str
    refinement: RefinementHealth | None = None


@dataclass(frozen=True)
class NodeHealth:
    """What diagnostics are made of.

    Attributes:
        state: the lifecycle state's name.
        counts: what became of the frames.
        rate_hz: poses a second, lately.
        latencies: how long the latest ones took, by stage.
        image_timeout: seconds without an image that are too many.
        recent: what became of the latest frames.
        session: what is configured; None where nothing is.
    """

    state: str
    counts: FrameCounts
    rate_hz: float
    latencies: tuple[StageLatency, ...]
    image_timeout: float
    recent: RecentFrames
    session: SessionHealth | None

    def problems(self) -> tuple[str, ...]:
        """Say what is wrong, and what to do, a sentence each; nothing where all is well."""
        session = self.session
        if session is None or not session.topics:
            return ()
        problems = [topic.problem for topic in session.topics if topic.problem]
        if not problems and session.seconds_without_image > self.image_timeout:
            topics = ", ".join(topic.topic for topic in session.topics)
            silence = f"no image on {topics} for {session.seconds_without_image:.0f} s"
            problems.append(f"{silence}, though there is a publisher: see that it sends (ros2 topic hz)")
        problems += session.problems
        if not session.is_enabled:
            problems.append("disabled: every image is dropped; call ~/enable with data true to go on")
        if session.lost:
            problems.append(session.lost)
        if session.trust.problem or self.recent.problem:
            problems.append(session.trust.problem or self.recent.problem)
        if session.transform.problem:
            problems.append(session.transform.problem)
        if session.refinement is not None:
            problems += _refinement_problems(session.refinement)
        return tuple(problems)


class DiagnosticsPublisher:
    """Publishes a node's health on /diagnostics, as diagnostic_updater does, under its fully qualified name.

    By that name several robots' localizers are told apart, which the updater's own names do not allow.
    """

    def __init__(self, node: Node, health: Callable[[], NodeHealth]) -> None:
        """Begin, and go on until the node is destroyed.

        Args:
            node: the node that publishes.
            health: returns its health now.
        """
        self._node = node
        self._health = health
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # On a clock of its own: diagnostics must also come while simulated time stands still.
        node.create_timer(_PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _publish(self) -> None:
        array = DiagnosticArray(status=[self._status()])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _status(self) -> DiagnosticStatus:
        health = self._health()
        name = self._node.get_fully_qualified_name()
        status = DiagnosticStatus(name=f"{name.lstrip('/')}: {_NAME}", hardware_id=name)
        problems = health.problems()
        status.level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
        status.message = "; ".join(problems) or ("localizing" if health.state == "active" else health.state)
        status.values = [KeyValue(key=key, value=value) for key, value in diagnostic_values(health).items()]
        return status


def diagnostic_values(health: NodeHealth) -> dict[str, str]:
    """Return the values of the status, by key, in their order."""
    counts = health.counts
    values = {"state": health.state}
    if health.session is not None:
        values |= _session_values(health.session)
    values |= {
        "rate_hz": f"{health.rate_hz:.2f}",
        "received": str(counts.received),
        "published": str(counts.published),
        **_causes("withheld", counts.withheld),
        **_causes("refused", counts.refused),
        **_causes("dropped", counts.dropped),
        "in_flight": str(counts.in_flight),
        "time_jumps": str(counts.time_jumps),
    }
    values |= _latencies("latency", health.latencies)
    if health.session is not None and health.session.refinement is not None:
        values |= _refinement_values(health.session.refinement)
    values["memory.process_resident_mb"] = f"{_resident_bytes() / 1e6:.1f}"
    return values


def _session_values(session: SessionHealth) -> dict[str, str]:
    values = {
        "checkpoint": session.checkpoint,
        "architecture": session.architecture,
        "device": session.device,
        "enabled": str(session.is_enabled).lower(),
        "tracking": session.tracking.value,
        "latest_poses": str(session.trust.fixes),
        "latest_poses.untrusted": str(session.trust.untrusted),
        "transform": session.transform.name,
        "transforms_sent": str(session.transform.sent),
        **_causes("transforms_missing", session.transform.missing),
    }
    if session.topics:
        values["image_topic"] = ", ".join(topic.topic for topic in session.topics)
        values["image_publishers"] = ", ".join(str(topic.publishers) for topic in session.topics)
        values["image_reliability"] = ", ".join(topic.reliability for topic in session.topics)
    if session.device_memory is not None:
        values["memory.device_allocated_mb"] = f"{session.device_memory.allocated_bytes / 1e6:.1f}"
        values["memory.device_reserved_mb"] = f"{session.device_memory.reserved_bytes / 1e6:.1f}"
    return values


def _refinement_values(refinement: RefinementHealth) -> dict[str, str]:
    """Return its values: offered = taken + skipped + in_flight, taken = verified + unverified + failed."""
    counts = refinement.counts
    unverified, failed = sum(counts.withheld.values()), sum(counts.refused.values())
    return {
        "refinement": refinement.mode,
        "map": "none" if refinement.map is None else str(refinement.map),
        "refiner.offered": str(counts.received),
        "refiner.taken": str(counts.published + unverified + failed),
        "refiner.verified": str(counts.published),
        **_causes("refiner.unverified", counts.withheld),
        **_causes("refiner.failed", counts.refused),
        **_causes("refiner.skipped", counts.dropped),
        "refiner.in_flight": str(counts.in_flight),
        **_latencies("refiner.latency", refinement.latencies),
    }


def _refinement_problems(refinement: RefinementHealth) -> list[str]:
    problems = [refinement.problem] if refinement.problem else []
    trust = refinement.trust
    # The summary's own sentence speaks of poses; the map's silence is another matter.
    if trust.problem:
        worst = max(trust.causes, key=lambda cause: trust.causes[cause])
        problems.append(
            f"the map verifies no pose of {trust.untrusted} of the latest {trust.fixes} images, of "
            f"most of them for {worst}"
        )
    return problems


def _latencies(prefix: str, latencies: Sequence[StageLatency]) -> dict[str, str]:
    values = {}
    for latency in latencies:
        values[f"{prefix}.{latency.stage}.median_ms"] = f"{latency.median_ms:.3f}"
        values[f"{prefix}.{latency.stage}.p95_ms"] = f"{latency.p95_ms:.3f}"
    return values


def _causes(outcome: str, by_cause: Mapping[str, int]) -> dict[str, str]:
    values = {outcome: str(sum(by_cause.values()))}
    values.update({f"{outcome}.{cause}": str(count) for cause, count in sorted(by_cause.items())})
    return values


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
