"""Starts the localizer, and RViz where it is wanted.

An argument that is left empty keeps what the parameter file says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

_CONFIG = PathJoinSubstitution([FindPackageShare("hyperpose_ros"), "config"])

_ARGUMENTS = (
    DeclareLaunchArgument(
        "checkpoint", default_value="", description="Trained network, a .safetensors file."
    ),
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([_CONFIG, "localizer.yaml"]),
        description="YAML file with the localizer's parameters.",
    ),
    DeclareLaunchArgument(
        "image",
        default_value="/camera/image_raw",
        description="Topic of the camera's images, without '/compressed' where they are compressed.",
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="raw for sensor_msgs/Image, compressed for sensor_msgs/CompressedImage.",
    ),
    DeclareLaunchArgument(
        "device", default_value="", description="Where the network runs: auto, cpu, cuda or cuda:N."
    ),
    DeclareLaunchArgument("map_frame", default_value="", description="Frame of the poses."),
    DeclareLaunchArgument("base_frame", default_value="", description="Frame of the robot's body."),
    DeclareLaunchArgument(
        "camera_extrinsics",
        default_value="",
        description="Pose of the camera's optical frame in base_frame: '[x, y, z, qx, qy, qz, qw]' or "
        "'[x, y, z, roll, pitch, yaw]', in metres and radians.",
    ),
    DeclareLaunchArgument(
        "tf_mode",
        default_value="",
        choices=["", "auto", "map_base", "map_camera", "none"],
        description="Which transform goes out on /tf.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the localizer."),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        choices=["", "true", "false"],
        description="Whether the localizer configures and activates itself.",
    ),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=["true", "false"],
        description="Take the time from /clock, as a replay needs it.",
    ),
    DeclareLaunchArgument(
        "log_level", default_value="info", description="What the localizer logs: debug, info, warn or error."
    ),
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=["true", "false"], description="Whether RViz starts, too."
    ),
    DeclareLaunchArgument(
        "rviz_config",
        default_value=PathJoinSubstitution([_CONFIG, "localizer.rviz"]),
        description="What RViz shows.",
    ),
    DeclareLaunchArgument(
        "ground_truth",
        default_value="/ground_truth/pose",
        description="Topic of the true camera poses, where there are some, for RViz.",
    ),
)

# Text, also where it looks like a number or a truth value in YAML.
_TEXT_PARAMETERS = ("image_transport", "device", "map_frame", "base_frame", "tf_mode")


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    return LaunchDescription([*_ARGUMENTS, OpaqueFunction(function=_start_localizer)])


def _start_localizer(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    parameters_file = Path(given("params_file")).expanduser()
    if not parameters_file.is_file():
        raise FileNotFoundError(f"params_file:={parameters_file}: no such file")
    overrides: dict[str, object] = {"use_sim_time": given("use_sim_time") == "true"}
    if given("autostart"):
        overrides["autostart"] = given("autostart") == "true"
    for name in filter(given, _TEXT_PARAMETERS):
        overrides[name] = ParameterValue(given(name), value_type=str)
    if given("checkpoint"):
        checkpoint = Path(given("checkpoint")).expanduser().absolute()
        overrides["checkpoint"] = ParameterValue(str(checkpoint), value_type=str)
    if given("camera_extrinsics"):
        overrides["camera_extrinsics"] = _numbers("camera_extrinsics", given("camera_extrinsics"))
    localizer = LifecycleNode(
        package="hyperpose_ros",
        executable="localizer",
        name="localizer",
        namespace=given("namespace"),
        parameters=[str(parameters_file), overrides],
        remappings=[("image", given("image"))],
        ros_arguments=["--log-level", given("log_level")],
        output="screen",
        on_exit=_end,
    )
    return [localizer, _rviz(given)]


def _end(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        # launch's own exit code is 1 only after an exception; its message is what the user reads last.
        raise RuntimeError(f"the localizer has ended with exit code {event.returncode}; it has said why")
    return Shutdown(reason="the localizer has ended")


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(number) for number in text.strip("[] ").split(",")]
    except ValueError:
        raise ValueError(
            f"{name} is no list of numbers like '[0.3, 0, 1.2, -1.57, 0, -1.57]': {text}"
        ) from None


def _rviz(given: Callable[[str], str]) -> Node:
    localizer = "/" + "/".join(filter(None, [given("namespace").strip("/"), "localizer"]))
    shown = {
        "/camera/image_raw": given("image"),
        "/ground_truth/pose": given("ground_truth"),
        "/localizer/path": f"{localizer}/path",
        "/localizer/pose_with_covariance": f"{localizer}/pose_with_covariance",
    }
    return Node(
        package="rviz2",
        executable="rviz2",
        name="rviz",
        arguments=["--display-config", given("rviz_config"), "--fixed-frame", given("map_frame") or "map"],
        parameters=[{"use_sim_time": given("use_sim_time") == "true"}],
        remappings=list(shown.items()),
        condition=IfCondition(given("rviz")),
    )
