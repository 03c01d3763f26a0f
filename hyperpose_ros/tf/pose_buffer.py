"""Poses of moving frames over the last seconds, and what lies between them."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right

from geometry_msgs.msg import TransformStamped

from hyperpose_core.geometry.frame_chains import frame_name, pose_in
from hyperpose_core.geometry.poses import Pose, slerp
from hyperpose_ros.common.conversions import stamp_to_nanoseconds, transform_from_message
from hyperpose_ros.common.time_jumps import LONGEST_DELAY_NS
from hyperpose_ros.tf.tree import FrameTree

LONGEST_EXTRAPOLATION_NS = 100_000_000
"""How far behind the newest odometry a pose may lie: its last motion is then taken to go on."""

LONGEST_GAP_NS = 500_000_000
"""How far apart two poses may be with one between them: beyond that the motion between them is a guess."""

_KEPT_NS = 10_000_000_000  # as long as a tf2 buffer keeps its transforms
_MOST_POSES = 10_000
_SPEED_OVER_NS = 50_000_000


class PoseBuffer:
    """A moving frame's poses of the latest 10 s, at most 10,000 of them; safe to use from any thread."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._stamps_ns: list[int] = []
        self._poses: list[Pose] = []

    def add(self, stamp_ns: int, pose: Pose) -> None:
        """Add the newest pose.

        A stamp that went back by more than half a second is a jump in time, and what came before it is
        forgotten; one that went back by less, or not on, is left out.
        """
        with self._lock:
            if self._stamps_ns and stamp_ns <= self._stamps_ns[-1]:
                if self._stamps_ns[-1] - stamp_ns <= LONGEST_DELAY_NS:
                    return
                self._stamps_ns.clear()
                self._poses.clear()
            self._stamps_ns.append(stamp_ns)
            self._poses.append(pose)
            # In batches, since taking from the front of a list moves the rest.
            if self._stamps_ns[0] < stamp_ns - 2 * _KEPT_NS or len(self._stamps_ns) > 2 * _MOST_POSES:
                first = max(
                    bisect_left(self._stamps_ns, stamp_ns - _KEPT_NS), len(self._stamps_ns) - _MOST_POSES
                )
                del self._stamps_ns[:first]
                del self._poses[:first]

    @property
    def newest_ns(self) -> int | None:
        """The newest pose's stamp, nanoseconds; None without any."""
        with self._lock:
            return self._stamps_ns[-1] if self._stamps_ns else None

    def at(self, stamp_ns: int) -> Pose | None:
        """Return the pose at a stamp: linear in position, slerp in orientation.

        Up to `LONGEST_EXTRAPOLATION_NS` behind the newest pose the latest motion goes on.

        Returns:
            None before the oldest pose, too far behind the newest, or between two that are more than
            `LONGEST_GAP_NS` apart.
        """
        with self._lock:
            stamps = self._stamps_ns
            after = bisect_left(stamps, stamp_ns)
            if after < len(stamps) and stamps[after] == stamp_ns:
                return self._poses[after]
            if after == len(stamps):
                if not stamps or stamp_ns - stamps[-1] > LONGEST_EXTRAPOLATION_NS:
                    return None
                after -= 1
                # Two poses of almost one time would make a wild speed of their rounding.
                before = bisect_right(stamps, stamps[-1] - _SPEED_OVER_NS) - 1
            else:
                before = after - 1
            if before < 0 or stamps[after] - stamps[before] > LONGEST_GAP_NS:
                return None
            start, end = self._poses[before], self._poses[after]
            fraction = (stamp_ns - stamps[before]) / (stamps[after] - stamps[before])
        position = start.position + fraction * (end.position - start.position)
        return Pose(position, slerp(start.orientation, end.orientation, fraction))


class FrameHistory:
    """Where a frame was in another one lately, over the moving and the fixed transforms between them.

    Keeps poses of the frames on the way alone; safe to use from any thread.
    """

    def __init__(self, tree: FrameTree, parent: str, child: str) -> None:
        """Begin without a past.

        Args:
            tree: knows which frames are between the two.
            parent: the frame to express poses in.
            child: the frame whose poses are wanted.
        """
        self._tree = tree
        self._parent = parent
        self._child = child
        self._lock = threading.Lock()
        self._moving: dict[str, PoseBuffer] = {}

    def hear(self, transform: TransformStamped) -> None:
        """Keep a transform of /tf, which the tree has heard, where it is on the way."""
        child = frame_name(transform.child_frame_id)
        if child not in self._tree.on_the_way(self._parent, self._child):
            return
        try:
            pose = transform_from_message(transform)
        except ValueError:
            return
        with self._lock:
            buffer = self._moving.setdefault(child, PoseBuffer())
        buffer.add(stamp_to_nanoseconds(transform.header.stamp), pose)

    def pose_at(self, stamp_ns: int) -> Pose | None:
        """Return the child in the parent at a stamp, as `PoseBuffer.at` has it; None where not known."""
        on_the_way = self._tree.on_the_way(self._parent, self._child)
        with self._lock:
            for frame in self._moving.keys() - on_the_way.keys():
                del self._moving[frame]
        poses: dict[str, Pose] = {}
        for frame, placed in on_the_way.items():
            pose = placed.pose if placed.is_static else self._at(frame, stamp_ns)
            if pose is None:
                return None
            poses[frame] = pose
        if not poses:
            return None
        parents = {frame: placed.parent for frame, placed in on_the_way.items()}
        return pose_in(parents, self._parent, self._child, poses.__getitem__)

    def newest_ns(self) -> int | None:
        """Return the stamp of the newest pose that is known of all moving frames on the way; else None."""
        moving = [
            frame
            for frame, placed in self._tree.on_the_way(self._parent, self._child).items()
            if not placed.is_static
        ]
        with self._lock:
            stamps = [buffer.newest_ns for frame in moving if (buffer := self._moving.get(frame))]
        known = [stamp for stamp in stamps if stamp is not None]
        return min(known) if known and len(known) == len(moving) else None

    def _at(self, frame: str, stamp_ns: int) -> Pose | None:
        with self._lock:
            buffer = self._moving.get(frame)
        return None if buffer is None else buffer.at(stamp_ns)
