"""The launch files, run by the real launch_ros where there is one."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "launch_ros", reason="launch and launch_ros are missing: they come with a ROS 2 distribution"
)

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from domains import claimed_domain
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from robotcar_layout import DOWN, EASTING, NORTHING, write_run, write_sdk
from ros_helpers import TestPeer, ros_environment, wait_until

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.geometry.world import World
from hyperpose_ros.bags.dataset_to_bag import main as dataset_to_bag

LAUNCH_FILES = Path(__file__).resolve().parents[1] / "launch"
# What `ros2 launch` does with a file and its arguments.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source, arguments = PythonLaunchDescriptionSource(sys.argv[1]), [text.split(":=", 1) for text in sys.argv[2:]]
service = LaunchService()
file = IncludeLaunchDescription(source, launch_arguments=arguments)
service.include_launch_description(LaunchDescription([file]))
sys.exit(service.run())
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    try:
        get_package_prefix("hyperpose_ros")
    except (PackageNotFoundError, LookupError):
        pytest.skip("hyperpose_ros is not built and sourced: run `colcon build`, source install/setup.bash")
    with claimed_domain() as domain_id:
        yield ros_environment(domain_id)


@pytest.fixture(scope="module")
def bag_play() -> None:
    if shutil.which("ros2") is None:
        pytest.skip("`ros2 bag play` is missing: it comes with a ROS 2 distribution")


@pytest.fixture(scope="module")
def bag(seven_scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("launch") / "toyroom_bag"
    options = ["--data", str(seven_scenes_folder), "--rate", "5", "--compression", "png"]
    assert dataset_to_bag([str(path), *options]) == 0
    return path


def launch(environment: dict[str, str], name: str, **arguments: object) -> subprocess.CompletedProcess[str]:
    given = [f"{argument}:={value}" for argument, value in arguments.items()]
    command = [sys.executable, "-c", LAUNCH, str(LAUNCH_FILES / name), *given]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def launch_until(
    environment: dict[str, str], texts: list[str], name: str, **arguments: object
) -> tuple[int, str]:
    """Launch until all texts were written, then press Ctrl-C; the exit code and all that was written."""
    given = [f"{argument}:={value}" for argument, value in arguments.items()]
    command = [sys.executable, "-c", LAUNCH, str(LAUNCH_FILES / name), *given]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        written = ""
        deadline = time.monotonic() + 60
        while not all(text in written for text in texts) and time.monotonic() < deadline:
            written += process.stdout.readline().decode()
        process.send_signal(signal.SIGINT)
        written += process.stdout.read().decode()
    for text in texts:
        assert text in written
    return process.returncode, written


@pytest.mark.parametrize("path", sorted(LAUNCH_FILES.glob("*.launch.py")), ids=lambda path: path.name)
def test_every_argument_is_described(path: Path) -> None:
    description = get_launch_description_from_python_launch_file(str(path))
    arguments = description.get_launch_arguments(conditional_inclusion=True)
    assert {"image", "rviz", "viewer"} <= {argument.name for argument in arguments}
    for argument in arguments:
        assert argument.description not in ("", "no description given"), argument.name


def test_localize_runs_until_ctrl_c_with_the_arguments_it_was_given(
    environment: dict[str, str], tiny_checkpoint: Path
) -> None:
    returncode, written = launch_until(
        environment,
        ["/tf: 42 -> base_link", "[robot.localizer]: active"],
        "localize.launch.py",
        checkpoint=tiny_checkpoint,
        namespace="robot",
        map_frame=42,
        camera_extrinsics="[0, 0, 1, -1.57, 0, -1.57]",
    )
    assert returncode == 0, written
    assert "XMLPARSER" not in written


def test_the_viewer_starts_beside_a_localizer_and_records_until_ctrl_c(
    environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is missing: pip install rerun-sdk")
    recording = tmp_path / "run.rrd"
    returncode, written = launch_until(
        environment,
        [f"[robot.viewer]: recording into {recording}"],
        "view.launch.py",
        viewer_record=recording,
        namespace="robot",
    )
    assert returncode == 0, written
    assert recording.stat().st_size > 0


def test_fused_starts_the_filter_and_leaves_the_transform_to_it(
    environment: dict[str, str], tiny_checkpoint: Path
) -> None:
    try:
        get_package_prefix("robot_localization")
    except (PackageNotFoundError, LookupError):
        pytest.skip("robot_localization is not installed")
    returncode, written = launch_until(
        environment,
        ["[ekf_node-", "/tf: nothing", "[localizer]: active"],
        "fused.launch.py",
        checkpoint=tiny_checkpoint,
        camera_extrinsics="[0, 0, 1, -1.57, 0, -1.57]",
    )
    assert returncode == 0, written


def test_fused_refuses_a_second_parent_of_odom(environment: dict[str, str], tiny_checkpoint: Path) -> None:
    launched = launch(environment, "fused.launch.py", checkpoint=tiny_checkpoint, tf_mode="map_odom")
    assert launched.returncode == 1
    assert "tf_mode" in launched.stdout + launched.stderr


@pytest.mark.parametrize(("amcl", "sent"), [("true", "nothing"), ("false", "map -> odom")])
def test_nav2_leaves_the_transform_to_amcl_or_takes_its_place(
    environment: dict[str, str], tiny_checkpoint: Path, amcl: str, sent: str
) -> None:
    returncode, written = launch_until(
        environment,
        [f"/tf: {sent}", "[localizer]: active"],
        "nav2.launch.py",
        checkpoint=tiny_checkpoint,
        amcl=amcl,
        camera_extrinsics="[0, 0, 1, -1.57, 0, -1.57]",
    )
    assert returncode == 0, written


def test_nav2_refuses_a_second_parent_of_odom(environment: dict[str, str], tiny_checkpoint: Path) -> None:
    launched = launch(environment, "nav2.launch.py", checkpoint=tiny_checkpoint, tf_mode="map_odom")
    assert launched.returncode == 1
    assert "amcl:=false" in launched.stdout + launched.stderr


def test_localize_fails_with_the_reason_when_the_localizer_does(
    environment: dict[str, str], tmp_path: Path
) -> None:
    launched = launch(environment, "localize.launch.py", checkpoint=tmp_path / "missing.safetensors")
    assert launched.returncode == 1
    assert "missing.safetensors" in launched.stdout + launched.stderr
    assert "the localizer has ended with exit code 1" in launched.stdout + launched.stderr


def test_multi_camera_listens_to_every_camera_until_ctrl_c(
    environment: dict[str, str], tiny_checkpoint: Path
) -> None:
    command = [sys.executable, "-c", LAUNCH, str(LAUNCH_FILES / "multi_camera.launch.py")]
    command += [f"checkpoint:={tiny_checkpoint}", "cameras:=[front, rear]", "images:=[/ahead, /behind]"]
    with (
        TestPeer(int(environment["ROS_DOMAIN_ID"])) as peer,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        for topic in ("/ahead", "/behind"):
            wait_until(lambda topic=topic: peer.node.count_subscribers(topic) > 0, f"ears for {topic}")
        process.send_signal(signal.SIGINT)
        text = process.communicate()[0].decode()
    assert "/tf: map -> base_link" in text
    assert process.returncode == 0, text


def test_multi_camera_wants_as_many_topics_as_cameras(environment: dict[str, str]) -> None:
    launched = launch(environment, "multi_camera.launch.py", images="[/ahead]")
    assert launched.returncode == 1
    assert "images:=[/ahead] names 1 topics for 2 cameras: front, rear" in launched.stdout + launched.stderr


@pytest.mark.usefixtures("bag_play")
def test_replay_ends_by_itself_with_the_report(
    environment: dict[str, str], tiny_checkpoint: Path, bag: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    launched = launch(
        environment,
        "replay.launch.py",
        bag=bag,
        checkpoint=tiny_checkpoint,
        report=report,
        title=1999,
        rate=2,
    )
    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert "1999" in (report / "report.html").read_text()
    assert (report / "results.json").is_file()


@pytest.mark.usefixtures("bag_play")
def test_replay_robotcar_makes_the_bag_and_takes_the_extrinsics_out_of_it(
    environment: dict[str, str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    write_sdk(tmp_path / "robotcar")
    write_run(tmp_path / "robotcar", "2014-06-23-15-36-04")
    world = World(origin=np.array([EASTING, NORTHING, -DOWN]), utm_zone="30U", description="a street")
    checkpoint = dataclasses.replace(load_checkpoint(tiny_checkpoint), world=world)
    save_checkpoint(tmp_path / "street.safetensors", checkpoint)
    arguments = {
        "checkpoint": tmp_path / "street.safetensors",
        "bag": tmp_path / "bag",
        "report": tmp_path / "report",
    }
    launched = launch(environment, "replay_robotcar.launch.py", data=tmp_path / "robotcar", **arguments)
    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert "/tf: map -> base_link" in launched.stdout + launched.stderr
    assert json.loads((tmp_path / "report" / "results.json").read_text())

    again = launch(environment, "replay_robotcar.launch.py", data=tmp_path / "robotcar", **arguments)
    assert again.returncode == 1
    assert "leave out data:=" in again.stdout + again.stderr


def test_replay_names_the_topics_of_a_bag_that_lacks_the_one_asked_for(
    environment: dict[str, str], tiny_checkpoint: Path, bag: Path
) -> None:
    launched = launch(environment, "replay.launch.py", bag=bag, checkpoint=tiny_checkpoint, image="/front")
    assert launched.returncode == 1
    assert "no topic /front; it has: /camera/image_raw/compressed" in launched.stdout + launched.stderr


def test_replay_says_that_there_is_no_bag(
    environment: dict[str, str], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    launched = launch(environment, "replay.launch.py", bag=tmp_path / "none", checkpoint=tiny_checkpoint)
    assert launched.returncode == 1
    assert f"bag:={tmp_path}/none: no rosbag2 bag" in launched.stdout + launched.stderr
