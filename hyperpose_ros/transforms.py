"""Which transform goes out on /tf, from what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry import Pose
from hyperpose_ros.conversions import pose_from_numbers
from hyperpose_ros.parameters import LocalizerParameters

_TF_DEPTH = 100


@dataclass(frozen=True, eq=False)
class Placement:
    """A frame's pose in its parent frame.

    Attributes:
        parent: the parent frame's name.
        child: the child frame's name.
        pose: child to parent.
    """

    parent: str
    child: str
    pose: Pose


@dataclass(frozen=True, eq=False)
class TransformPlan:
    """What becomes of a camera pose: the transform from the map to the robot or to the camera, or none.

    Attributes:
        mode: map_base, map_camera or none.
        map_frame: the frame of the poses.
        base_frame: the robot's body frame.
        extrinsics: the camera's optical frame in the body frame, where known; map_base needs it.
    """

    mode: str
    map_frame: str
    base_frame: str
    extrinsics: Pose | None

    @classmethod
    def from_parameters(cls, values: LocalizerParameters) -> TransformPlan:
        """Take the plan from the node's parameters.

        Raises:
            HyperPoseError: the extrinsics are no pose, map_base lacks them, or two frames share a name.
        """
        extrinsics = _extrinsics(values)
        known = extrinsics is not None
        mode = values.tf_mode if values.tf_mode != "auto" else "map_base" if known else "map_camera"
        if mode == "map_base" and not known:
            raise HyperPoseError(
                "tf_mode map_base needs the parameter camera_extrinsics, the camera's pose in base_frame"
            )
        if not values.map_frame or not values.base_frame or values.map_frame == values.base_frame:
            raise HyperPoseError(
                f"map_frame {values.map_frame!r} and base_frame {values.base_frame!r} must be two names"
            )
        return cls(mode, values.map_frame, values.base_frame, extrinsics)

    def placement(self, camera: Pose, image_frame: str) -> Placement | None:
        """Return the transform for one estimate, or None where none can or shall be sent.

        Args:
            camera: the camera's optical frame in the map.
            image_frame: the frame_id of the image; without one, map_camera has no child to place.
        """
        if self.mode == "map_base" and self.extrinsics is not None:
            return Placement(self.map_frame, self.base_frame, camera @ self.extrinsics.inverse())
        if self.mode == "map_camera" and image_frame not in ("", self.map_frame):
            return Placement(self.map_frame, image_frame, camera)
        return None

    def describe(self) -> str:
        """Say in words what goes out on /tf."""
        children = {"map_base": self.base_frame, "map_camera": "the image's frame"}
        return f"{self.map_frame} -> {children[self.mode]}" if self.mode in children else "nothing"


class TransformSender:
    """Sends transforms on /tf: through tf2_ros where it is installed, else as its broadcaster does."""

    def __init__(self, node: Node) -> None:
        """Create the publisher on /tf.

        Raises:
            HyperPoseError: neither tf2_ros nor tf2_msgs is installed.
        """
        self._node = node
        self._publisher, self.send = _create_sender(node)

    send: Callable[[TransformStamped], None]
    """Sends one transform."""

    def destroy(self) -> None:
        """Take the publisher down."""
        self._node.destroy_publisher(self._publisher)


def _create_sender(node: Node) -> tuple[Publisher, Callable[[TransformStamped], None]]:
    if find_spec("tf2_ros") is not None:
        from tf2_ros import TransformBroadcaster

        broadcaster = TransformBroadcaster(node, QoSProfile(depth=_TF_DEPTH))
        return broadcaster.pub_tf, broadcaster.sendTransform
    if find_spec("tf2_msgs") is None:
        raise HyperPoseError("neither tf2_ros nor tf2_msgs is installed: install one, or set tf_mode to none")
    from tf2_msgs.msg import TFMessage

    publisher = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=_TF_DEPTH))
    return publisher, lambda transform: publisher.publish(TFMessage(transforms=[transform]))


def _extrinsics(values: LocalizerParameters) -> Pose | None:
    if not values.camera_extrinsics:
        return None
    try:
        return pose_from_numbers(values.camera_extrinsics)
    except ValueError as error:
        raise HyperPoseError(f"parameter camera_extrinsics: {error}") from error
