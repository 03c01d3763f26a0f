"""Starts the localizer, and what shows its work where it is wanted.

An argument that is left empty keeps what the parameter file says.
"""

from __future__ import annotations

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from hyperpose_ros.parameters.declaration import Declaration, declarations
from hyperpose_ros.parameters.launch_values import value_from_text
from hyperpose_ros.parameters.localizer import LocalizerParameters
from launch import LaunchContext, LaunchDescription

# The parameters that are arguments, too; the others are set in the parameter file.
_PARAMETERS = (
    "place",
    "checkpoint",
    "map",
    "refinement",
    "device",
    "image_transport",
    "use_camera_info",
    "cameras",
    "camera_extrinsics",
    "world_to_map",
    "map_frame",
    "odom_frame",
    "base_frame",
    "tf_mode",
    "transform_tolerance",
    "pose_of",
    "odometry_source",
    "max_age",
    "max_rate",
    "on_invalid",
    "initial_pose",
    "autostart",
)

_CONFIG = PathJoinSubstitution([FindPackageShare("hyperpose_ros"), "config"])

_ARGUMENTS = (
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
        "odometry",
        default_value="odometry",
        description="Topic of the robot's nav_msgs/Odometry, for odometry_source:=topic.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the localizer."),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=["true", "false"],
        description="Take the time from /clock, as a replay needs it.",
    ),
    DeclareLaunchArgument(
        "large_images",
        default_value="true",
        choices=["true", "false"],
        description="Whether Fast DDS gets 32 MB of shared memory for the images that this launch publishes "
        "(config/fastdds_large_images.xml), unless the environment names another profile.",
    ),
    DeclareLaunchArgument(
        "log_level", default_value="info", description="What the localizer logs: debug, info, warn or error."
    ),
)

# Fast DDS 3 takes the name of Fast DDS 2, too: with both set it loads the file twice, and complains.
_FAST_DDS_2_VARIABLE, _FAST_DDS_3_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")
_PROFILE = PathJoinSubstitution([_CONFIG, "fastdds_large_images.xml"])


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    parameters = [_argument(declaration) for declaration in _offered()]
    view = PythonLaunchDescriptionSource(str(Path(__file__).parent / "view.launch.py"))
    return LaunchDescription(
        [
            *_ARGUMENTS,
            *parameters,
            OpaqueFunction(
                function=_share_memory, condition=IfCondition(LaunchConfiguration("large_images"))
            ),
            OpaqueFunction(function=_start_localizer),
            IncludeLaunchDescription(view),
        ]
    )


def _offered() -> list[Declaration]:
    declared = {declaration.name: declaration for declaration in declarations(LocalizerParameters)}
    return [declared[name] for name in _PARAMETERS]


def _argument(declaration: Declaration) -> DeclareLaunchArgument:
    choices = ["true", "false"] if isinstance(declaration.default, bool) else list(declaration.choices)
    return DeclareLaunchArgument(
        declaration.name,
        default_value="",
        description=declaration.description,
        choices=["", *choices] if choices else None,
    )


def _share_memory(context: LaunchContext) -> list[SetEnvironmentVariable]:
    environment = context.environment
    if environment.get(_FAST_DDS_2_VARIABLE) or environment.get(_FAST_DDS_3_VARIABLE):
        return []
    is_old = environment.get("ROS_DISTRO") in _WITH_FAST_DDS_2
    return [SetEnvironmentVariable(_FAST_DDS_2_VARIABLE if is_old else _FAST_DDS_3_VARIABLE, _PROFILE)]


def _start_localizer(context: LaunchContext) -> list[LifecycleNode]:
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    parameters_file = Path(given("params_file")).expanduser()
    if not parameters_file.is_file():
        raise FileNotFoundError(f"params_file:={parameters_file}: no such file")
    overrides: dict[str, object] = {"use_sim_time": given("use_sim_time") == "true"}
    for declaration in filter(lambda declaration: given(declaration.name), _offered()):
        value = value_from_text(declaration, given(declaration.name))
        if declaration.name in ("place", "checkpoint", "map"):
            value = str(Path(str(value)).expanduser().absolute())
        # Text stays text, also where it looks like a number or a truth value in YAML.
        overrides[declaration.name] = (
            ParameterValue(value, value_type=str) if isinstance(value, str) else value
        )
    localizer = LifecycleNode(
        package="hyperpose_ros",
        executable="localizer",
        name="localizer",
        namespace=given("namespace"),
        parameters=[str(parameters_file), overrides],
        remappings=[("image", given("image")), ("odometry", given("odometry"))],
        ros_arguments=["--log-level", given("log_level")],
        output="screen",
        on_exit=_end,
    )
    return [localizer]


def _end(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        # launch's own exit code is 1 only after an exception; its message is what the user reads last.
        raise RuntimeError(f"the localizer has ended with exit code {event.returncode}; it has said why")
    return Shutdown(reason="the localizer has ended")
