"""What happens on robots: a camera dies, a bag loops, time starts again, Ctrl-C comes at a bad moment."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from localizer_helpers import (  # noqa: E402
    LONGEST_END_S,
    RELIABLE,
    SECOND,
    Conversation,
    assert_adds_up,
    message_of,
)
from ros_helpers import NodeProcess, TestPeer, send_until, wait_until  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from hyperpose_core.images import Preprocessing  # noqa: E402
from hyperpose_ros.bags import dataset_to_bag  # noqa: E402
from hyperpose_ros.common.conversions import stamp_from_nanoseconds, stamp_to_nanoseconds  # noqa: E402

IMAGES_IN_BAG, BAG_RATE_HZ = 24, 10

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 7)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, seven_scenes_folder: FilePath) -> FilePath:
    path = tmp_path_factory.mktemp("bags") / "toyroom"
    options = ["--data", str(seven_scenes_folder), "--rate", str(BAG_RATE_HZ)]
    assert dataset_to_bag.main([str(path), *options]) == 0
    return path


@pytest.fixture
def play(domain_id: int, tmp_path: FilePath, bag: FilePath) -> Iterator[Callable[[], NodeProcess]]:
    """Start processes that publish a bag's images and its time, again and again."""
    players: list[NodeProcess] = []

    def begin() -> NodeProcess:
        log = tmp_path / f"player {len(players)}.txt"
        arguments = [str(bag), "--loop", "--clock", "--reliable"]
        players.append(NodeProcess("hyperpose_ros.bags.player", arguments, domain_id, log))
        return players[-1]

    yield begin
    for player in players:
        player.__exit__(None, None, None)


def test_a_looping_bag_and_the_death_of_its_player_do_not_end_localization(
    start: Callable[..., Conversation], play: Callable[[], NodeProcess], tiny_checkpoint: FilePath
) -> None:
    robot = start(
        "looped",
        f"checkpoint:={tiny_checkpoint}",
        "threads:=1",
        "region_margin:=0.0",
        "use_sim_time:=true",
        # Every image would be too old, or from the future, by the wrong clock or by the last loop's.
        "max_age:=1.0",
        remaps=("image:=/camera/image_raw",),
    )
    player = play()
    robot.wait_for_count("time_jumps", 2)
    wait_until(lambda: path_begins_anew(robot), "paths that begin anew and stay in order")

    player.process.kill()
    assert player.wait() == -signal.SIGKILL
    wait_until(lambda: robot.counted("in_flight") == 0, "the last images of the killed process")
    answered, jumps = robot.counted("published"), robot.counted("time_jumps")
    play()
    robot.wait_for_count("published", answered + 10)
    robot.wait_for_count("time_jumps", jumps + 1)
    values = robot.values()
    assert_adds_up(values)
    # Around a jump the clock and the images may cross; that is all that may be lost.
    assert int(values.get("dropped.too_old", 0)) < int(values["published"]) / 5
    assert "Traceback" not in robot.process.output


def path_begins_anew(robot: Conversation) -> bool:
    """Tell whether paths have grown, shrunk to a new beginning, and never went back in time within."""
    lengths = []
    for path in list(robot.paths):
        path_stamps = [stamp_to_nanoseconds(pose.header.stamp) for pose in path.poses]
        assert path_stamps == sorted(path_stamps)
        assert len(path_stamps) <= IMAGES_IN_BAG
        lengths.append(len(path_stamps))
    return any(later < earlier for earlier, later in itertools.pairwise(lengths))


def test_a_simulation_that_starts_again_takes_the_localizer_along(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: FilePath
) -> None:
    robot = start(
        "simulated",
        f"checkpoint:={tiny_checkpoint}",
        "threads:=1",
        "region_margin:=0.0",
        "use_sim_time:=true",
        "max_age:=1.0",
        remaps=("image:=/simulated_camera", "/clock:=/simulation/clock"),
    )
    camera = peer.publisher(Image, "/simulated_camera", RELIABLE)
    clock = peer.publisher(Clock, "/simulation/clock")
    for simulated_s in (1000, 1001, 5, 6):
        now = Clock(clock=stamp_from_nanoseconds(simulated_s * SECOND))
        wait_until(lambda: len(robot.diagnostics), "diagnostics")
        send_until(
            clock,
            now,
            lambda now=now: robot.diagnostics[-1].header.stamp == now.clock,
            "the node's clock to follow the simulation's",
        )
        robot.ask(camera, message_of(draw_image(1), simulated_s * SECOND))
    camera.publish(message_of(draw_image(1), 2 * SECOND))
    robot.wait_for_count("dropped.too_old", 1)
    robot.wait_for_count("time_jumps", 1)
    assert_adds_up(robot.values())


def test_a_namespaced_robot_keeps_to_its_namespace(
    peer: TestPeer, domain_id: int, tmp_path: FilePath, tiny_checkpoint: FilePath
) -> None:
    arguments = ["--ros-args", "-r", "__ns:=/mars/rover", "-p", f"checkpoint:={tiny_checkpoint}"]
    arguments += ["-p", "threads:=1", "-p", "region_margin:=0.0"]
    poses = peer.collect(PoseStamped, "/mars/rover/localizer/pose")
    diagnostics = peer.collect(DiagnosticArray, "/diagnostics")
    camera = peer.publisher(Image, "/mars/rover/image", RELIABLE)
    with NodeProcess("hyperpose_ros.localizer.node", arguments, domain_id, tmp_path / "log.txt"):
        image = message_of(draw_image(1), next(stamps))
        send_until(camera, image, lambda: poses, "a pose in the namespace")
        names = {"mars/rover/localizer: localization"}
        wait_until(
            lambda: names & {array.status[0].name for array in list(diagnostics)}, "the robot's diagnostics"
        )
        assert peer.set_parameter("/mars/rover/localizer", "max_age", 1.0).successful


@pytest.fixture(scope="module")
def sluggish_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath) -> FilePath:
    """The tiny network with an input so large that it is always in the middle of an inference."""
    known = load_checkpoint(tiny_checkpoint)
    path = tmp_path_factory.mktemp("sluggish") / "sluggish.safetensors"
    preprocessing = Preprocessing(resize=(1600, 1600), crop=None)
    save_checkpoint(path, Checkpoint(known.architecture, known.options, known.state, preprocessing))
    return path


def test_ctrl_c_ends_the_node_in_the_middle_of_an_inference(
    start: Callable[..., Conversation], peer: TestPeer, sluggish_checkpoint: FilePath
) -> None:
    robot = start(
        "sluggish", f"checkpoint:={sluggish_checkpoint}", "threads:=1", remaps=("image:=/sluggish_camera",)
    )
    camera = peer.publisher(Image, "/sluggish_camera", RELIABLE)
    wait_until(lambda: camera.get_subscription_count() == 1, "the localizer to subscribe")
    while not robot.poses:
        camera.publish(message_of(draw_image(1), next(stamps)))
        time.sleep(0.05)
    # An image waited for that pose to go out: another inference has begun.
    code = robot.process.stop(signal.SIGINT, timeout=LONGEST_END_S)
    assert "Traceback" not in robot.process.output
    assert code == int("still letting go of what it holds" in robot.process.output)
