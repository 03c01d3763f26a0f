"""The robot's frames, from configuration to cleanup: what is heard of them, and what is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from hyperpose_core.geometry.frame_chains import frame_name
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.common.conversions import stamp_to_nanoseconds
from hyperpose_ros.common.fix import Fix
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.tf.odometry import TfOdometry, create_odometry
from hyperpose_ros.tf.plan import FramePlan
from hyperpose_ros.tf.policy import Missing, TransformPolicy
from hyperpose_ros.tf.sender import TransformSender
from hyperpose_ros.tf.tree import FrameListener, FrameTree

_ADVICE = {
    "map_odom": "set tf_mode to none",
    "map_base": "set tf_mode to map_odom (with odometry_source topic or tf) or to none",
    "map_camera": "set tf_mode to map_base or map_odom, with base_frame one of the frames above the camera",
    "auto": "set base_frame to one of the frames above the camera, or tf_mode to none",
}


@dataclass(frozen=True)
class TransformHealth:
    """How it stands with the transform.

    Attributes:
        name: which transform it is.
        sent: how many have gone out.
        missing: trusted fixes that gave none, by cause.
        problem: why nothing goes out, and what to do; empty where nothing is known to be wrong.
    """

    name: str
    sent: int
    missing: Mapping[str, int]
    problem: str


class RobotFrames:
    """Wires /tf, odometry, the plan of the frames and the policy of what is sent together.

    Attributes:
        plan: frames and their arithmetic.
        policy: which transform is sent.
        odometry: the body frame in odometry's frame; None where there is none.
    """

    def __init__(
        self,
        node: Node,
        parameters: Callable[[], LocalizerParameters],
        extrinsics: Sequence[Pose | None],
        warnings: ThrottledWarnings,
    ) -> None:
        """Listen, and create the publisher on /tf where a transform is wanted.

        Before the network is loaded, which takes seconds: what is on /tf is then known at the first image.

        Args:
            node: the node.
            parameters: its parameters now.
            extrinsics: each camera's pose in the body frame as the parameters say; None where they don't.
            warnings: where fixes without a transform are complained of.

        Raises:
            HyperPoseError: parameters contradict each other, or what they ask for is not installed.
        """
        values = parameters()
        self._parameters = parameters
        self._warnings = warnings
        self._missing: Counter[str] = Counter()
        self._latest_missing = ""
        self._sender: TransformSender | None = None
        tree = FrameTree(warn=warnings.warn)
        self.odometry = create_odometry(node, values, tree, warnings)
        try:
            self.plan = FramePlan(values, extrinsics, tree)
            self.policy = TransformPolicy(values, self.plan, self.odometry)
            if self.policy.mode != "none":
                self._sender = TransformSender(node, tree, lambda: _ADVICE[self.policy.mode])
            self._listener = FrameListener(node, tree, self._on_moving)
        except Exception:
            self._destroy_created()
            raise

    def send(self, fix: Fix) -> None:
        """Send a trusted fix's transform, where one is wanted and known."""
        placement = self.policy.placement(fix)
        self._latest_missing = placement.text if isinstance(placement, Missing) else ""
        if isinstance(placement, Missing):
            self._missing[placement.cause] += 1
            self._warnings.warn(placement.cause, placement.text)
        elif placement is not None and self._sender is not None:
            self._sender.send(placement, self._stamp(fix.stamp_ns))

    def forget(self) -> None:
        """Send nothing again of what was known so far: the next fix begins anew."""
        if self._sender is not None:
            self._sender.forget()

    def health(self) -> TransformHealth:
        """Return how it stands with the transform."""
        problem, sent = "", 0
        if self._sender is not None:
            problem, sent = self._sender.problem, self._sender.sent
        problem = problem or self._latest_missing
        if not problem and self.odometry is not None:
            problem = self.odometry.problem
        return TransformHealth(self.policy.describe(), sent, dict(self._missing), problem)

    def destroy(self) -> None:
        """Unsubscribe, and take the publisher down."""
        self._listener.destroy()
        self._destroy_created()

    def _destroy_created(self) -> None:
        if self._sender is not None:
            self._sender.destroy()
        if self.odometry is not None:
            self.odometry.destroy()

    def _on_moving(self, transform: TransformStamped) -> None:
        if isinstance(self.odometry, TfOdometry):
            self.odometry.hear(transform)
        parent = frame_name(transform.header.frame_id)
        # Who looks up map -> base needs map -> odom at the stamps of odom -> base.
        if self._sender is not None and self.policy.mode == "map_odom" and parent == self.plan.odom_frame:
            self._sender.keep(self._stamp(stamp_to_nanoseconds(transform.header.stamp)))

    def _stamp(self, stamp_ns: int) -> int:
        """Return the stamp that a transform goes out with: ahead only where its child hardly moves."""
        if self.policy.mode != "map_odom":
            return stamp_ns
        return stamp_ns + round(self._parameters().transform_tolerance * 1e9)
