"""What one set of images says about where the robot is."""

from __future__ import annotations

from dataclasses import dataclass

from hyperpose_core.geometry.poses import Array, Pose


@dataclass(frozen=True, eq=False)
class PoseWithCovariance:
    """A frame's pose in the map, and how far it may be off.

    Attributes:
        pose: the frame in the map.
        covariance: float64 [6, 6], order x, y, z, rot x, rot y, rot z, metres and radians, in the map's axes,
            the rotation a left perturbation.
    """

    pose: Pose
    covariance: Array


@dataclass(frozen=True, eq=False)
class View:
    """What one camera's image says.

    Attributes:
        camera: the camera's place in the node's list of cameras.
        image_frame: the frame_id of its image.
        in_map: the camera's optical frame in the map.
        in_world: the same in the world that the network was trained in; None where the output is not finite,
            and then nothing else but the scene means anything.
        scene: the scene that the network chose; None for a single-scene network.
        scene_index: the chosen scene's place in the checkpoint's list; 0 for a single-scene network.
        scene_probability: the probability it gave that scene.
        left_out: whether it contradicts the other cameras and plays no part in the fix.
    """

    camera: int
    image_frame: str
    in_map: PoseWithCovariance | None
    in_world: Pose | None
    scene: str | None = None
    scene_index: int = 0
    scene_probability: float | None = None
    left_out: bool = False


@dataclass(frozen=True, eq=False)
class Fix:
    """Where the robot was at one instant.

    Attributes:
        stamp_ns: the images' stamp, nanoseconds; the newest one's where there are several.
        views: one a camera that has seen something.
        base: the robot's body frame in the map; None where no camera's extrinsics are known.
        published: what the pose topics speak of: the camera or the body.
        disagreement: why the cameras contradict one another; empty where they don't.
        left_out: names of cameras that contradict the others and play no part in it.
    """

    stamp_ns: int
    views: tuple[View, ...]
    base: PoseWithCovariance | None
    published: PoseWithCovariance | None
    disagreement: str = ""
    left_out: tuple[str, ...] = ()
