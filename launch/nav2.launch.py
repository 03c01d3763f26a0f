"""Starts the localizer beside Nav2: as global localizer that tells AMCL where to begin, or in AMCL's place.

Nav2 itself is started apart; docs/robot.md has the graph and what goes into Nav2's parameters. What
localize.launch.py takes is taken here, too, and goes before what `amcl` would choose.
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
from launch.substitutions import LaunchConfiguration

from launch import LaunchContext, LaunchDescription

_ARGUMENTS = (
    DeclareLaunchArgument(
        "amcl",
        default_value="true",
        choices=["true", "false"],
        description="Whether AMCL sends map -> odom. true: the localizer only tells it on initialpose where "
        "the robot is, at the start and each time that it was lost. false: the localizer sends map -> odom "
        "itself, by poses that the landmark map has verified.",
    ),
    DeclareLaunchArgument(
        "odometry",
        default_value="odom",
        description="Topic of the robot's nav_msgs/Odometry, from odom_frame to base_frame.",
    ),
)

_BESIDE_AMCL = {
    "tf_mode": "none",
    "pose_of": "base",
    "refinement": "verify",
    "initial_pose": "on_lost",
    "odometry_source": "topic",
}
_IN_ITS_PLACE = {
    "tf_mode": "map_odom",
    "pose_of": "base",
    "refinement": "refine",
    "initial_pose": "off",
    "odometry_source": "topic",
}


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    localize = PythonLaunchDescriptionSource(str(Path(__file__).parent / "localize.launch.py"))
    return LaunchDescription(
        [*_ARGUMENTS, OpaqueFunction(function=_choose), IncludeLaunchDescription(localize)]
    )


def _choose(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Set what nobody has given.

    Raises:
        RuntimeError: odom would get two parents.
    """
    is_beside = LaunchConfiguration("amcl").perform(context) == "true"
    wanted = _BESIDE_AMCL if is_beside else _IN_ITS_PLACE
    given = {name: context.launch_configurations.get(name) for name in wanted}
    if is_beside and given["tf_mode"] not in (None, "", "none"):
        raise RuntimeError(
            f"tf_mode:={given['tf_mode']} with amcl:=true: AMCL sends map -> odom, and odom has one parent; "
            "leave tf_mode out, or set amcl:=false and start Nav2 without AMCL"
        )
    return [SetLaunchConfiguration(name, value) for name, value in wanted.items() if not given[name]]
