"""Replays a bag into the localizer, scores its poses and ends by itself with a report.

The bag starts when the localizer is active. When the bag is over, the evaluator writes the report and
everything ends: with exit code 0, or with 1 and the reason. What localize.launch.py takes is taken here, too:
`viewer:=true` shows the run while it lasts.
"""

from __future__ import annotations

import shlex
import signal
from pathlib import Path

import yaml
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetLaunchConfiguration,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited, SignalProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

_ARGUMENTS = (
    DeclareLaunchArgument("bag", description="Folder of the rosbag2 bag, or a single .mcap or .db3 file."),
    DeclareLaunchArgument(
        "image",
        default_value="/camera/image_raw",
        description="Topic of the images in the bag, without '/compressed' where they are compressed.",
    ),
    DeclareLaunchArgument(
        "image_transport",
        default_value="",
        choices=["", "raw", "compressed"],
        description="raw or compressed images; empty for what the bag has.",
    ),
    DeclareLaunchArgument(
        "report", default_value="report", description="Folder for the report; made where it is missing."
    ),
    DeclareLaunchArgument("title", default_value="Replay", description="Heading of the report."),
    DeclareLaunchArgument(
        "ground_truth",
        default_value="/ground_truth/pose",
        description="Topic of the true poses of the camera's optical frame.",
    ),
    DeclareLaunchArgument("rate", default_value="1.0", description="Recorded seconds a second."),
    DeclareLaunchArgument(
        "delay",
        default_value="3.0",
        description="Seconds from the localizer being ready to the first message; discovery takes a while.",
    ),
    DeclareLaunchArgument(
        "play_arguments",
        default_value="",
        description="More arguments for `ros2 bag play`, as in '--start-offset 20 --topics /a /b'.",
    ),
    DeclareLaunchArgument(
        "start_timeout",
        default_value="180.0",
        description="Seconds until the localizer must be active.",
    ),
)

# Poses may stay away for long in the middle of a bag; the end of the bag ends the run, not a pause.
_NEVER_IDLE_S = 86400.0
# After the bag's last message its last image is still on the way through the network.
_SETTLE_S = 3.0
# Long enough for the plots of a long run, when the user ends it early.
_WRITING_S = "120"


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    replay = _Replay()
    localize = PythonLaunchDescriptionSource(str(Path(__file__).parent / "localize.launch.py"))
    return LaunchDescription(
        [
            *_ARGUMENTS,
            OpaqueFunction(function=_look_into_the_bag),
            IncludeLaunchDescription(localize, launch_arguments={"use_sim_time": "true"}.items()),
            OpaqueFunction(function=replay.start_evaluator),
            OpaqueFunction(function=replay.wait_for_localizer),
        ]
    )


class _Replay:
    """What starts when in a replay, and how it ends.

    An exception is launch's only way to an exit code other than 0; its message is what the user reads last.
    """

    def __init__(self) -> None:
        self._evaluator: Node | None = None

    def start_evaluator(self, context: LaunchContext) -> list[Node]:
        parameters = {
            "output_directory": ParameterValue(str(_path(context, "report")), value_type=str),
            "title": ParameterValue(_given(context, "title"), value_type=str),
            "ground_truth_type": _given(context, "ground_truth_type"),
            "match_tolerance": float(_given(context, "match_tolerance")),
            "idle_timeout": _NEVER_IDLE_S,
        }
        self._evaluator = Node(
            package="hyperpose_ros",
            executable="evaluator",
            name="evaluator",
            namespace=_given(context, "namespace"),
            parameters=[parameters],
            remappings=[("ground_truth/pose", _given(context, "ground_truth"))],
            output="screen",
            sigterm_timeout=_WRITING_S,
            on_exit=self._end,
        )
        return [self._evaluator]

    def wait_for_localizer(self, context: LaunchContext) -> list[Node]:
        # The event of the transition is sent once and is easily missed while nodes discover each other.
        waiting = Node(
            package="hyperpose_ros",
            executable="wait_until_active",
            namespace=_given(context, "namespace"),
            arguments=["localizer", "--timeout", _given(context, "start_timeout")],
            output="screen",
            on_exit=self._play,
        )
        return [waiting]

    def _play(self, event: ProcessExited, context: LaunchContext) -> ExecuteProcess | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            raise RuntimeError(f"the localizer was not active after {_given(context, 'start_timeout')} s")
        command = ["ros2", "bag", "play", str(_path(context, "bag")), "--clock"]
        command += ["--rate", _given(context, "rate"), "--delay", _given(context, "delay")]
        command += shlex.split(_given(context, "play_arguments"))
        return ExecuteProcess(cmd=command, output="screen", on_exit=self._ask_for_the_report)

    def _ask_for_the_report(self, event: ProcessExited, context: LaunchContext) -> TimerAction | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            raise RuntimeError(f"`ros2 bag play` has ended with exit code {event.returncode}")
        finish = SignalProcess(
            signal_number=signal.SIGINT, process_matcher=lambda action: action is self._evaluator
        )
        return TimerAction(period=_SETTLE_S, actions=[EmitEvent(event=finish)])

    def _end(self, event: ProcessExited, context: LaunchContext) -> Shutdown | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            raise RuntimeError(f"no report: the evaluator has ended with exit code {event.returncode}")
        return Shutdown(reason=f"the report is in {_path(context, 'report')}")


def _look_into_the_bag(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Find out how the images are transported, and whether the bag has what is needed."""
    bag = _path(context, "bag")
    if bag.is_file():
        return []
    try:
        metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    except OSError as error:
        raise RuntimeError(f"bag:={bag}: no rosbag2 bag: {error}") from error
    entries = metadata["rosbag2_bagfile_information"]["topics_with_message_count"]
    topics = {entry["topic_metadata"]["name"] for entry in entries}
    image, transport = _given(context, "image"), _given(context, "image_transport")
    if not transport:
        transport = "compressed" if image not in topics and f"{image}/compressed" in topics else "raw"
    needed = {"raw": image, "compressed": f"{image}/compressed"}[transport]
    for topic in (needed, _given(context, "ground_truth")):
        if topic not in topics:
            raise RuntimeError(f"bag:={bag}: no topic {topic}; it has: {', '.join(sorted(topics))}")
    return [SetLaunchConfiguration("image_transport", transport)]


def _given(context: LaunchContext, name: str) -> str:
    return LaunchConfiguration(name).perform(context)


def _path(context: LaunchContext, name: str) -> Path:
    return Path(_given(context, name)).expanduser().absolute()
