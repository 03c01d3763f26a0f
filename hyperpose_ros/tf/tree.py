"""What others say on /tf and /tf_static: which frame has which parent, and where it is in it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from hyperpose_core.geometry.frame_chains import frame_name, is_above, pose_in
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.common.conversions import stamp_to_nanoseconds, transform_from_message

SILENCE_NS = 5_000_000_000
"""Whoever has not placed a frame on /tf for that long no longer counts as doing so."""

_REMEMBERED = 512  # transforms of our own, which /tf brings back within milliseconds
_DEPTH = 100


@dataclass(frozen=True, eq=False)
class Placed:
    """A frame as somebody else has placed it.

    Attributes:
        parent: the parent frame's name.
        pose: the frame in its parent.
        is_static: whether that was said on /tf_static, once and for all.
        heard_ns: when it was heard; monotonic nanoseconds.
    """

    parent: str
    pose: Pose
    is_static: bool
    heard_ns: int


class FrameTree:
    """The frames that others place; safe to use from any thread.

    A transform that this node has sent itself comes back on /tf. It is told from another's by its stamp and
    numbers: two senders that agree on all of them cannot be told apart, and do no harm.
    """

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """Start without any.

        Args:
            now_ns: monotonic nanoseconds.
        """
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._placed: dict[str, Placed] = {}
        self._own: deque[tuple[object, ...]] = deque(maxlen=_REMEMBERED)
        self._own_children: set[str] = set()

    def remember_own(self, transform: TransformStamped) -> None:
        """Remember a transform that this node is about to send."""
        with self._lock:
            self._own.append(_fingerprint(transform))
            self._own_children.add(frame_name(transform.child_frame_id))

    def hear(self, transforms: Iterable[TransformStamped], is_static: bool) -> None:
        """Take in a message's transforms; our own, and such as are none, are left out."""
        for transform in transforms:
            child = frame_name(transform.child_frame_id)
            try:
                pose = transform_from_message(transform)
            except ValueError:
                continue
            placed = Placed(frame_name(transform.header.frame_id), pose, is_static, self._now_ns())
            with self._lock:
                if child in self._own_children and _fingerprint(transform) in self._own:
                    continue
                before = self._placed.get(child)
                # What /tf_static says holds for ever.
                if before is None or is_static or not before.is_static:
                    self._placed[child] = placed

    def placed_by_others(self, child: str) -> Placed | None:
        """Return how somebody else places a frame; None where nobody does, or has for `SILENCE_NS`."""
        with self._lock:
            placed = self._placed.get(frame_name(child))
        if placed is None or not placed.is_static and self._now_ns() - placed.heard_ns > SILENCE_NS:
            return None
        return placed

    def pose_on_body(self, body: str, frame: str) -> Pose | None:
        """Return the latest pose of a frame that is fixed to a body; None where that is not known.

        Two frames that only a moving transform connects are not of one body, unless the body carries the
        other: a camera that odometry has placed beside the body is no part of it.
        """
        body, frame = frame_name(body), frame_name(frame)
        with self._lock:
            placed = dict(self._placed)
        parents = {child: entry.parent for child, entry in placed.items()}
        fixed = {child: entry.parent for child, entry in placed.items() if entry.is_static}
        usable = parents if is_above(parents, body, frame) else fixed
        return pose_in(usable, body, frame, lambda child: placed[child].pose)


class HearsTransforms(Protocol):
    """What a `FrameListener` feeds."""

    def hear(self, transforms: Iterable[TransformStamped], is_static: bool) -> None:
        """Take in a message's transforms."""


class FrameListener:
    """Feeds a tree of frames from /tf and /tf_static until it is destroyed.

    Subscribes as tf2_ros listeners do, so that it hears what they hear. Where tf2_msgs is not installed it
    hears nothing.
    """

    def __init__(self, node: Node, tree: HearsTransforms, on_moving: Callable[[str, int], None]) -> None:
        """Subscribe.

        Args:
            node: the node that subscribes.
            tree: what to feed.
            on_moving: called with the parent frame and the stamp, nanoseconds, of each transform on /tf.
        """
        self._node = node
        self._tree = tree
        self._on_moving = on_moving
        self._subscriptions = []
        if find_spec("tf2_msgs") is None:
            return
        from tf2_msgs.msg import TFMessage

        latched = QoSProfile(depth=_DEPTH, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf_static", self._on_static, latched),
            node.create_subscription(TFMessage, "/tf", self._on_transforms, QoSProfile(depth=_DEPTH)),
        ]

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_static(self, message: object) -> None:
        self._tree.hear(message.transforms, is_static=True)  # type: ignore[attr-defined]

    def _on_transforms(self, message: object) -> None:
        transforms = message.transforms  # type: ignore[attr-defined]
        self._tree.hear(transforms, is_static=False)
        for transform in transforms:
            self._on_moving(
                frame_name(transform.header.frame_id), stamp_to_nanoseconds(transform.header.stamp)
            )


def _fingerprint(transform: TransformStamped) -> tuple[object, ...]:
    stamp, translation, rotation = (
        transform.header.stamp,
        transform.transform.translation,
        transform.transform.rotation,
    )
    return (
        frame_name(transform.header.frame_id),
        frame_name(transform.child_frame_id),
        stamp.sec,
        stamp.nanosec,
        *(translation.x, translation.y, translation.z),
        *(rotation.x, rotation.y, rotation.z, rotation.w),
    )
