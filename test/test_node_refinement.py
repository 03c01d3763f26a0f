"""The localizer with a landmark map, in a process of its own over DDS: poses that the map verifies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from landmark_scene import CAMERA, Room  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from localizer_helpers import RELIABLE, Conversation, message_of  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from refinement_helpers import (  # noqa: E402
    OTHER_ROOM,
    ROOM,
    SOMEWHERE,
    Refined,
    assert_near,
    assert_refiner_adds_up,
    at_rest,
    jpeg_of,
    numbers_of,
    room_checkpoint,
    room_map,
    stamps,
)
from ros_helpers import TestPeer, wait_until  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from hyperpose_core.checkpoint.normalisation import PositionNormalisation  # noqa: E402
from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_quaternion  # noqa: E402
from hyperpose_core.geometry.world import World  # noqa: E402
from hyperpose_core.landmarks.landmark_map import FORMAT_VERSION, NETWORK_KEY, LandmarkMap  # noqa: E402
from hyperpose_ros.common.conversions import (  # noqa: E402
    covariance_from_message,
    pose_from_message,
    pose_to_message,
    stamp_from_nanoseconds,
    transform_from_message,
)

MOUNTED = Pose([0.3, 0.0, 0.5], matrix_to_quaternion(euler_to_matrix(-1.5708, 0.0, -1.5708)))
STANDING = Pose([2.0, 1.0, 0.0], matrix_to_quaternion(euler_to_matrix(0.0, 0.0, 0.5)))
BLANK = np.full((CAMERA.height, CAMERA.width, 3), 128, dtype=np.uint8)


@pytest.fixture(scope="module")
def content() -> LandmarkMap:
    return room_map()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, content: LandmarkMap) -> Path:
    """room.safetensors with its room.map, and others of both that do not go together."""
    folder = tmp_path_factory.mktemp("maps")
    room_checkpoint(tiny_checkpoint, folder / "room.safetensors")
    content.save(folder / "room.map")
    room_checkpoint(tiny_checkpoint, folder / "blind.safetensors", camera=None)
    room_checkpoint(
        tiny_checkpoint, folder / "elsewhere.safetensors", world=World(origin=np.array([1000.0, 0.0, 0.0]))
    )
    (folder / "cut.map").write_bytes((folder / "room.map").read_bytes()[:-1000])
    (folder / "newer.map").write_bytes(of_format(FORMAT_VERSION + 1, (folder / "room.map").read_bytes()))
    replace(content, cameras=(replace(CAMERA, fx=1.3 * CAMERA.fx, fy=1.3 * CAMERA.fy),)).save(
        folder / "zoomed.map"
    )
    features = np.ones((len(content.images), 100), dtype=np.float16)
    images, source = replace(content.images, network_features=features), {NETWORK_KEY: "0123456789abcdef"}
    replace(content, images=images, source=source).save(folder / "borrowed.map")
    return folder


def of_format(version: int, data: bytes) -> bytes:
    """Return a map's bytes with another format version."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"]["hyperpose_map_version"] = str(version)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


@dataclass
class Robot(Refined):
    """One whose odometry says that it stands still."""

    odometry: Publisher | None = None

    def show(self, pose: Pose, room: Room = ROOM) -> int:
        """Say where odometry is, show an image, and wait for both answers."""
        stamp_ns = next(stamps)
        assert self.odometry is not None
        for instant in (stamp_ns - 20_000_000, stamp_ns + 20_000_000):
            message = Odometry(child_frame_id="base_link")
            message.header.frame_id = "odom"
            message.header.stamp = stamp_from_nanoseconds(instant)
            message.pose.pose = pose_to_message(STANDING)
            self.odometry.publish(message)
        self.talk.ask(self.camera, message_of(room.render(pose), stamp_ns))
        self.status(stamp_ns, "map")
        return stamp_ns

    def map_to_odom(self) -> list[Pose]:
        """All that was sent of it."""
        sent = [transform for message in list(self.talk.transforms) for transform in message.transforms]
        return [transform_from_message(entry) for entry in sent if entry.child_frame_id == "odom"]

    def is_placed_at(self, camera: Pose) -> bool:
        """Tell whether the latest transform places the camera there, to 3 cm."""
        placed = self.map_to_odom()[-1] @ STANDING @ MOUNTED
        return float(np.linalg.norm(placed.position - camera.position)) < 0.03


@pytest.fixture(scope="module")
def robot(start: Callable[..., Conversation], folder: Path) -> Robot:
    """A robot that refines its poses, with odometry."""
    talk = start(
        "robot",
        f"checkpoint:={folder / 'room.safetensors'}",
        f"map:={folder / 'room.map'}",
        "refinement:=refine",
        "threads:=1",
        "tf_mode:=map_odom",
        "odometry_source:=topic",
        f"camera_extrinsics:={numbers_of(MOUNTED)}",
        "jump_gate:=0.0",
        remaps=("image:=/robot/image", "odometry:=/robot/odometry"),
    )
    robot = Robot.of(talk, "/robot/image")
    robot.odometry = talk.peer.publisher(Odometry, "/robot/odometry")
    talk.process.wait_for_output(": active")
    wait_until(robot.odometry.get_subscription_count, "the odometry's subscription")
    return robot


@pytest.fixture(scope="module")
def onlooker(start: Callable[..., Conversation], folder: Path) -> Refined:
    """A camera whose map lies beside its checkpoint, with the parameters as they are."""
    talk = start(
        "onlooker",
        f"checkpoint:={folder / 'room.safetensors'}",
        "threads:=1",
        "tf_mode:=none",
        remaps=("image:=/onlooker/image",),
    )
    talk.process.wait_for_output(": active")
    return Refined.of(talk, "/onlooker/image")


def test_an_image_of_another_place_is_not_verified_and_moves_no_transform(robot: Robot) -> None:
    stamp_ns = robot.show(SOMEWHERE[0], OTHER_ROOM)
    said = robot.said(stamp_ns, "map")
    assert (said["verified"], said["outcome"]) == ("false", "withheld")
    assert robot.status(stamp_ns, "map").level == DiagnosticStatus.WARN
    assert robot.said(stamp_ns, "network")["verified"] == "false"
    assert len(robot.poses(stamp_ns)) == 1, "the network's pose goes on"
    assert not robot.verified and not robot.map_to_odom()


def test_a_verified_pose_is_the_cameras_to_the_centimetre_and_moves_the_transform(robot: Robot) -> None:
    stamp_ns = robot.show(SOMEWHERE[0])
    verified = robot.verified_pose(stamp_ns)
    assert_near(pose_from_message(verified.pose.pose), SOMEWHERE[0])
    assert np.sqrt(np.diag(covariance_from_message(verified.pose.covariance))[:3].max()) < 0.1
    wait_until(lambda: len(robot.poses(stamp_ns)) == 2, "the network's pose and the map's")
    assert robot.poses(stamp_ns)[1].pose == verified.pose
    said = robot.said(stamp_ns, "map")
    assert (said["verified"], said["outcome"]) == ("true", "published")
    assert int(said["inliers"]) > 20 and 0 < float(said["age_s"]) < 60
    assert float(said["network_error_m"]) > 0.1 and "source" in robot.said(stamp_ns, "network")
    moved = wait_until(robot.map_to_odom, "map -> odom")
    assert_near(moved[-1] @ STANDING @ MOUNTED, SOMEWHERE[0])


def test_between_verified_poses_the_transform_stays(robot: Robot) -> None:
    robot.show(SOMEWHERE[0])
    before = len(wait_until(robot.map_to_odom, "map -> odom"))
    robot.show(SOMEWHERE[0], OTHER_ROOM)
    robot.show(SOMEWHERE[1])
    after = wait_until(lambda: robot.map_to_odom()[before:], "the next map -> odom")
    assert_near(after[-1] @ STANDING @ MOUNTED, SOMEWHERE[1])
    assert len(after) == 1


def test_the_last_verified_pose_carried_on_by_odometry_leads_to_the_next(robot: Robot) -> None:
    # A robot that is lost is found once several poses agree; until then the whole map is searched.
    wait_until(
        lambda: robot.said(robot.show(SOMEWHERE[2]), "map")["found_by"] == "last verified pose",
        "a pose found from the last one",
    )


def test_the_network_may_move_the_transform_until_the_first_verified_pose(robot: Robot) -> None:
    robot.show(SOMEWHERE[0])
    before = len(wait_until(robot.map_to_odom, "map -> odom"))
    assert robot.talk.peer.call(Trigger, "/robot/reset", Trigger.Request()).success
    assert robot.talk.peer.set_parameter("/robot", "network_until_verified", True).successful

    def moved() -> list[Pose]:
        # Odometry and image come on two topics: the first odometry may come after its image.
        robot.show(SOMEWHERE[0], OTHER_ROOM)
        return robot.map_to_odom()[before:]

    wait_until(moved, "map -> odom by the network")
    # The first one's stamp has been given to the network's transform, which it cannot replace.
    robot.show(SOMEWHERE[0])
    robot.show(SOMEWHERE[0])
    wait_until(lambda: robot.is_placed_at(SOMEWHERE[0]), "map -> odom by the map")
    count = len(robot.map_to_odom())
    robot.show(SOMEWHERE[0], OTHER_ROOM)
    assert len(robot.map_to_odom()) == count
    assert robot.talk.peer.set_parameter("/robot", "network_until_verified", False).successful


def test_every_image_that_the_map_is_offered_is_accounted_for(robot: Robot) -> None:
    robot.talk.ask(robot.camera, message_of(BLANK, stamp_ns := next(stamps)))
    assert "too few features" in robot.status(stamp_ns, "map").message
    picture = ROOM.render(SOMEWHERE[0])
    for _ in range(40):
        robot.camera.publish(message_of(picture, next(stamps)))
        time.sleep(0.02)
    robot.talk.wait_for_rest()
    values = wait_until(lambda: at_rest(robot.talk.values()), "the refiner at rest")
    assert_refiner_adds_up(values)
    assert int(values["refiner.unverified.no_features"]) == 1
    assert int(values["refiner.skipped.superseded"]) > 0, "the refiner is slower than the stream"
    assert int(values["refiner.offered"]) == int(values["published"]), "and the network answers all"
    assert float(values["refiner.latency.features.median_ms"]) > 0
    assert (values["refinement"], Path(values["map"]).name) == ("refine", "room.map")


def test_after_a_pause_the_refinement_goes_on_and_nothing_is_lost_from_the_counts(
    robot: Robot, peer: TestPeer
) -> None:
    picture = ROOM.render(SOMEWHERE[0])
    for _ in range(10):
        robot.camera.publish(message_of(picture, next(stamps)))
        time.sleep(0.02)
    assert peer.change_state("/robot", Transition.TRANSITION_DEACTIVATE)
    assert peer.change_state("/robot", Transition.TRANSITION_ACTIVATE)
    robot.show(SOMEWHERE[0])
    robot.verified_pose(robot.show(SOMEWHERE[0]))
    robot.talk.wait_for_rest()
    assert_refiner_adds_up(wait_until(lambda: at_rest(robot.talk.values()), "the refiner at rest"))


def test_load_checkpoint_loads_the_map_along_or_keeps_both(
    robot: Robot, folder: Path, peer: TestPeer
) -> None:
    for parameter, file, complaint in (
        ("map", "cut.map", "cut.map"),
        ("checkpoint", "elsewhere.safetensors", "world"),
        ("checkpoint", "blind.safetensors", "intrinsics"),
    ):
        former = {"map": folder / "room.map", "checkpoint": folder / "room.safetensors"}[parameter]
        assert peer.set_parameter("/robot", parameter, str(folder / file)).successful
        answer = peer.call(Trigger, "/robot/load_checkpoint", Trigger.Request())
        assert not answer.success and complaint in answer.message and "still in use" in answer.message
        assert peer.set_parameter("/robot", parameter, str(former)).successful
    assert robot.said(robot.show(SOMEWHERE[0]), "map")["map"] == str(folder / "room.map")
    other = folder / "other.map"
    other.write_bytes((folder / "room.map").read_bytes())
    assert peer.set_parameter("/robot", "map", str(other)).successful
    assert peer.call(Trigger, "/robot/load_checkpoint", Trigger.Request()).success
    # In memory of its own: what becomes of the file does not matter.
    other.write_bytes(b"")
    said = robot.said(robot.show(SOMEWHERE[0]), "map")
    assert (said["map"], said["verified"]) == (str(other), "true")


def test_by_default_the_map_beside_the_checkpoint_says_whether_the_network_is_right(
    onlooker: Refined,
) -> None:
    stamp_ns = onlooker.show(SOMEWHERE[0])
    said = onlooker.said(stamp_ns, "map")
    assert said["verified"] == "true" and said["map"].endswith("room.map")
    assert_near(pose_from_message(onlooker.verified_pose(stamp_ns).pose.pose), SOMEWHERE[0])
    assert len(onlooker.poses(stamp_ns)) == 1, "~/pose is the network's"
    assert said["network_confirmed"] in ("true", "false")


@pytest.mark.parametrize(
    ("checkpoint", "map_name", "complaint"),
    [
        ("room.safetensors", "cut.map", "cut.map"),
        ("room.safetensors", "missing.map", "no such map"),
        ("room.safetensors", "newer.map", f"map format version {FORMAT_VERSION + 1}"),
        ("room.safetensors", "zoomed.map", "another camera"),
        ("elsewhere.safetensors", "room.map", "world"),
        ("blind.safetensors", "room.map", "use_camera_info"),
    ],
)
def test_without_a_map_that_can_be_used_the_network_goes_on(
    onlooker: Refined, folder: Path, checkpoint: str, map_name: str, complaint: str
) -> None:
    said_before = len(onlooker.talk.process.output)
    configure(onlooker, checkpoint=folder / checkpoint, map=folder / map_name)
    onlooker.talk.ask(onlooker.camera, message_of(ROOM.render(SOMEWHERE[0]), next(stamps)))
    complaints = [
        line for line in onlooker.talk.process.output[said_before:].splitlines() if "no refinement:" in line
    ]
    assert len(complaints) == 1 and complaint in complaints[0]
    wait_until(
        lambda: complaint in onlooker.talk.diagnostics[-1].status[0].message, "diagnostics that say so"
    )


def test_another_networks_features_are_left_out_and_told(onlooker: Refined, folder: Path) -> None:
    configure(onlooker, checkpoint=folder / "room.safetensors", map=folder / "borrowed.map")
    onlooker.talk.process.wait_for_output("features are of network 0123456789abcdef")
    stamp_ns = onlooker.show(SOMEWHERE[0])
    assert_near(pose_from_message(onlooker.verified_pose(stamp_ns).pose.pose), SOMEWHERE[0])


def test_camera_info_gives_the_intrinsics_that_the_checkpoint_does_not_know(
    onlooker: Refined, folder: Path, peer: TestPeer
) -> None:
    camera = CAMERA.resized(360, 480)
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    info.k = camera.matrix().ravel()
    infos = peer.publisher(CameraInfo, "/onlooker/camera_info")
    configure(
        onlooker, checkpoint=folder / "blind.safetensors", map=folder / "room.map", use_camera_info=True
    )
    wait_until(infos.get_subscription_count, "the subscription to camera_info")
    stamp_ns = next(stamps)
    message = message_of(ROOM.render(SOMEWHERE[0], camera), stamp_ns)

    def answered() -> bool:
        infos.publish(info)
        onlooker.camera.publish(message)
        time.sleep(0.5)
        return onlooker.talk.latest(stamp_ns) is not None

    wait_until(answered, "a pose")
    assert_near(pose_from_message(onlooker.verified_pose(stamp_ns).pose.pose), SOMEWHERE[0])


def configure(localizer: Refined, **parameters: object) -> None:
    """Clean a localizer up, and configure and activate it with other parameters."""
    name, peer = f"/{localizer.talk.name}", localizer.talk.peer
    assert peer.change_state(name, Transition.TRANSITION_DEACTIVATE)
    assert peer.change_state(name, Transition.TRANSITION_CLEANUP)
    for parameter, value in parameters.items():
        given = str(value) if isinstance(value, Path) else value
        assert peer.set_parameter(name, parameter, given).successful
    assert peer.change_state(name, Transition.TRANSITION_CONFIGURE)
    assert peer.change_state(name, Transition.TRANSITION_ACTIVATE)


def test_several_cameras_are_refined_each_and_fused(
    start: Callable[..., Conversation], folder: Path, peer: TestPeer
) -> None:
    backwards = Pose([0.0, 0.0, 0.0], matrix_to_quaternion(euler_to_matrix(0.0, 0.0, np.pi)))
    mounted = {"front": MOUNTED, "rear": backwards @ MOUNTED}
    talk = start(
        "two",
        f"checkpoint:={folder / 'room.safetensors'}",
        "refinement:=refine",
        "threads:=1",
        "tf_mode:=none",
        "cameras:=[front, rear]",
        "sync_tolerance:=1.0",
        "image_transport:=compressed",
        *(f"{name}.camera_extrinsics:={numbers_of(pose)}" for name, pose in mounted.items()),
        remaps=tuple(f"{name}/image:=/two/{name}/image" for name in mounted),
    )
    robot = Refined.of(talk)
    cameras = {
        name: peer.publisher(CompressedImage, f"/two/{name}/image/compressed", RELIABLE) for name in mounted
    }
    talk.process.wait_for_output(": active")
    for camera in cameras.values():
        wait_until(camera.get_subscription_count, "the subscription")
    body = SOMEWHERE[0] @ MOUNTED.inverse()

    def see(rear: Room) -> dict[str, str]:
        stamp_ns = next(stamps)
        for name, room in (("front", ROOM), ("rear", rear)):
            cameras[name].publish(jpeg_of(room.render(body @ mounted[name]), stamp_ns))
        said = robot.said(stamp_ns, "map")
        assert said["verified"] == "true"
        assert_near(pose_from_message(robot.verified_pose(stamp_ns).pose.pose), body, metres=0.05)
        return said

    # Decoded at a part of their size for the network, the images are whole for the map.
    assert all(int(count) > 20 for count in see(ROOM)["inliers"].split(", "))
    assert see(OTHER_ROOM)["inliers"].endswith(", 0")
    values = wait_until(lambda: at_rest(talk.values()), "the refiner at rest")
    assert_refiner_adds_up(values)


def test_after_another_checkpoint_is_loaded_nothing_comes_of_the_former_map(
    robot: Robot, folder: Path, tiny_checkpoint: Path, content: LandmarkMap, peer: TestPeer
) -> None:
    far = np.array([100.0, 0.0, 0.0])
    landmarks = replace(content.landmarks, positions=content.landmarks.positions + far.astype(np.float32))
    images = replace(content.images, positions=content.images.positions + far)
    replace(content, landmarks=landmarks, images=images).save(folder / "far.map")
    normalisation = PositionNormalisation(np.array([[103.0, 2.5, 1.4]]), 0.01)
    room_checkpoint(tiny_checkpoint, folder / "far.safetensors", normalisation=normalisation)
    assert peer.set_parameter("/robot", "checkpoint", str(folder / "far.safetensors")).successful
    assert peer.set_parameter("/robot", "map", "").successful
    picture = ROOM.render(SOMEWHERE[0])
    client = peer.client(Trigger, "/robot/load_checkpoint")
    call = client.call_async(Trigger.Request())
    while not call.done():
        robot.camera.publish(message_of(picture, next(stamps)))
        time.sleep(0.05)
    assert call.result().success, call.result().message
    peer.node.destroy_client(client)
    # The answer and the poses before it come on two topics.
    time.sleep(0.5)
    count = len(robot.verified)
    said = robot.said(robot.show(SOMEWHERE[0]), "map")
    assert (said["verified"], said["map"]) == ("true", str(folder / "far.map"))
    wait_until(lambda: len(robot.verified) > count, "a verified pose")
    assert all(message.pose.pose.position.x > 50 for message in robot.verified[count:])
