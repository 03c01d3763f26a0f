"""Sends transforms on /tf, and never gives a frame a second parent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.common.conversions import transform_to_message
from hyperpose_ros.common.time_jumps import LONGEST_DELAY_NS
from hyperpose_ros.tf.plan import Placement
from hyperpose_ros.tf.tree import FrameTree, Placed

_DEPTH = 100
_KEEP_PERIOD_NS = 50_000_000


class TransformSender:
    """Sends the latest placement of one frame; safe to use from any thread.

    Where somebody else places that frame, nothing is sent until they have been silent for some seconds; what
    /tf_static says holds for ever. Stamps never go back, but where time does.
    """

    def __init__(self, node: Node, tree: FrameTree, advice: Callable[[], str]) -> None:
        """Create the publisher on /tf.

        Args:
            node: the node that publishes.
            tree: what others say.
            advice: says what to do where somebody else gives the frame another parent.

        Raises:
            HyperPoseError: neither tf2_ros nor tf2_msgs is installed.
        """
        self._node = node
        self._tree = tree
        self._advice = advice
        self._lock = threading.Lock()
        self._latest: Placement | None = None
        self._placed_ns: int | None = None
        self._newest_ns: int | None = None
        self._problem = ""
        self.sent = 0
        self._publisher, self._send = _create_publisher(node)

    @property
    def problem(self) -> str:
        """Why nothing is sent, and what to do; empty where nothing keeps it from being sent."""
        with self._lock:
            if self._latest is None or self._tree.placed_by_others(self._latest.child) is None:
                return ""
            return self._problem

    def send(self, placement: Placement, stamp_ns: int) -> None:
        """Send a new placement; where the last one was kept beyond its stamp, with the next stamp.

        Args:
            placement: the frame in its parent.
            stamp_ns: the stamp it goes out with, nanoseconds.
        """
        with self._lock:
            # A fix may be late, but comes after those before it: where it does not, time has jumped.
            if self._placed_ns is not None and stamp_ns < self._placed_ns:
                self._newest_ns = None
            self._latest, self._placed_ns = placement, stamp_ns
            if self._newest_ns is None or stamp_ns > self._newest_ns:
                self._publish(placement, stamp_ns)

    def keep(self, stamp_ns: int) -> None:
        """Send the latest placement again with a later stamp, at most 20 times a second."""
        with self._lock:
            if self._latest is None or self._newest_ns is None:
                return
            if stamp_ns < self._newest_ns - LONGEST_DELAY_NS:
                # Time has jumped, and what was true before says nothing of the time after.
                self._latest = None
                return
            if stamp_ns >= self._newest_ns + _KEEP_PERIOD_NS:
                self._publish(self._latest, stamp_ns)

    def forget(self) -> None:
        """Send nothing again until there is a new placement."""
        with self._lock:
            self._latest = None

    def destroy(self) -> None:
        """Take the publisher down."""
        self._node.destroy_publisher(self._publisher)

    def _publish(self, placement: Placement, stamp_ns: int) -> None:
        rival = self._tree.placed_by_others(placement.child)
        self._tell(placement, rival)
        if rival is not None:
            return
        message = transform_to_message(placement.parent, placement.child, placement.pose, stamp_ns)
        self._tree.remember_own(message)
        self._send(message)
        self._newest_ns = stamp_ns
        self.sent += 1

    def _tell(self, placement: Placement, rival: Placed | None) -> None:
        """Log once that somebody else places the frame, and once that they no longer do."""
        ours = f"{placement.parent} -> {placement.child}"
        problem = "" if rival is None else self._describe(placement, rival, ours)
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            self._node.get_logger().error(problem)
        else:
            self._node.get_logger().info(f"{ours} is sent again: nobody else has placed it for some seconds")

    def _describe(self, placement: Placement, rival: Placed, ours: str) -> str:
        topic = "/tf_static" if rival.is_static else "/tf"
        if rival.parent == placement.parent:
            return f"{ours} is not sent: somebody else sends it on {topic}, too; stop one of the two"
        return (
            f"{ours} is not sent: {rival.parent} -> {placement.child} is on {topic}, and a frame has one "
            f"parent; {self._advice()}, or stop whoever sends {rival.parent} -> {placement.child}"
        )


def _create_publisher(node: Node) -> tuple[Publisher, Callable[[TransformStamped], None]]:
    if find_spec("tf2_ros") is not None:
        from tf2_ros import TransformBroadcaster

        broadcaster = TransformBroadcaster(node, QoSProfile(depth=_DEPTH))
        return broadcaster.pub_tf, broadcaster.sendTransform
    if find_spec("tf2_msgs") is None:
        raise HyperPoseError("neither tf2_ros nor tf2_msgs is installed: install one, or set tf_mode to none")
    from tf2_msgs.msg import TFMessage

    publisher = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=_DEPTH))
    return publisher, lambda transform: publisher.publish(TFMessage(transforms=[transform]))
