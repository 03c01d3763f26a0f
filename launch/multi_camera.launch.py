"""Starts the localizer for a robot with several cameras, whose images are answered together.

Where each camera sits on the robot is in the parameter file, or comes from TF. What localize.launch.py takes
is taken here, too.
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetRemap
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

_ARGUMENTS = (
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution(
            [FindPackageShare("hyperpose_ros"), "config", "multi_camera.yaml"]
        ),
        description="YAML file with the localizer's parameters and each camera's NAME.camera_extrinsics.",
    ),
    DeclareLaunchArgument(
        "cameras", default_value="[front, rear]", description="Names of the cameras, as in '[front, rear]'."
    ),
    DeclareLaunchArgument(
        "images",
        default_value="",
        description="Topics of the cameras' images in the order of cameras, without '/compressed', as in "
        "'[/front/image_raw, /rear/image_raw]', which is what is taken where nothing is given.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    localize = PythonLaunchDescriptionSource(str(Path(__file__).parent / "localize.launch.py"))
    return LaunchDescription(
        [*_ARGUMENTS, OpaqueFunction(function=_map_topics), IncludeLaunchDescription(localize)]
    )


def _map_topics(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    cameras = _words(LaunchConfiguration("cameras").perform(context))
    given = LaunchConfiguration("images").perform(context)
    topics = _words(given) if given else [f"/{camera}/image_raw" for camera in cameras]
    if len(topics) != len(cameras):
        raise ValueError(
            f"images:={given} names {len(topics)} topics for {len(cameras)} cameras: {', '.join(cameras)}"
        )
    remaps = [SetRemap(f"{camera}/image", topic) for camera, topic in zip(cameras, topics, strict=True)]
    # RViz and the viewer show the first camera's images, and poses of the body.
    return [*remaps, SetLaunchConfiguration("image", topics[0]), SetLaunchConfiguration("pose_of", "base")]


def _words(text: str) -> list[str]:
    return [word.strip(" '\"") for word in text.strip("[] ").split(",")]
