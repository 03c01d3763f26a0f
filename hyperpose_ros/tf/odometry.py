"""Where odometry says the robot's body is, at an image's stamp: from a topic, or from TF."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.frame_chains import frame_name
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.common.conversions import pose_from_message, stamp_to_nanoseconds
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.tf.pose_buffer import FrameHistory, PoseBuffer
from hyperpose_ros.tf.tree import FrameTree

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
    """Odometry from /tf, as the tree of frames hears it."""

    def __init__(self, tree: FrameTree, odom_frame: str, base_frame: str) -> None:
        """Have the tree keep the poses of the frames between the two.

        Raises:
            HyperPoseError: tf2_msgs is not installed.
        """
        if find_spec("tf2_msgs") is None:
            raise HyperPoseError(
                "odometry_source tf needs tf2_msgs, which is not installed; odometry_source topic works "
                "without it"
            )
        self._history = FrameHistory(tree, frame_name(odom_frame), frame_name(base_frame))
        self._name = f"{frame_name(odom_frame)} -> {frame_name(base_frame)}"
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why the latest look-up failed."""
        return self._problem

    def hear(self, transform: TransformStamped) -> None:
        """Take in a transform of /tf that the tree has heard already."""
        self._history.hear(transform)

    def pose_at(self, stamp_ns: int) -> Pose | None:
        """Return base_frame in odom_frame at a stamp, None where that is not known now; never waits."""
        pose = self._history.pose_at(stamp_ns)
        self._problem = ""
        if pose is None:
            known = self._history.newest_ns()
            self._problem = f"odometry {self._name} is not on /tf"
            if known is not None:
                self._problem += f" at {stamp_ns} ns: its newest pose is of {known} ns"
        return pose

    def destroy(self) -> None:
        """Do nothing: the tree's listener is whose it was."""


def create_odometry(
    node: Node, values: LocalizerParameters, tree: FrameTree, warnings: ThrottledWarnings
) -> TopicOdometry | TfOdometry | None:
    """Create the odometry that the parameter odometry_source names; None where it is none.

    Raises:
        HyperPoseError: odometry_source is tf, and tf2_msgs is not installed.
    """
    if values.odometry_source == "topic":
        return TopicOdometry(node, values.odom_frame, values.base_frame, warnings)
    if values.odometry_source == "tf":
        return TfOdometry(tree, values.odom_frame, values.base_frame)
    return None
