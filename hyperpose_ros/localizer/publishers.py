"""What the node says: pose, pose with covariance, path, scene and transform of one estimate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle.publisher import LifecyclePublisher
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from hyperpose_ros.common.conversions import covariance_to_message, pose_to_message, stamp_from_nanoseconds
from hyperpose_ros.common.fix import Fix
from hyperpose_ros.common.topic_qos import unserved_subscribers
from hyperpose_ros.fusion.tracking import Tracking
from hyperpose_ros.fusion.validity import ValidationResult
from hyperpose_ros.localizer.map_localizer import RefinedFrame
from hyperpose_ros.localizer.network_localizer import Localization
from hyperpose_ros.localizer.status import map_status, network_status, scene_status
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
    listens, at every pose or, where images wait, once a second. `~/scene` (DiagnosticArray), where the
    network knows several: the scene and its probability. `~/verified_pose` (PoseWithCovarianceStamped): those
    alone that a landmark map has verified. `~/status` (DiagnosticArray): for every fix, withheld ones too,
    whether it can be trusted and why, and what the map says where it was asked. Every stamp is the image's.
    """

    def __init__(
        self,
        node: LifecycleNode,
        frames: RobotFrames,
        path_length: Callable[[], int],
        with_map: bool,
    ) -> None:
        """Create the topics.

        Args:
            node: the node that publishes.
            frames: the robot's frames, which send the transform.
            path_length: how many poses the path keeps now.
            with_map: whether there is a topic for what a landmark map has verified.
        """
        self._node = node
        self._frames = frames
        self._path_length = path_length
        self._latest = BoundedPath(frames.plan.map_frame)
        # The path is of one thread at a time; which one's, changes with the first verified pose.
        self._path_lock = threading.Lock()
        self._created: list[LifecyclePublisher] = []
        try:
            self._pose = self._create(PoseStamped, "~/pose")
            self._pose_with_covariance = self._create(PoseWithCovarianceStamped, "~/pose_with_covariance")
            self._verified = self._create(PoseWithCovarianceStamped, "~/verified_pose") if with_map else None
            self._path = self._create(Path, "~/path")
            self._status = self._create(DiagnosticArray, "~/status")
            self._scene = self._create(DiagnosticArray, "~/scene")
        except Exception:  # an override of QoS that cannot be
            self.destroy()
            raise

    def publish_status(self, localization: Localization, tracking: Tracking) -> None:
        """Publish the validity of the network's fix, and whether the robot is localized."""
        name = f"{self._node.get_fully_qualified_name().lstrip('/')}: pose"
        self._status.publish(network_status(name, localization, tracking))

    def publish_map_status(
        self,
        localization: Localization,
        frames: Sequence[RefinedFrame],
        validation: ValidationResult | None,
        leads: bool,
        tracking: Tracking,
    ) -> None:
        """Publish what the landmark map says of the frames of a localization.

        Args:
            localization: the network's answer.
            frames: the map's answers.
            validation: of the verified ones; None if there are none.
            leads: whether the node's pose is the map's; else it is the network's.
            tracking: whether the robot knows where it is.
        """
        name = f"{self._node.get_fully_qualified_name().lstrip('/')}: map"
        self._status.publish(map_status(name, localization, frames, validation, leads, tracking))

    def publish_verified(self, fix: Fix) -> None:
        """Publish a fix that the landmark map has verified on the topic of those alone."""
        if self._verified is not None:
            self._verified.publish(self._message(fix))

    def publish(self, fix: Fix, moves: bool) -> None:
        """Publish a fix that is fit to be published, all but the path.

        Args:
            fix: the fix.
            moves: whether it moves the transform, which carries no covariance, and is added to the path.
        """
        with_covariance = self._message(fix)
        message = PoseStamped(header=with_covariance.header, pose=with_covariance.pose.pose)
        # The transform first: whoever gets the pose may look it up.
        if moves:
            self._frames.send(fix)
        self._pose.publish(message)
        self._pose_with_covariance.publish(with_covariance)
        if moves:
            with self._path_lock:
                self._latest.append(message, self._path_length())

    def publish_scene(self, fix: Fix) -> None:
        """Publish the scene that the network chose, of the first camera that plays a part in the fix."""
        view = next((view for view in fix.views if not view.left_out), None)
        if view is not None and view.scene is not None:
            name = f"{self._node.get_fully_qualified_name().lstrip('/')}: scene"
            self._scene.publish(scene_status(name, fix.stamp_ns, view.scene, view.scene_probability))

    def publish_path(self) -> None:
        """Publish the path, which takes long (15 ms for 1000 poses), where anybody listens."""
        if self._path_length() > 0 and self._path.get_subscription_count() > 0:
            with self._path_lock:
                self._path.publish(self._latest.message)

    def clear_path(self) -> None:
        """Begin a new path, and send no earlier transform again."""
        with self._path_lock:
            self._latest.clear()
        self._frames.forget()

    def problems(self) -> tuple[str, ...]:
        """Say which subscribers get nothing since they ask for more than is offered, and what would help."""
        return unserved_subscribers(self._node, self._created)

    def destroy(self) -> None:
        """Take all topics down."""
        for publisher in self._created:
            self._node.destroy_lifecycle_publisher(publisher)

    def _message(self, fix: Fix) -> PoseWithCovarianceStamped:
        if fix.published is None:
            raise ValueError("a fix without a pose cannot be published")
        message = PoseWithCovarianceStamped()
        message.header.stamp = stamp_from_nanoseconds(fix.stamp_ns)
        message.header.frame_id = self._frames.plan.map_frame
        message.pose.pose = pose_to_message(fix.published.pose)
        message.pose.covariance = covariance_to_message(fix.published.covariance)
        return message

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
