"""`initialpose`: where the robot is, for those who need to be told once where to begin."""

from __future__ import annotations

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

from hyperpose_ros.common.conversions import covariance_to_message, pose_to_message, stamp_from_nanoseconds
from hyperpose_ros.common.fix import PoseWithCovariance

_TOPIC = "initialpose"
# One for each listener that is slow to take it; nobody wants an older one.
_DEPTH = 1


class InitialPosePublisher:
    """Publishes geometry_msgs/PoseWithCovarianceStamped of the body on the relative topic `initialpose`.

    That is the topic that AMCL, SLAM Toolbox and robot_localization (`set_pose`, remapped) begin anew from.
    """

    def __init__(self, node: LifecycleNode, map_frame: str) -> None:
        """Create the topic on a node; poses are in `map_frame`."""
        self._node = node
        self._map_frame = map_frame
        self._publisher = node.create_lifecycle_publisher(
            PoseWithCovarianceStamped, _TOPIC, QoSProfile(depth=_DEPTH)
        )

    def listeners(self) -> int:
        """Return how many listen."""
        return int(self._publisher.get_subscription_count())

    def send(self, stamp_ns: int, body: PoseWithCovariance) -> int:
        """Publish where the body was at an image's stamp, and return to how many."""
        message = PoseWithCovarianceStamped()
        message.header.stamp = stamp_from_nanoseconds(stamp_ns)
        message.header.frame_id = self._map_frame
        message.pose.pose = pose_to_message(body.pose)
        message.pose.covariance = covariance_to_message(body.covariance)
        listeners = self.listeners()
        self._publisher.publish(message)
        return listeners

    def describe(self, listeners: int) -> str:
        """Say to whom a pose was sent."""
        topic = self._publisher.topic_name
        if not listeners:
            return f"sent on {topic}, where nobody listens"
        return f"sent on {topic} to {listeners} subscriber{'s' if listeners > 1 else ''}"

    def destroy(self) -> None:
        """Take the topic down."""
        self._node.destroy_lifecycle_publisher(self._publisher)
