"""What the node says: pose, pose with covariance, path, scene and transform of one estimate."""

from __future__ import annotations

from collections.abc import Callable

from diagnostic_msgs.msg import KeyValue
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Header

from hyperpose_core.estimator import PoseEstimate
from hyperpose_core.geometry import Pose
from hyperpose_ros.conversions import (
    covariance_to_message,
    pose_to_message,
    stamp_to_nanoseconds,
    transform_to_message,
)
from hyperpose_ros.throttled_warnings import ThrottledWarnings
from hyperpose_ros.transforms import TransformPlan, TransformSender

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
    camera's optical frame in the map. `~/path` (nav_msgs/Path): the latest of them, sent where somebody
    listens and no image waits. `~/scene` (diagnostic_msgs/KeyValue), for networks of several scenes only:
    key is the scene's name, value its probability. Every stamp is the image's.
    """

    def __init__(
        self,
        node: LifecycleNode,
        plan: TransformPlan,
        path_length: Callable[[], int],
        has_scenes: bool,
        warnings: ThrottledWarnings,
    ) -> None:
        """Create the topics.

        Args:
            node: the node that publishes.
            plan: which transform goes out.
            path_length: how many poses the path keeps now.
            has_scenes: whether the network tells scenes apart.
            warnings: where an image without a frame is complained of.

        Raises:
            HyperPoseError: transforms are wanted and cannot be sent.
        """
        self._node = node
        self._plan = plan
        self._path_length = path_length
        self._warnings = warnings
        self._latest = BoundedPath(plan.map_frame)
        self._transforms = None if plan.mode == "none" else TransformSender(node)
        self._created: list[LifecyclePublisher] = []
        try:
            self._pose = self._create(PoseStamped, "~/pose")
            self._pose_with_covariance = self._create(PoseWithCovarianceStamped, "~/pose_with_covariance")
            self._path = self._create(Path, "~/path")
            self._scene = self._create(KeyValue, "~/scene") if has_scenes else None
        except Exception:  # an override of QoS that cannot be
            self.destroy()
            raise

    def publish(self, image_header: Header, pose: Pose, estimate: PoseEstimate) -> None:
        """Publish an estimate, all but the path, to which it is added.

        Args:
            image_header: stamp and frame of the image.
            pose: the estimate's pose, which is not None.
            estimate: the estimate.
        """
        message = PoseStamped(pose=pose_to_message(pose))
        message.header.stamp = image_header.stamp
        message.header.frame_id = self._plan.map_frame
        with_covariance = PoseWithCovarianceStamped(header=message.header)
        with_covariance.pose.pose = message.pose
        with_covariance.pose.covariance = covariance_to_message(estimate.covariance)
        # The transform first: whoever gets the pose may look it up.
        self._send_transform(image_header, pose)
        self._pose.publish(message)
        self._pose_with_covariance.publish(with_covariance)
        if self._scene is not None and estimate.scene is not None:
            self._scene.publish(KeyValue(key=estimate.scene, value=f"{estimate.scene_probability:.6f}"))
        self._latest.append(message, self._path_length())

    def publish_path(self) -> None:
        """Publish the path, which takes long (15 ms for 1000 poses), where anybody listens."""
        if self._path_length() > 0 and self._path.get_subscription_count() > 0:
            self._path.publish(self._latest.message)

    def clear_path(self) -> None:
        """Begin a new path."""
        self._latest.clear()

    def destroy(self) -> None:
        """Take all topics down."""
        for publisher in self._created:
            self._node.destroy_lifecycle_publisher(publisher)
        if self._transforms is not None:
            self._transforms.destroy()

    def _create(self, message_type: type, topic: str) -> LifecyclePublisher:
        options = QoSOverridingOptions(_OVERRIDABLE)
        publisher: LifecyclePublisher = self._node.create_lifecycle_publisher(
            message_type, topic, QoSProfile(depth=_DEPTH), qos_overriding_options=options
        )
        self._created.append(publisher)
        return publisher

    def _send_transform(self, image_header: Header, pose: Pose) -> None:
        if self._transforms is None:
            return
        placement = self._plan.placement(pose, image_header.frame_id)
        if placement is None:
            self._warnings.warn(
                "no_image_frame",
                f"the image's frame_id is {image_header.frame_id!r}: no transform to it is sent",
            )
            return
        stamp_ns = stamp_to_nanoseconds(image_header.stamp)
        self._transforms.send(
            transform_to_message(placement.parent, placement.child, placement.pose, stamp_ns)
        )
