"""The evaluator where estimates and true poses are in or of different frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from domains import claimed_domain
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from ros_helpers import NodeProcess, TestPeer, wait_until
from std_srvs.srv import Trigger
from test_evaluator import SECOND, results
from tf2_msgs.msg import TFMessage

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion
from hyperpose_ros.bags.messages import header, pose_message
from hyperpose_ros.common.conversions import pose_to_message, transform_to_message
from hyperpose_ros.evaluator.truth_frames import PoseFrames, StandingFrames

CAMERA_ON_BASE = Pose(np.array([0.2, 0.05, 0.3]), np.array([0.5, -0.5, 0.5, -0.5]))
MAP_IN_WORLD = Pose(np.array([4.0, -2.0, 0.0]), rotation_vector_to_quaternion([0.0, 0.0, 0.8]))


def camera(index: int) -> Pose:
    return Pose(np.array([index, 0.5, 1.0]), rotation_vector_to_quaternion([-1.5, 0.1 * index, 0.2]))


def frames_of(*transforms: tuple[str, str, Pose], static: bool = True) -> StandingFrames:
    frames = StandingFrames()
    frames.hear([transform_to_message(parent, child, pose, 0) for parent, child, pose in transforms], static)
    return frames


def moves(
    estimates: str, truth: str, child: str, tf: StandingFrames, camera_frame: str = ""
) -> tuple[Pose, Pose]:
    frames = PoseFrames(camera_frame)
    frames.add_estimate(estimates)
    frames.add_truth(truth, child)
    return frames.moves(tf)


@pytest.mark.parametrize("child", ["", "cam_optical"])
def test_poses_in_and_of_the_same_frames_stay(child: str) -> None:
    for before in moves("map", "/map", child, StandingFrames()):
        np.testing.assert_allclose(before.matrix(), np.eye(4))


def test_true_poses_of_the_body_in_another_world_become_the_cameras_in_the_map() -> None:
    tf = frames_of(("base_link", "cam", CAMERA_ON_BASE), ("world", "map", MAP_IN_WORLD))
    before, after = moves("map", "world", "base_link", tf, "cam")
    of_base = MAP_IN_WORLD @ camera(3) @ CAMERA_ON_BASE.inverse()
    np.testing.assert_allclose((before @ of_base @ after).matrix(), camera(3).matrix(), atol=1e-12)


@pytest.mark.parametrize(
    ("estimates", "truth", "child", "camera_frame", "message"),
    [
        (
            "map",
            "odom",
            "",
            "",
            "estimates are in 'map', the ground truth is in 'odom', and no .* stand still",
        ),
        ("map", "map", "base_link", "", "is of 'base_link', .*set parameter camera_frame"),
        ("map", "map", "base_link", "cam", "is of 'base_link', the estimates of 'cam', and no transforms"),
        ("map", "map", "left_optical", "right_optical", "is of 'left_optical', the estimates of 'right_opt"),
    ],
)
def test_frames_that_nothing_connects_are_refused(
    estimates: str, truth: str, child: str, camera_frame: str, message: str
) -> None:
    with pytest.raises(HyperPoseError, match=message):
        moves(estimates, truth, child, StandingFrames(), camera_frame)


def test_what_moves_connects_nothing() -> None:
    """map -> odom may be the localizer's own estimate: truth in odom, moved by it, would always agree."""
    tf = frames_of(("map", "odom", camera(0)), static=False)
    moves("map", "odom", "", tf)
    tf.hear([transform_to_message("map", "odom", camera(1), 0)], is_static=False)
    with pytest.raises(HyperPoseError, match=r"frames on TF: map, odom \(moving\)"):
        moves("map", "odom", "", tf)


def test_poses_of_one_topic_in_two_frames_are_refused() -> None:
    frames = PoseFrames("")
    frames.add_estimate("map")
    frames.add_estimate("odom")
    with pytest.raises(HyperPoseError, match="in or of different frames: map, odom"):
        frames.moves(StandingFrames())


@pytest.fixture(scope="module")
def peer_domain() -> Iterator[tuple[TestPeer, int]]:
    with claimed_domain() as domain, TestPeer(domain) as created:
        yield created, domain


@pytest.mark.parametrize("connected", [True, False])
def test_the_node_moves_odometry_by_tf_or_refuses_it(
    connected: bool, peer_domain: tuple[TestPeer, int], tmp_path: Path
) -> None:
    peer, domain = peer_domain
    options = (
        "output_directory:=" + str(tmp_path / "report"),
        "ground_truth_type:=odometry",
        "camera_frame:=cam",
    )
    arguments = [word for option in (*options, "idle_timeout:=60.0") for word in ("-p", option)]
    command = ["--ros-args", *arguments]
    with NodeProcess("hyperpose_ros.evaluator.node", command, domain, tmp_path / "log") as evaluator:
        estimates = peer.publisher(PoseStamped, "/localizer/pose", 100)
        truths = peer.publisher(Odometry, "/ground_truth/pose", 100)
        transforms = peer.publisher(TFMessage, "/tf", 100)
        for publisher in (estimates, truths, transforms):
            wait_until(lambda: publisher.get_subscription_count() == 1, "the evaluator")  # noqa: B023
        if connected:
            mounted = transform_to_message("base_link", "cam", CAMERA_ON_BASE, SECOND)
            transforms.publish(TFMessage(transforms=[mounted]))
        for index in range(6):
            stamp = SECOND * (1 + index)
            estimates.publish(pose_message(camera(index), stamp, "map"))
            truth = Odometry(header=header(stamp, "map"), child_frame_id="base_link")
            truth.pose.pose = pose_to_message(camera(index) @ CAMERA_ON_BASE.inverse())
            truths.publish(truth)
        assert all(publisher.wait_for_all_acked() for publisher in (estimates, truths, transforms))
        assert peer.call(Trigger, "/evaluator/finish", Trigger.Request()).success
        if connected:
            assert evaluator.wait() == 0, evaluator.output
            errors = results(tmp_path / "report")["overall"]
            assert errors["position_m"]["maximum"] == pytest.approx(0.0, abs=1e-6)
            assert errors["orientation_deg"]["maximum"] == pytest.approx(0.0, abs=1e-4)
        else:
            assert evaluator.wait() == 2
            assert "the ground truth is of 'base_link', the estimates of 'cam'" in evaluator.output
            assert "Traceback" not in evaluator.output
