"""From the network's answers to a fix: which camera, where in the map, where the robot's body is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hyperpose_core.inference.estimator import PoseEstimate
from hyperpose_ros.common.fix import Fix, PoseWithCovariance, View
from hyperpose_ros.fusion.pose_fusion import Fusion, body_from_camera, fuse
from hyperpose_ros.images.cameras import Camera
from hyperpose_ros.images.inbox import Frame
from hyperpose_ros.tf.plan import FramePlan


class Locator:
    """Turns what the network says of a set of frames into one fix."""

    def __init__(self, plan: FramePlan, cameras: Sequence[Camera], pose_of: str) -> None:
        """Build from the plan of frames, the node's cameras, and what is published: camera or base."""
        self._plan = plan
        self._cameras = cameras
        self._pose_of = pose_of

    def fix(self, frames: Sequence[Frame], estimates: Sequence[PoseEstimate]) -> Fix:
        """Return the fix of frames that were looked at together, one estimate a frame."""
        views = tuple(self._view(frame, estimate) for frame, estimate in zip(frames, estimates, strict=True))
        bases = [(view, base) for view in views if (base := self._base(view)) is not None]
        fusion = fuse([base for _, base in bases]) if bases else None
        names = [self._cameras[view.camera].name for view, _ in bases]
        base = None if fusion is None else fusion.fused
        left_out = [] if fusion is None else [bases[index][0].camera for index in fusion.left_out]
        return Fix(
            stamp_ns=max(frame.stamp_ns for frame in frames),
            views=tuple(replace(view, left_out=view.camera in left_out) for view in views),
            base=base,
            published=views[0].in_map if self._pose_of == "camera" else base,
            disagreement=_disagreement(fusion, names),
            left_out=tuple(self._cameras[camera].name for camera in left_out),
        )

    def _view(self, frame: Frame, estimate: PoseEstimate) -> View:
        in_map = None if estimate.pose is None else self._plan.to_map(estimate.pose, estimate.covariance)
        return View(
            camera=frame.camera,
            image_frame=frame.message.header.frame_id,
            in_map=in_map,
            in_world=estimate.pose,
            scene=estimate.scene,
            scene_index=estimate.scene_index,
            scene_probability=estimate.scene_probability,
        )

    def _base(self, view: View) -> PoseWithCovariance | None:
        extrinsics = self._plan.extrinsics_of(view.camera, view.image_frame)
        if view.in_map is None or extrinsics is None:
            return None
        return body_from_camera(view.in_map, extrinsics)


def _disagreement(fusion: Fusion | None, names: Sequence[str]) -> str:
    if fusion is None or fusion.agree:
        return ""
    return f"the cameras {', '.join(names)} contradict one another, and no majority of them agrees"
