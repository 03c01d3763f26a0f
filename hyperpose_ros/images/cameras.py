"""The cameras that the localizer listens to: one on `image`, or several by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.common.conversions import pose_from_numbers
from hyperpose_ros.parameters.localizer import LocalizerParameters


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera.

    Attributes:
        name: its name; empty for a node's only camera.
        topic: its images' topic, relative and before remapping.
        info_topic: the topic of its camera_info, relative and before remapping.
        extrinsics: its optical frame in the body frame, as the parameters say; None where they don't.
    """

    name: str
    topic: str
    info_topic: str
    extrinsics: Pose | None


def read_cameras(
    values: LocalizerParameters, extrinsics_of: Callable[[str], tuple[float, ...]]
) -> tuple[Camera, ...]:
    """Return the cameras that a node's parameters speak of, in the order of the parameter `cameras`.

    Args:
        values: the node's parameters.
        extrinsics_of: what NAME.camera_extrinsics says of a camera by its name; empty where it is not set.

    Raises:
        HyperPoseError: extrinsics are no pose, or are given for one camera where there are several.
    """
    if not values.cameras:
        extrinsics = _extrinsics("camera_extrinsics", values.camera_extrinsics)
        return (Camera("", "image", "camera_info", extrinsics),)
    if values.camera_extrinsics:
        raise HyperPoseError(
            "parameter camera_extrinsics is for one camera; for those that the parameter cameras names, set "
            + ", ".join(f"{name}.camera_extrinsics" for name in values.cameras)
        )
    return tuple(
        Camera(
            name,
            f"{name}/image",
            f"{name}/camera_info",
            _extrinsics(f"{name}.camera_extrinsics", extrinsics_of(name)),
        )
        for name in values.cameras
    )


def _extrinsics(parameter: str, numbers: tuple[float, ...]) -> Pose | None:
    if not numbers:
        return None
    try:
        return pose_from_numbers(numbers)
    except ValueError as error:
        raise HyperPoseError(f"parameter {parameter}: {error}") from error
