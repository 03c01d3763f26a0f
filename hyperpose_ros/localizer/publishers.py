"""What the node says: pose, pose with covariance, path, scene and transform of one estimate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath

from diagnostic_msgs.msg import DiagnosticArray, KeyValue
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from hyperpose_ros.common.conversions import (
    covariance_to_message,
    pose_to_message,
    stamp_from_nanoseconds,
)
from hyperpose_ros.common.fix import Fix
from hyperpose_ros.common.topic_qos import unserved_subscribers
from hyperpose_ros.fusion.validity import Verdict
from hyperpose_ros.localizer.status import status_array
from hyperpose_ros.tf.frames import RobotFrames

_DEPTH = 10
_OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)


class BoundedPath:
    """The latest poses as one path message, which is added to and not built anew."""

    def __init__(self, frame: str) -> None:
        """Start empty, in a frame."""
        self.message = Path()
        self.message.header.frame_id = frame

    def append(self, pose: PoseStamped, length: int) -> None:
        """Add a pose and forget all but the latest `length`."""
        poses = self.message.poses
        poses.append(pose)
        if len(poses) > length:
            del poses[: len(poses) - length]
        self.message.header.stamp = pose.header.stamp

    def clear(self) -> None:
        """Forget all poses."""
        self.message.poses.clear()


class EstimatePublishers:
    """The localizer's output topics, from configuration to cleanup.

    `~/pose` (geometry_msgs/PoseStamped) and `~/pose_with_covariance` (PoseWithCovarianceStamped): the
    camera's optical frame in the map. `~/path` (nav_msgs/Path): the latest trusted ones, sent where somebody
    listens and no image waits. `~/scene` (diagnostic_msgs/KeyValue), where the network knows several: key is
    the scene's name, value its probability. `~/status` (DiagnosticArray): for every fix, withheld ones too,
    whether it can be trusted and why. Every stamp is the image's.
    """

    def __init__(
        self,
        node: LifecycleNode,
        frames: RobotFrames,
        path_length: Callable[[], int],
    ) -> None:
        """Create the topics.

        Args:
            node: the node that publishes.
            frames: the robot's frames, which send the transform.
            path_length: how many poses the path keeps now.
        """
        self._node = node
        self._frames = frames
        self._path_length = path_length
        self._latest = BoundedPath(frames.plan.map_frame)
        self._created: list[LifecyclePublisher] = []
        try:
            self._pose = self._create(PoseStamped, "~/pose")
            self._pose_with_covariance = self._create(PoseWithCovarianceStamped, "~/pose_with_covariance")
            self._path = self._create(Path, "~/path")
            self._status = self._create(DiagnosticArray, "~/status")
            self._scene = self._create(KeyValue, "~/scene")
        except Exception:  # an override of QoS that cannot be
            self.destroy()
            raise

    def publish_status(self, stamp_ns: int, verdict: Verdict, checkpoint: FilePath) -> None:
        """Publish what was judged of a checkpoint's fix of a stamp, nanoseconds."""
        name = f"{self._node.get_fully_qualified_name().lstrip('/')}: pose"
        self._status.publish(status_array(name, stamp_ns, verdict, checkpoint))

    def publish(self, fix: Fix, trusted: bool) -> None:
        """Publish a fix that is fit to be published, all but the path, to which it is added.

        A fix that is not trusted moves no transform, which carries no covariance, and is not on the path.
        """
        if fix.published is None:
            raise ValueError("a fix without a pose cannot be published")
        message = PoseStamped(pose=pose_to_message(fix.published.pose))
        message.header.stamp = stamp_from_nanoseconds(fix.stamp_ns)
        message.header.frame_id = self._frames.plan.map_frame
        with_covariance = PoseWithCovarianceStamped(header=message.header)
        with_covariance.pose.pose = message.pose
        with_covariance.pose.covariance = covariance_to_message(fix.published.covariance)
        # The transform first: whoever gets the pose may look it up.
        if trusted:
            self._frames.send(fix)
        self._pose.publish(message)
        self._pose_with_covariance.publish(with_covariance)
        view = fix.views[0]
        if view.scene is not None:
            self._scene.publish(KeyValue(key=view.scene, value=f"{view.scene_probability:.6f}"))
        if trusted:
            self._latest.append(message, self._path_length())

    def publish_path(self) -> None:
        """Publish the path, which takes long (15 ms for 1000 poses), where anybody listens."""
        if self._path_length() > 0 and self._path.get_subscription_count() > 0:
            self._path.publish(self._latest.message)

    def clear_path(self) -> None:
        """Begin a new path, and send no earlier transform again."""
        self._latest.clear()
        self._frames.forget()

    def problems(self) -> tuple[str, ...]:
        """Say which subscribers get nothing since they ask for more than is offered, and what would help."""
        return unserved_subscribers(self._node, self._created)

    def destroy(self) -> None:
        """Take all topics down."""
        for publisher in self._created:
            self._node.destroy_lifecycle_publisher(publisher)

    def _create(self, message_type: type, topic: str) -> LifecyclePublisher:
        options = QoSOverridingOptions(_OVERRIDABLE)
        publisher: LifecyclePublisher = self._node.create_lifecycle_publisher(
            message_type,
            topic,
            QoSProfile(depth=_DEPTH),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=self._warn_of_unserved),
            qos_overriding_options=options,
        )
        self._created.append(publisher)
        return publisher

    def _warn_of_unserved(self, _event: object) -> None:
        for problem in self.problems():
            self._node.get_logger().warning(problem)
