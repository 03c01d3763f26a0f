"""The cameras that the localizer listens to: one on `image`, or several by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_ros.common.conversions import pose_from_numbers
from hyperpose_ros.parameters.localizer import LocalizerParameters, camera_declarations
from hyperpose_ros.parameters.on_node import NodeParameters


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


def declare_cameras(parameters: NodeParameters[LocalizerParameters]) -> None:
    """Declare the parameters of each camera that `cameras` names now.

    Raises:
        HyperPoseError: an override has the wrong type or an impossible value.
    """
    parameters.declare(camera_declarations(parameters.values.cameras))


def read_cameras(values: LocalizerParameters, value_of: Callable[[str], Any]) -> tuple[Camera, ...]:
    """Return the cameras that a node's parameters speak of, in the order of the parameter `cameras`.

    Args:
        values: the node's parameters.
        value_of: returns the value of a parameter that `declare_cameras` declared, by its name.

    Raises:
        HyperPoseError: extrinsics are no pose, or are given for one camera where there are several.
    """
    if not values.cameras:
        extrinsics = _extrinsics("camera_extrinsics", values.camera_extrinsics)
        return (Camera("", "image", "camera_info", extrinsics),)
    names = [declaration.name for declaration in camera_declarations(values.cameras)]
    if values.camera_extrinsics:
        raise HyperPoseError(
            "parameter camera_extrinsics is for one camera; for those that the parameter cameras names, set "
            + ", ".join(names)
        )
    return tuple(
        Camera(camera, f"{camera}/image", f"{camera}/camera_info", _extrinsics(name, value_of(name)))
        for camera, name in zip(values.cameras, names, strict=True)
    )


def _extrinsics(parameter: str, numbers: tuple[float, ...]) -> Pose | None:
    if not numbers:
        return None
    try:
        return pose_from_numbers(numbers)
    except ValueError as error:
        raise HyperPoseError(f"parameter {parameter}: {error}") from error
