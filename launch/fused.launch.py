"""Starts the localizer and robot_localization's EKF, which fuses its poses with the robot's odometry.

The EKF publishes odometry/filtered and map -> odom; the robot's odometry publishes odom -> base_link. What
localize.launch.py takes is taken here, too.
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

_ARGUMENTS = (
    DeclareLaunchArgument(
        "ekf_params_file",
        default_value=PathJoinSubstitution(
            [FindPackageShare("hyperpose_ros"), "config", "robot_localization.yaml"]
        ),
        description="YAML file with the EKF's parameters.",
    ),
    DeclareLaunchArgument(
        "odometry",
        default_value="odometry",
        description="Topic of the robot's nav_msgs/Odometry, whose velocities are fused.",
    ),
    DeclareLaunchArgument(
        "two_d_mode",
        default_value="",
        choices=["", "true", "false"],
        description="Whether the EKF holds z, roll and pitch at 0, for wheeled robots on flat floors.",
    ),
    DeclareLaunchArgument(
        "tf_mode",
        default_value="none",
        choices=["none"],
        description="The localizer sends no transform: the EKF sends map -> odom.",
    ),
    DeclareLaunchArgument(
        "pose_of",
        default_value="base",
        choices=["base"],
        description="The EKF takes poses of the robot's body: the camera's place on it must be known.",
    ),
)

# What the localizer calls a frame, and what the EKF does. The filter works in the map.
_FRAMES = (
    ("map_frame", "map_frame"),
    ("map_frame", "world_frame"),
    ("odom_frame", "odom_frame"),
    ("base_frame", "base_link_frame"),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    localize = PythonLaunchDescriptionSource(str(Path(__file__).parent / "localize.launch.py"))
    return LaunchDescription(
        [*_ARGUMENTS, IncludeLaunchDescription(localize), OpaqueFunction(function=_start_filter)]
    )


def _start_filter(context: LaunchContext) -> list[Node]:
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    parameters_file = Path(given("ekf_params_file")).expanduser()
    if not parameters_file.is_file():
        raise FileNotFoundError(f"ekf_params_file:={parameters_file}: no such file")
    overrides: dict[str, object] = {"use_sim_time": given("use_sim_time") == "true"}
    if given("two_d_mode"):
        overrides["two_d_mode"] = given("two_d_mode") == "true"
    for argument, parameter in _FRAMES:
        if given(argument):
            overrides[parameter] = ParameterValue(given(argument), value_type=str)
    return [
        Node(
            package="robot_localization",
            executable="ekf_node",
            name="ekf",
            namespace=given("namespace"),
            parameters=[str(parameters_file), overrides],
            remappings=[("odometry", given("odometry"))],
            output="screen",
            on_exit=_end,
        )
    ]


def _end(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        # launch's own exit code is 1 only after an exception; its message is what the user reads last.
        raise RuntimeError(f"the EKF has ended with exit code {event.returncode}")
    return Shutdown(reason="the EKF has ended")
