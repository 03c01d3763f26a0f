"""Where odometry says the robot's body is, at an image's stamp: from a topic, or from TF."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from typing import Protocol

from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.time import Time

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.frame_chains import frame_name
from hyperpose_core.geometry.poses import Pose, slerp
from hyperpose_ros.common.conversions import pose_from_message, stamp_to_nanoseconds, transform_from_message
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings
from hyperpose_ros.parameters.localizer import LocalizerParameters

LONGEST_EXTRAPOLATION_NS = 100_000_000
"""How far behind the newest odometry a pose may lie: its last motion is then taken to go on."""

LONGEST_GAP_NS = 500_000_000
"""How far apart two poses may be with one between them: beyond that the motion between them is a guess."""

_KEPT_NS = 10_000_000_000  # as long as a tf2 buffer keeps its transforms
_MOST_POSES = 10_000
_LATE_NS = 500_000_000  # a stamp that goes back by less is a message out of order, by more a jump in time
_SPEED_OVER_NS = 50_000_000
_DEPTH = 100


class Odometry(Protocol):
    """The body frame in the odometry's frame at a stamp."""

    @property
    def problem(self) -> str:
        """Why there can be none, and what to do; empty where nothing is known to be wrong."""

    def pose_at(self, stamp_ns: int) -> Pose | None:
        """Return base_frame in odom_frame at a stamp, None where that is not known now; never waits."""

    def destroy(self) -> None:
        """Unsubscribe."""


class PoseBuffer:
    """A moving frame's poses of the latest 10 s, at most 10,000 of them; safe to use from any thread."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._stamps_ns: list[int] = []
        self._poses: list[Pose] = []

    def add(self, stamp_ns: int, pose: Pose) -> None:
        """Add the newest pose.

        A stamp that went back by more than half a second is a jump in time, and what came before it is
        forgotten; one that went back by less, or not on, is left out.
        """
        with self._lock:
            if self._stamps_ns and stamp_ns <= self._stamps_ns[-1]:
                if self._stamps_ns[-1] - stamp_ns <= _LATE_NS:
                    return
                self._stamps_ns.clear()
                self._poses.clear()
            self._stamps_ns.append(stamp_ns)
            self._poses.append(pose)
            # In batches, since taking from the front of a list moves the rest.
            if self._stamps_ns[0] < stamp_ns - 2 * _KEPT_NS or len(self._stamps_ns) > 2 * _MOST_POSES:
                first = max(
                    bisect_left(self._stamps_ns, stamp_ns - _KEPT_NS), len(self._stamps_ns) - _MOST_POSES
                )
                del self._stamps_ns[:first]
                del self._poses[:first]

    def at(self, stamp_ns: int) -> Pose | None:
        """Return the pose at a stamp: linear in position, slerp in orientation.

        Up to `LONGEST_EXTRAPOLATION_NS` behind the newest pose the latest motion goes on.

        Returns:
            None before the oldest pose, too far behind the newest, or between two that are more than
            `LONGEST_GAP_NS` apart.
        """
        with self._lock:
            stamps = self._stamps_ns
            after = bisect_left(stamps, stamp_ns)
            if after < len(stamps) and stamps[after] == stamp_ns:
                return self._poses[after]
            if after == len(stamps):
                if not stamps or stamp_ns - stamps[-1] > LONGEST_EXTRAPOLATION_NS:
                    return None
                after -= 1
                # Two poses of almost one time would make a wild speed of their rounding.
                before = bisect_right(stamps, stamps[-1] - _SPEED_OVER_NS) - 1
            else:
                before = after - 1
            if before < 0 or stamps[after] - stamps[before] > LONGEST_GAP_NS:
                return None
            start, end = self._poses[before], self._poses[after]
            fraction = (stamp_ns - stamps[before]) / (stamps[after] - stamps[before])
        position = start.position + fraction * (end.position - start.position)
        return Pose(position, slerp(start.orientation, end.orientation, fraction))


class TopicOdometry:
    """Odometry from nav_msgs/Odometry on the relative topic `odometry`."""

    def __init__(self, node: Node, odom_frame: str, base_frame: str, warnings: ThrottledWarnings) -> None:
        """Subscribe.

        Args:
            node: the node that subscribes.
            odom_frame: what the messages' header.frame_id must be.
            base_frame: what their child_frame_id must be.
            warnings: where messages that cannot be used are complained of.
        """
        self._node = node
        self._frames = (frame_name(odom_frame), frame_name(base_frame))
        self._warnings = warnings
        self._buffer = PoseBuffer()
        self._problem = ""
        # Best effort takes what publishers of either kind send.
        qos = QoSProfile(depth=_DEPTH, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        self._subscription = node.create_subscription(
            OdometryMessage,
            "odometry",
            self._on_message,
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    @property
    def problem(self) -> str:
        """What is wrong with the latest message; that nobody publishes, where nobody does."""
        topic = self._subscription.topic_name
        if not self._node.count_publishers(topic):
            return f"no publisher on {topic}, where odometry_source topic takes nav_msgs/Odometry from"
        return self._problem

    def pose_at(self, stamp_ns: int) -> Pose | None:
        """Return base_frame in odom_frame at a stamp, None where that is not known now; never waits."""
        return self._buffer.at(stamp_ns)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _on_message(self, message: OdometryMessage) -> None:
        self._problem = self._problem_of(message)
        if self._problem:
            self._warnings.warn("odometry", self._problem)
            return
        try:
            pose = pose_from_message(message.pose.pose)
        except ValueError as error:
            self._problem = f"odometry on {self._subscription.topic_name} is not used: {error}"
            self._warnings.warn("odometry", self._problem)
            return
        self._buffer.add(stamp_to_nanoseconds(message.header.stamp), pose)

    def _problem_of(self, message: OdometryMessage) -> str:
        frames = (frame_name(message.header.frame_id), frame_name(message.child_frame_id))
        if frames == self._frames:
            return ""
        return (
            f"odometry on {self._subscription.topic_name} is not used: it says {frames[0]!r} -> "
            f"{frames[1]!r}, expected is {self._frames[0]!r} -> {self._frames[1]!r} (header.frame_id -> "
            "child_frame_id); set odom_frame and base_frame to what it says, or publish it in these frames"
        )


class TfOdometry:
    """Odometry from /tf, through a tf2_ros buffer."""

    def __init__(self, node: Node, odom_frame: str, base_frame: str) -> None:
        """Listen.

        Raises:
            HyperPoseError: tf2_ros is not installed.
        """
        try:
            from tf2_ros import Buffer, TransformException, TransformListener
        except ImportError as error:
            raise HyperPoseError(
                "odometry_source tf needs tf2_ros, which is not installed; odometry_source topic works "
                "without it"
            ) from error
        self._frames = (frame_name(odom_frame), frame_name(base_frame))
        self._unknown = TransformException
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)
        self._newest_ns = 0
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why the latest lookup failed."""
        return self._problem

    def pose_at(self, stamp_ns: int) -> Pose | None:
        """Return base_frame in odom_frame at a stamp, None where that is not known now; never waits."""
        if stamp_ns < self._newest_ns - _LATE_NS:
            # Time has jumped back: tf2 would refuse everything that is older than what it has.
            self._buffer.clear()
            self._newest_ns = 0
        self._newest_ns = max(stamp_ns, self._newest_ns)
        try:
            # Without a timeout, which is zero then.
            found = self._buffer.lookup_transform(*self._frames, Time(nanoseconds=stamp_ns))
            pose = transform_from_message(found)
        except (self._unknown, ValueError) as error:
            self._problem = f"odometry {self._frames[0]} -> {self._frames[1]} on /tf: {error}"
            return None
        self._problem = ""
        return pose

    def destroy(self) -> None:
        """Unsubscribe."""
        self._listener.unregister()


def create_odometry(
    node: Node, values: LocalizerParameters, warnings: ThrottledWarnings
) -> TopicOdometry | TfOdometry | None:
    """Create the odometry that the parameter odometry_source names; None where it is none.

    Raises:
        HyperPoseError: odometry_source is tf, and tf2_ros is not installed.
    """
    if values.odometry_source == "topic":
        return TopicOdometry(node, values.odom_frame, values.base_frame, warnings)
    if values.odometry_source == "tf":
        return TfOdometry(node, values.odom_frame, values.base_frame)
    return None
