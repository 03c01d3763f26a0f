"""Replays a run of the Oxford RobotCar dataset into the localizer and ends by itself with a report.

From a bag that robotcar_to_bag wrote, or straight from the dataset's folder, of which the bag is made first.
The camera's place on the car is taken from the bag. What replay.launch.py takes is taken here, too.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    SetLaunchConfiguration,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchContext, LaunchDescription

_ARGUMENTS = (
    DeclareLaunchArgument(
        "bag",
        default_value="robotcar_bag",
        description="Folder of the bag that robotcar_to_bag wrote; with data: where it is written.",
    ),
    DeclareLaunchArgument(
        "data", default_value="", description="The dataset's folder, to make the bag of; empty: it is there."
    ),
    DeclareLaunchArgument(
        "run", default_value="", description="With data: the run's folder in it, as 2014-06-23-15-36-04."
    ),
    DeclareLaunchArgument(
        "sdk",
        default_value="",
        description="With data: the SDK's folder (extrinsics/, models/); empty: sdk in data or beside it.",
    ),
    DeclareLaunchArgument(
        "camera", default_value="stereo_centre", description="With data: which of the car's cameras."
    ),
    DeclareLaunchArgument(
        "compression",
        default_value="none",
        choices=["none", "jpeg", "png"],
        description="With data: how images are put into the bag.",
    ),
    DeclareLaunchArgument(
        "start", default_value="", description="With data: leave out images before this second."
    ),
    DeclareLaunchArgument(
        "end", default_value="", description="With data: leave out images after this second."
    ),
    DeclareLaunchArgument("base_frame", default_value="base_link", description="Frame of the car's body."),
    DeclareLaunchArgument("title", default_value="RobotCar", description="Heading of the report."),
)


def generate_launch_description() -> LaunchDescription:
    """Describe the launch for launch_ros."""
    replay = PythonLaunchDescriptionSource(str(Path(__file__).parent / "replay.launch.py"))
    printed: list[str] = []
    extrinsics = ExecuteProcess(
        cmd=[
            ExecutableInPackage("camera_extrinsics", "hyperpose_ros"),
            LaunchConfiguration("bag"),
            "--base-frame",
            LaunchConfiguration("base_frame"),
        ],
        output="screen",
    )
    start_replay = IncludeLaunchDescription(
        replay, launch_arguments={"bag": LaunchConfiguration("bag")}.items()
    )
    take = OpaqueFunction(function=lambda context: _take_extrinsics(context, "".join(printed)))
    return LaunchDescription(
        [
            *_ARGUMENTS,
            RegisterEventHandler(
                OnProcessIO(
                    target_action=extrinsics, on_stdout=lambda event: printed.append(event.text.decode())
                )
            ),
            RegisterEventHandler(OnProcessExit(target_action=extrinsics, on_exit=[take, start_replay])),
            OpaqueFunction(function=lambda context: _make_bag(context, extrinsics)),
        ]
    )


def _make_bag(context: LaunchContext, next_action: ExecuteProcess) -> list[Action]:
    """Make the bag if it is asked for, and then go on."""
    bag = _path(context, "bag")
    here = SetLaunchConfiguration("bag", str(bag))
    if not _given(context, "data"):
        return [here, next_action]
    if bag.exists():
        raise RuntimeError(f"bag:={bag} is there already: leave out data:= to replay it, or name another")
    if not _given(context, "checkpoint"):
        raise RuntimeError("checkpoint:= is missing: the network's world decides where the map's origin is")
    command = [ExecutableInPackage("robotcar_to_bag", "hyperpose_ros"), str(bag)]
    command += ["--data", str(_path(context, "data")), "--checkpoint", str(_path(context, "checkpoint"))]
    for option in ("run", "sdk", "camera", "compression", "start", "end"):
        if _given(context, option):
            command += [f"--{option}", _given(context, option)]

    def go_on(event: ProcessExited, context: LaunchContext) -> ExecuteProcess | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            raise RuntimeError(
                f"there is no bag: robotcar_to_bag has ended with exit code {event.returncode}"
            )
        return next_action

    return [here, ExecuteProcess(cmd=command, output="screen", on_exit=go_on)]


def _take_extrinsics(context: LaunchContext, text: str) -> list[Action]:
    """Give the localizer what camera_extrinsics has printed."""
    returncode = context.locals.event.returncode
    if returncode != 0:
        raise RuntimeError(
            f"the bag's camera has no place: camera_extrinsics has ended with exit code {returncode}"
        )
    numbers = yaml.safe_load(text)["/**"]["ros__parameters"]["camera_extrinsics"]
    return [SetLaunchConfiguration("camera_extrinsics", str(numbers))]


def _given(context: LaunchContext, name: str) -> str:
    return LaunchConfiguration(name).perform(context)


def _path(context: LaunchContext, name: str) -> Path:
    return Path(_given(context, name)).expanduser().absolute()
