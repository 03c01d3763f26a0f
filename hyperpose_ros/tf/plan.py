"""Frames and their arithmetic: from the trained world to the map, to the robot's body, to odometry's frame.

    map -> odom -> base -> camera        REP-105; `world_to_map` puts the trained world into the map

What is sent of it is `policy.py`'s to say. Nothing here sends or listens: `tree.py` hears /tf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.frame_chains import frame_name
from hyperpose_core.geometry.poses import Array, Pose, rotate_covariance
from hyperpose_ros.common.conversions import pose_from_numbers
from hyperpose_ros.common.fix import PoseWithCovariance
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.tf.tree import FrameTree


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


class FramePlan:
    """Which frames there are, and where they are in one another.

    Attributes:
        map_frame: the frame of the poses.
        odom_frame: odometry's frame.
        base_frame: the robot's body frame.
        extrinsics: each camera's optical frame in the body frame as the parameters say; None where they
            don't, and then TF is asked.
    """

    def __init__(
        self, values: LocalizerParameters, extrinsics: Sequence[Pose | None], tree: FrameTree
    ) -> None:
        """Take the frames from the node's parameters.

        Args:
            values: the parameters.
            extrinsics: of each camera, as the attribute.
            tree: what is heard on /tf and /tf_static.

        Raises:
            HyperPoseError: `world_to_map` is no pose.
        """
        self.map_frame = frame_name(values.map_frame)
        self.odom_frame = frame_name(values.odom_frame)
        self.base_frame = frame_name(values.base_frame)
        self.extrinsics = tuple(extrinsics)
        self._world_to_map = _world_to_map(values)
        self._tree = tree

    def to_map(self, pose: Pose, covariance: Array) -> PoseWithCovariance:
        """Express a pose in the trained world, and its covariance [6, 6], in the map."""
        if self._world_to_map is None:
            return PoseWithCovariance(pose, covariance)
        rotated = rotate_covariance(covariance, self._world_to_map.rotation())
        return PoseWithCovariance(self._world_to_map @ pose, rotated)

    def to_world(self, estimate: PoseWithCovariance) -> PoseWithCovariance:
        """Express what is known in the map in the trained world: the inverse of `to_map`."""
        if self._world_to_map is None:
            return estimate
        inverse = self._world_to_map.inverse()
        rotated = rotate_covariance(estimate.covariance, inverse.rotation())
        return PoseWithCovariance(inverse @ estimate.pose, rotated)

    def extrinsics_of(self, camera: int, image_frame: str) -> Pose | None:
        """Return where a camera's optical frame is in the body frame; None where that is not known (yet).

        Args:
            camera: the camera's place in the node's list of cameras.
            image_frame: the frame_id of its images, by which TF knows it.
        """
        known = self.extrinsics[camera]
        if known is not None or not frame_name(image_frame):
            return known
        return self._tree.pose_on_body(self.base_frame, image_frame)

    def place_camera(self, image_frame: str, camera: Pose) -> Placement | None:
        """Return the transform from the map to a camera; None where its images name no frame below the map.

        Args:
            image_frame: the frame_id of its images.
            camera: its optical frame in the map.
        """
        frame = frame_name(image_frame)
        return None if frame in ("", self.map_frame) else Placement(self.map_frame, frame, camera)

    def place_base(self, base: Pose) -> Placement:
        """Return the transform from the map to the body frame, whose pose in the map is given."""
        return Placement(self.map_frame, self.base_frame, base)

    def place_odometry(self, base: Pose, driven: Pose) -> Placement:
        """Return the transform from the map to odometry's frame.

        Args:
            base: the body frame in the map.
            driven: the body frame in odometry's frame at the same instant.
        """
        return Placement(self.map_frame, self.odom_frame, base @ driven.inverse())


def _world_to_map(values: LocalizerParameters) -> Pose | None:
    if not values.world_to_map:
        return None
    try:
        return pose_from_numbers(values.world_to_map)
    except ValueError as error:
        raise HyperPoseError(f"parameter world_to_map: {error}") from error
