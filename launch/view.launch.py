"""Shows what a localizer does: in RViz, or, where that is not installed, in the viewer.

localize.launch.py includes this file; by itself it looks at a localizer that runs elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

_ARGUMENTS = (
    DeclareLaunchArgument(
        "rviz", default_value="false", choices=["true", "false"], description="Start RViz."
    ),
    DeclareLaunchArgument(
        "rviz_config",
        default_value=PathJoinSubstitution([FindPackageShare("hyperpose_ros"), "config", "localizer.rviz"]),
        description="What RViz shows.",
    ),
    DeclareLaunchArgument(
        "viewer",
        default_value="false",
        choices=["true", "web", "false"],
        description="Start the viewer, which needs no RViz but `pip install rerun-sdk`: true for a window, "
        "web for a page at http://localhost:9090.",
    ),
    DeclareLaunchArgument(
        "viewer_record",
        default_value="",
        description="Have the viewer write into this file, FILE.rrd, what it would show; `rerun FILE.rrd` "
        "opens it.",
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
        description="raw for sensor_msgs/Image, compressed for sensor_msgs/CompressedImage; empty for raw.",
    ),
    DeclareLaunchArgument(
        "ground_truth",
        default_value="/ground_truth/pose",
        description="Topic of the true poses, where there are some, to show beside the estimates.",
    ),
    DeclareLaunchArgument(
        "ground_truth_type",
        default_value="pose",
        choices=["pose", "odometry"],
        description="pose for geometry_msgs/PoseStamped, odometry for nav_msgs/Odometry.",
    ),
    DeclareLaunchArgument(
        "match_tolerance",
        default_value="0.0",
        description="Seconds by which the stamps of an estimate and its true pose may differ.",
    ),
    DeclareLaunchArgument(
        "pose_of",
        default_value="",
        choices=["", "auto", "camera", "base"],
        description="What the localizer's poses speak of, and so what is drawn.",
    ),
    DeclareLaunchArgument("map_frame", default_value="", description="Frame of the poses; empty for map."),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the localizer."),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=["true", "false"],
        description="Take the time from /clock, as a replay needs it.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    return LaunchDescription([*_ARGUMENTS, OpaqueFunction(function=_show)])


def _show(context: LaunchContext) -> list[Node]:
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    shown = [_rviz(given)] if given("rviz") == "true" else []
    if given("viewer") != "false" or given("viewer_record"):
        shown.append(_viewer(given))
    return shown


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
    )


def _viewer(given: Callable[[str], str]) -> Node:
    record = given("viewer_record")
    parameters = {
        "record": str(Path(record).expanduser().absolute()) if record else "",
        "web": given("viewer") == "web",
        "image_transport": given("image_transport") or "raw",
        "ground_truth_type": given("ground_truth_type"),
        "match_tolerance": float(given("match_tolerance")),
        "pose_of": "base" if given("pose_of") == "base" else "camera",
    }
    return Node(
        package="hyperpose_ros",
        executable="viewer",
        name="viewer",
        namespace=given("namespace"),
        parameters=[
            {name: ParameterValue(value, value_type=type(value)) for name, value in parameters.items()}
        ],
        remappings=[("image", given("image")), ("ground_truth/pose", given("ground_truth"))],
        output="screen",
    )
