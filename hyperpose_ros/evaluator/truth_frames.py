"""Which frames poses are in and of, and how true poses get to those of the estimates."""

from __future__ import annotations

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.frame_chains import frame_name, pose_in
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg, position_errors
from hyperpose_ros.common.conversions import transform_from_message

_STILL_M = 1e-6
_STILL_DEG = 1e-4


class StandingFrames:
    """The frames that stand still in their parents, by /tf and /tf_static.

    A frame that moves connects nothing: what moves between a map and odometry may be the localizer's own
    estimate, against which it would score well whatever it did.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._parents: dict[str, str] = {}
        self._poses: dict[str, Pose] = {}
        self._moving: set[str] = set()

    def hear(self, transforms: Iterable[TransformStamped], is_static: bool) -> None:
        """Take in a message's transforms; what is none is left out."""
        for transform in transforms:
            child, parent = frame_name(transform.child_frame_id), frame_name(transform.header.frame_id)
            try:
                pose = transform_from_message(transform)
            except ValueError:
                continue
            if child in self._poses and not is_static and not self._agrees(child, parent, pose):
                self._moving.add(child)
            self._parents[child], self._poses[child] = parent, pose

    def pose(self, parent: str, child: str) -> Pose | None:
        """Return a frame's pose in another; None where no chain of standing frames connects them."""
        standing = {name: above for name, above in self._parents.items() if name not in self._moving}
        return pose_in(standing, parent, child, self._poses.__getitem__)

    def listing(self) -> str:
        """Return what is known of all frames, for people."""
        names = sorted({*self._parents, *self._parents.values()})
        return ", ".join(f"{name} (moving)" if name in self._moving else name for name in names) or "none"

    def _agrees(self, child: str, parent: str, pose: Pose) -> bool:
        before = self._poses[child]
        return (
            self._parents[child] == parent
            and float(position_errors(pose.position, before.position)) < _STILL_M
            and float(orientation_errors_deg(pose.orientation, before.orientation)) < _STILL_DEG
        )


class PoseFrames:
    """The frames that estimates and true poses say they are in and of.

    Args:
        camera: the camera's optical frame; empty where nobody said it.
    """

    def __init__(self, camera: str) -> None:
        self._camera = frame_name(camera)
        self._estimates: set[str] = set()
        self._truths: set[tuple[str, str]] = set()

    def add_estimate(self, frame: str) -> None:
        """Take note of the frame that an estimate is in."""
        self._estimates.add(frame_name(frame))

    def add_truth(self, frame: str, child: str) -> None:
        """Take note of the frame that a true pose is in, and of; empty where it doesn't say."""
        self._truths.add((frame_name(frame), frame_name(child)))

    def moves(self, frames: StandingFrames) -> tuple[Pose, Pose]:
        """Return what takes true poses to the estimates' frames: before @ true pose @ after.

        Raises:
            HyperPoseError: TF does not connect them, or messages of one kind contradict each other.
        """
        if len(self._estimates) > 1 or len(self._truths) > 1:
            names = sorted(self._estimates) if len(self._estimates) > 1 else sorted(map(str, self._truths))
            raise HyperPoseError(f"poses on one topic are in or of different frames: {', '.join(names)}")
        (world,), ((truth, child),) = self._estimates or {""}, self._truths or {("", "")}
        before, after = Pose.identity(), Pose.identity()
        if truth and world and truth != world:
            before = self._connection(frames, world, truth, "the estimates are in")
        if not self._is_camera(child):
            if not self._camera:
                raise HyperPoseError(
                    f"the ground truth is of {child!r}, the estimates of the camera's optical frame: set "
                    "parameter camera_frame to its name, so that TF can say where it is"
                )
            after = self._connection(frames, child, self._camera, "the ground truth is of")
        return before, after

    def _is_camera(self, child: str) -> bool:
        return not child or (child == self._camera if self._camera else "optical" in child)

    def _connection(self, frames: StandingFrames, parent: str, child: str, what: str) -> Pose:
        pose = frames.pose(parent, child)
        if pose is None:
            other = "the ground truth is in" if what.startswith("the est") else "the estimates of"
            raise HyperPoseError(
                f"{what} {parent!r}, {other} {child!r}, and no transforms that stand still connect them; "
                f"frames on TF: {frames.listing()}"
            )
        return pose
