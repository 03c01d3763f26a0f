"""What others say on /tf and /tf_static: which frame has which parent, and where it is in it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from hyperpose_core.geometry.frame_chains import between, frame_name, is_above, pose_in
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.common.conversions import transform_from_message

SILENCE_NS = 5_000_000_000
"""Whoever has not placed a frame on /tf for that long no longer counts as doing so."""

MOST_FRAMES = 10_000
"""Frames that are known at most, moving ones and those that stand still."""

LARGEST_TRANSLATION_M = 1e8
"""Frames further apart are a mistake: from the centre of the earth to a satellite it is less."""

LARGEST_BODY_M = 1000.0
"""A frame further from a robot's body is no part of it."""

_FAR_AWAY = f"its frames are more than {LARGEST_TRANSLATION_M:.0e} m apart"
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

    Whatever is sent, it stays small: of moving frames the `MOST_FRAMES` heard last are known, of those that
    stand still the first ones.
    """

    def __init__(
        self,
        now_ns: Callable[[], int] = time.monotonic_ns,
        warn: Callable[[str, str], None] = lambda cause, text: None,
    ) -> None:
        """Start without any.

        Args:
            now_ns: monotonic nanoseconds.
            warn: told, by a cause and in words, of transforms that are left out.
        """
        self._now_ns = now_ns
        self._warn = warn
        self._lock = threading.Lock()
        self._moving: dict[str, Placed] = {}  # the longest silent one first
        self._fixed: dict[str, Placed] = {}
        self._parents: dict[str, str] = {}
        self._fixed_parents: dict[str, str] = {}
        self._own: deque[tuple[object, ...]] = deque(maxlen=_REMEMBERED)
        self._own_children: set[str] = set()

    def remember_own(self, transform: TransformStamped) -> None:
        """Remember a transform that this node is about to send."""
        with self._lock:
            self._own.append(_fingerprint(transform))
            self._own_children.add(frame_name(transform.child_frame_id))

    def hear(self, transforms: Iterable[TransformStamped], is_static: bool) -> None:
        """Take in a message's transforms; our own, and such as cannot be, are left out."""
        for transform in transforms:
            child, parent = frame_name(transform.child_frame_id), frame_name(transform.header.frame_id)
            try:
                pose = transform_from_message(transform)
            except ValueError:
                continue
            if float(np.abs(pose.position).max()) > LARGEST_TRANSLATION_M:
                self._warn("transform", f"{parent} -> {child} on /tf is left out: {_FAR_AWAY}")
                continue
            with self._lock:
                if child in self._own_children and _fingerprint(transform) in self._own:
                    continue
                has_room = self._place(child, Placed(parent, pose, is_static, self._now_ns()))
            if not has_room:
                self._warn(
                    "frames", f"{parent} -> {child} on /tf_static is left out: there are {MOST_FRAMES} others"
                )

    def placed_by_others(self, child: str) -> Placed | None:
        """Return how somebody else places a frame; None where nobody does, or has for `SILENCE_NS`."""
        name = frame_name(child)
        with self._lock:
            placed = self._fixed.get(name) or self._moving.get(name)
        if placed is None or not placed.is_static and self._now_ns() - placed.heard_ns > SILENCE_NS:
            return None
        return placed

    def on_the_way(self, parent: str, child: str) -> dict[str, Placed]:
        """Return how the frames between one frame and another are placed; empty where that is not known."""
        with self._lock:
            ways = between(self._parents, parent, child)
            if ways is None:
                return {}
            return {name: self._fixed.get(name) or self._moving[name] for way in ways for name in way}

    def pose_on_body(self, body: str, frame: str) -> Pose | None:
        """Return the latest pose of a frame that is fixed to a body; None where that is not known.

        Two frames that only a moving transform connects are not of one body, unless the body carries the
        other: a camera that odometry has placed beside the body is no part of it.
        """
        body, frame = frame_name(body), frame_name(frame)
        with self._lock:
            usable = self._parents if is_above(self._parents, body, frame) else self._fixed_parents
            pose = pose_in(
                usable, body, frame, lambda name: (self._fixed.get(name) or self._moving[name]).pose
            )
        if pose is not None and float(np.linalg.norm(pose.position)) > LARGEST_BODY_M:
            distance = f"{float(np.linalg.norm(pose.position)):.3g} m"
            self._warn("body", f"{frame} is {distance} from {body} on /tf, which is no robot: left out")
            return None
        return pose

    def _place(self, child: str, placed: Placed) -> bool:
        """Place a frame anew; False where there is no room for it."""
        if placed.is_static:
            if child not in self._fixed and len(self._fixed) >= MOST_FRAMES:
                return False
            self._moving.pop(child, None)
            self._fixed[child] = placed
            self._fixed_parents[child] = placed.parent
        elif child in self._fixed:
            return True  # what /tf_static says holds for ever
        else:
            self._moving.pop(child, None)
            self._moving[child] = placed
            if len(self._moving) > MOST_FRAMES:
                silent = next(iter(self._moving))
                del self._moving[silent], self._parents[silent]
        self._parents[child] = placed.parent
        return True


class HearsTransforms(Protocol):
    """What a `FrameListener` feeds."""

    def hear(self, transforms: Iterable[TransformStamped], is_static: bool) -> None:
        """Take in a message's transforms."""


class FrameListener:
    """Feeds a tree of frames from /tf and /tf_static until it is destroyed.

    Subscribes as tf2_ros listeners do, so that it hears what they hear. Where tf2_msgs is not installed it
    hears nothing.
    """

    def __init__(
        self, node: Node, tree: HearsTransforms, on_moving: Callable[[TransformStamped], None]
    ) -> None:
        """Subscribe.

        Args:
            node: the node that subscribes.
            tree: what to feed.
            on_moving: called with each transform on /tf, once the tree has heard it.
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
            self._on_moving(transform)


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
