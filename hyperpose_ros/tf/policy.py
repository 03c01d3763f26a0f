"""Which transform a fix becomes, in which `tf_mode`, and whether the parameters that say so go together."""

from __future__ import annotations

from dataclasses import dataclass

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.common.fix import Fix
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.tf.odometry import Odometry
from hyperpose_ros.tf.plan import FramePlan, Placement


@dataclass(frozen=True)
class Missing:
    """Why a fix gives no transform.

    Attributes:
        cause: in a word, for counters.
        text: in a sentence, for people.
    """

    cause: str
    text: str


class TransformPolicy:
    """What becomes of a fix on /tf, and what the pose topics speak of.

    In `tf_mode` auto the body is placed from the moment on when the camera's place on it is known; until then
    it is the camera that is placed, and never again afterwards. So no frame gets another parent from here.

    Attributes:
        plan: the frames.
        pose_of: what the pose topics speak of, camera or base.
    """

    def __init__(self, values: LocalizerParameters, plan: FramePlan, odometry: Odometry | None) -> None:
        """Take the policy from the node's parameters.

        Args:
            values: the parameters.
            plan: the frames.
            odometry: the body frame in odometry's frame; None where there is none.

        Raises:
            HyperPoseError: parameters contradict each other.
        """
        self.plan = plan
        self._odometry = odometry
        self.pose_of = values.pose_of
        if self.pose_of == "auto":
            self.pose_of = "camera" if len(plan.extrinsics) == 1 else "base"
        self._mode = values.tf_mode
        if self._mode == "auto" and (len(plan.extrinsics) > 1 or plan.extrinsics[0] is not None):
            self._mode = "map_base"
        self._check(values)

    @property
    def mode(self) -> str:
        """map_odom, map_base, map_camera or none; auto as long as the camera's place is not known."""
        return self._mode

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
            return self.plan.place_base(fix.base.pose)
        return self._place_odometry(fix.base.pose, fix.stamp_ns)

    def describe(self) -> str:
        """Say in words what goes out on /tf."""
        image = "the image's frame"
        children = {
            "map_odom": self.plan.odom_frame,
            "map_base": self.plan.base_frame,
            "map_camera": image,
            "auto": f"{image}, or {self.plan.base_frame} once TF says where the camera is on it",
        }
        return f"{self.plan.map_frame} -> {children[self._mode]}" if self._mode in children else "nothing"

    def _place_camera(self, fix: Fix) -> Placement | Missing:
        view = fix.views[0]
        placement = None
        if view.in_map is not None:
            placement = self.plan.place_camera(view.image_frame, view.in_map.pose)
        return placement or Missing(
            "no_image_frame", f"the image's frame_id is {view.image_frame!r}: no transform to it is sent"
        )

    def _place_odometry(self, base: Pose, stamp_ns: int) -> Placement | Missing:
        # The policy is checked: this mode has odometry.
        driven = None if self._odometry is None else self._odometry.pose_at(stamp_ns)
        if driven is not None:
            return self.plan.place_odometry(base, driven)
        plan = self.plan
        known = "" if self._odometry is None else self._odometry.problem
        reason = known or f"{plan.odom_frame} -> {plan.base_frame} is not known at the image's stamp"
        return Missing("no_odometry", f"no transform {plan.map_frame} -> {plan.odom_frame}: {reason}")

    def _without_extrinsics(self, fix: Fix) -> Missing:
        frames = ", ".join(repr(view.image_frame) for view in fix.views)
        return Missing(
            "no_extrinsics",
            f"no transform is sent: neither camera_extrinsics nor TF says where the camera ({frames}) is in "
            f"{self.plan.base_frame}",
        )

    def _check(self, values: LocalizerParameters) -> None:
        plan = self.plan
        named = {"map_frame": plan.map_frame, "base_frame": plan.base_frame}
        if self._mode == "map_odom":
            named["odom_frame"] = plan.odom_frame
        if not all(named.values()) or len(set(named.values())) < len(named):
            pairs = ", ".join(f"{parameter} {name!r}" for parameter, name in named.items())
            raise HyperPoseError(f"{pairs}: these frames must have names, and each another one")
        if self._mode == "map_odom" and values.odometry_source == "none":
            raise HyperPoseError("tf_mode map_odom needs odometry: set odometry_source to topic or tf")
        if len(plan.extrinsics) > 1 and "camera" in (self._mode.removeprefix("map_"), self.pose_of):
            raise HyperPoseError(
                "tf_mode map_camera and pose_of camera are for one camera; several place base_frame"
            )
