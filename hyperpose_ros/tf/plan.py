"""Frames and their arithmetic: from the trained world to the map, to the robot's body, to what /tf is to say.

    map -> odom -> base -> camera        REP-105; `world_to_map` puts the trained world into the map

Nothing here sends or listens: `tree.py` hears /tf, `odometry.py` odometry, `sender.py` sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.frame_chains import frame_name
from hyperpose_core.geometry.poses import (
    Array,
    Pose,
    rotate_covariance,
)
from hyperpose_ros.common.conversions import pose_from_numbers
from hyperpose_ros.common.fix import (
    Fix,
    PoseWithCovariance,
)
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.tf.odometry import Odometry
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


@dataclass(frozen=True)
class Missing:
    """Why a fix gives no transform.

    Attributes:
        cause: in a word, for counters.
        text: in a sentence, for people.
    """

    cause: str
    text: str


class TransformPlan:
    """Which frames there are, and what becomes of a fix on /tf.

    In `tf_mode` auto the body is placed from the moment on when the camera's place on it is known; until then
    it is the camera that is placed, and never again afterwards. So no frame gets another parent from here.

    Attributes:
        map_frame: the frame of the poses.
        odom_frame: odometry's frame.
        base_frame: the robot's body frame.
        pose_of: what the pose topics speak of, camera or base.
    """

    def __init__(
        self,
        values: LocalizerParameters,
        extrinsics: Sequence[Pose | None],
        tree: FrameTree,
        odometry: Odometry | None,
    ) -> None:
        """Take the plan from the node's parameters.

        Args:
            values: the parameters.
            extrinsics: each camera's optical frame in the body frame as the parameters say; None where they
                don't, and then TF is asked.
            tree: what is heard on /tf and /tf_static.
            odometry: the body frame in odometry's frame; None where there is none.

        Raises:
            HyperPoseError: parameters are wrong, or contradict each other.
        """
        self.map_frame = frame_name(values.map_frame)
        self.odom_frame = frame_name(values.odom_frame)
        self.base_frame = frame_name(values.base_frame)
        self._world_to_map = _world_to_map(values)
        self._extrinsics = tuple(extrinsics)
        self._tree = tree
        self._odometry = odometry
        self.pose_of = values.pose_of
        if self.pose_of == "auto":
            self.pose_of = "camera" if len(extrinsics) == 1 else "base"
        self._mode = values.tf_mode
        if self._mode == "auto" and (len(self._extrinsics) > 1 or self._extrinsics[0] is not None):
            self._mode = "map_base"
        self._check(values)

    @property
    def mode(self) -> str:
        """map_odom, map_base, map_camera or none; auto as long as the camera's place is not known."""
        return self._mode

    def to_map(self, pose: Pose, covariance: Array) -> PoseWithCovariance:
        """Express a pose in the trained world, and its covariance [6, 6], in the map."""
        if self._world_to_map is None:
            return PoseWithCovariance(pose, covariance)
        rotated = rotate_covariance(covariance, self._world_to_map.rotation())
        return PoseWithCovariance(self._world_to_map @ pose, rotated)

    def extrinsics_of(self, camera: int, image_frame: str) -> Pose | None:
        """Return where a camera's optical frame is in the body frame; None where that is not known (yet).

        Args:
            camera: the camera's place in the node's list of cameras.
            image_frame: the frame_id of its images, by which TF knows it.
        """
        known = self._extrinsics[camera]
        if known is not None or not frame_name(image_frame):
            return known
        return self._tree.pose_on_body(self.base_frame, image_frame)

    def placement(self, fix: Fix) -> Placement | Missing | None:
        """Return the transform for one fix, why there is none, or None where none is wanted."""
        if self._mode == "none":
            return None
        if self._mode == "auto" and fix.base is not None:
            self._mode = "map_base"
        if self._mode in ("auto", "map_camera"):
            return self._place_camera(fix)
        if fix.base is None:
            return self._without_extrinsics(fix)
        if self._mode == "map_base":
            return Placement(self.map_frame, self.base_frame, fix.base.pose)
        return self._place_odometry(fix.base.pose, fix.stamp_ns)

    def describe(self) -> str:
        """Say in words what goes out on /tf."""
        image = "the image's frame"
        children = {
            "map_odom": self.odom_frame,
            "map_base": self.base_frame,
            "map_camera": image,
            "auto": f"{image}, or {self.base_frame} once TF says where the camera is on it",
        }
        return f"{self.map_frame} -> {children[self._mode]}" if self._mode in children else "nothing"

    def _place_camera(self, fix: Fix) -> Placement | Missing:
        view = fix.views[0]
        frame = frame_name(view.image_frame)
        if view.in_map is None or frame in ("", self.map_frame):
            return Missing(
                "no_image_frame", f"the image's frame_id is {view.image_frame!r}: no transform to it is sent"
            )
        return Placement(self.map_frame, frame, view.in_map.pose)

    def _place_odometry(self, base: Pose, stamp_ns: int) -> Placement | Missing:
        # The plan is checked: this mode has odometry.
        odometry = None if self._odometry is None else self._odometry.pose_at(stamp_ns)
        if odometry is None:
            known = "" if self._odometry is None else self._odometry.problem
            reason = known or f"{self.odom_frame} -> {self.base_frame} is not known at the image's stamp"
            return Missing("no_odometry", f"no transform {self.map_frame} -> {self.odom_frame}: {reason}")
        return Placement(self.map_frame, self.odom_frame, base @ odometry.inverse())

    def _without_extrinsics(self, fix: Fix) -> Missing:
        frames = ", ".join(repr(view.image_frame) for view in fix.views)
        return Missing(
            "no_extrinsics",
            f"no transform is sent: neither camera_extrinsics nor TF says where the camera ({frames}) is in "
            f"{self.base_frame}",
        )

    def _check(self, values: LocalizerParameters) -> None:
        named = {"map_frame": self.map_frame, "base_frame": self.base_frame}
        if self._mode == "map_odom":
            named["odom_frame"] = self.odom_frame
        if not all(named.values()) or len(set(named.values())) < len(named):
            pairs = ", ".join(f"{parameter} {name!r}" for parameter, name in named.items())
            raise HyperPoseError(f"{pairs}: these frames must have names, and each another one")
        if self._mode == "map_odom" and values.odometry_source == "none":
            raise HyperPoseError("tf_mode map_odom needs odometry: set odometry_source to topic or tf")
        if len(self._extrinsics) > 1 and "camera" in (self._mode.removeprefix("map_"), self.pose_of):
            raise HyperPoseError(
                "tf_mode map_camera and pose_of camera are for one camera; several place base_frame"
            )


def _world_to_map(values: LocalizerParameters) -> Pose | None:
    if not values.world_to_map:
        return None
    try:
        return pose_from_numbers(values.world_to_map)
    except ValueError as error:
        raise HyperPoseError(f"parameter world_to_map: {error}") from error
