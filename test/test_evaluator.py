"""The evaluator: matching by stamp, when a run ends, and the whole way bag -> localizer -> report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from domains import claimed_domain
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_helpers import NodeProcess, TestPeer, wait_until
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.metrics import score
from hyperpose_core.evaluation.refined_scores import score_refined
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_ros.bags import dataset_to_bag
from hyperpose_ros.bags.messages import header, pose_message
from hyperpose_ros.common.conversions import covariance_to_message, pose_to_message
from hyperpose_ros.evaluator.node import main as evaluator_main
from hyperpose_ros.evaluator.pose_log import PoseLog

SECOND = 1_000_000_000
Start = Callable[..., NodeProcess]


def pose(x: float, yaw: float = 0.0) -> Pose:
    return Pose(np.array([x, 0.0, 0.0]), rotation_vector_to_quaternion([0.0, 0.0, yaw]))


def test_poses_are_matched_by_equal_stamps() -> None:
    log = PoseLog()
    for index in range(5):
        log.add_truth(SECOND * index, pose(index))
    for index in (3, 1, 7):
        log.add_estimate(SECOND * index, pose(index + 0.5))
    comparison = log.comparison()
    assert comparison.stamps_ns is not None
    assert comparison.stamps_ns.tolist() == [SECOND, 3 * SECOND]
    assert comparison.true_positions[:, 0].tolist() == [1.0, 3.0]
    assert comparison.estimated_positions[:, 0].tolist() == [1.5, 3.5]
    counts = log.counts()
    assert (counts.estimates, counts.ground_truths, counts.frames_scored) == (3, 5, 2)
    assert (counts.estimates_without_truth, counts.truths_without_estimate) == (1, 3)


def test_the_nearest_true_pose_within_the_tolerance_is_taken() -> None:
    log = PoseLog(tolerance_ns=10)
    for stamp in (100, 108, 130):
        log.add_truth(stamp, pose(stamp))
    for stamp in (105, 119, 141, 90):
        log.add_estimate(stamp, pose(stamp))
    comparison = log.comparison()
    assert comparison.estimated_positions[:, 0].tolist() == [90.0, 105.0]
    assert comparison.true_positions[:, 0].tolist() == [100.0, 108.0]


def test_unanswered_frames_count_when_they_should() -> None:
    log = PoseLog()
    for index in range(4):
        log.add_truth(SECOND * index, pose(index))
    log.add_estimate(SECOND, pose(1.0))
    log.add_covariance(SECOND, np.eye(6))
    assert len(log.comparison()) == 1
    everything = log.comparison(count_unanswered=True)
    assert everything.estimated.tolist() == [False, True, False, False]


def test_what_a_map_verified_stands_beside_the_same_frames() -> None:
    log = PoseLog()
    for index in range(4):
        log.add_truth(SECOND * index, pose(index))
        log.add_estimate(SECOND * index, pose(index + 0.5))
    assert log.refined() is None
    for index in (1, 3, 9):
        log.add_verified(SECOND * index, pose(index + 0.01), 1e-4 * np.eye(6))
    refined = log.refined()
    assert refined is not None and len(refined) == 4
    assert refined.estimated.tolist() == [False, True, False, True]
    scores = score_refined(refined)
    assert (scores.verified, scores.verified_share) == (2, 0.5)
    assert scores.scores is not None and scores.scores.overall.position_m.median == pytest.approx(0.01)


@pytest.mark.parametrize("network_first", [True, False])
def test_a_verified_pose_on_the_estimates_topic_is_not_scored_as_the_networks(network_first: bool) -> None:
    log = PoseLog()
    both = [(pose(1.5), np.eye(6)), (pose(1.01), 1e-4 * np.eye(6))]
    log.add_truth(SECOND, pose(1.0))
    log.add_truth(2 * SECOND, pose(2.0))
    for estimate, covariance in both if network_first else both[::-1]:
        log.add_estimate(SECOND, estimate)
        log.add_covariance(SECOND, covariance)
    log.add_verified(SECOND, *both[1])
    # The network's pose of the second image was lost on the way.
    log.add_estimate(2 * SECOND, pose(2.01))
    log.add_verified(2 * SECOND, pose(2.01), 1e-4 * np.eye(6))
    comparison, refined = log.comparison(), log.refined()
    assert comparison.estimated.tolist() == [True, False]
    assert comparison.estimated_positions[0, 0] == 1.5
    assert comparison.covariances is not None and comparison.covariances[0, 0, 0] == 1.0
    assert refined is not None and refined.estimated_positions[:, 0].tolist() == [1.01, 2.01]


def test_a_second_round_of_the_bag_replaces_the_first() -> None:
    log = PoseLog()
    for x in (5.0, 1.0):
        log.add_truth(SECOND, pose(1.0))
        log.add_estimate(SECOND, pose(x))
    assert log.comparison().estimated_positions.tolist() == [[1.0, 0.0, 0.0]]


def test_why_nothing_matches_is_said() -> None:
    log = PoseLog(tolerance_ns=SECOND // 10)
    with pytest.raises(HyperPoseError, match="neither an estimate nor a true pose came"):
        log.comparison()
    log.add_truth(SECOND, pose(0.0))
    with pytest.raises(HyperPoseError, match="1 true poses came, but no estimate"):
        log.comparison()
    log.add_estimate(3 * SECOND, pose(0.0))
    with pytest.raises(
        HyperPoseError, match="within 0.1 s of one of 1 true poses; the nearest are 2 s apart"
    ):
        log.comparison()


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with claimed_domain() as domain_id:
        yield domain_id


@pytest.fixture
def peer(domain: int) -> Iterator[TestPeer]:
    with TestPeer(domain) as created:
        yield created


@pytest.fixture
def start(domain: int, tmp_path: Path) -> Iterator[Start]:
    """Start a module of the project as a process."""
    with contextlib.ExitStack() as processes:

        def begin(module: str, *arguments: str) -> NodeProcess:
            log = tmp_path / f"{module}.log"
            return processes.enter_context(NodeProcess(module, arguments, domain, log))

        yield begin


def start_evaluator(start: Start, directory: Path, **parameters: object) -> NodeProcess:
    values = {"output_directory": directory, **parameters}
    options = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    return start("hyperpose_ros.evaluator.node", "--ros-args", *options)


def results(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "results.json").read_text())


def test_a_bag_through_the_localizer_scores_as_offline(
    peer: TestPeer, start: Start, tmp_path: Path, tiny_checkpoint: Path, seven_scenes_folder: Path
) -> None:
    bag = tmp_path / "bag"
    assert dataset_to_bag.main([str(bag), "--data", str(seven_scenes_folder), "--rate", "20"]) == 0
    evaluator = start_evaluator(start, tmp_path / "live", expected_frames=24, idle_timeout=60.0)
    localizer = start(
        "hyperpose_ros.localizer.node",
        *("--ros-args", "-p", f"checkpoint:={tiny_checkpoint}", "-r", "image:=/camera/image_raw"),
    )
    for topic in ("/localizer/pose", "/camera/image_raw"):
        wait_until(lambda: peer.node.count_subscribers(topic) > 0, f"a subscriber of {topic}")  # noqa: B023
    player = start(
        "hyperpose_ros.bags.player",
        *(str(bag), "--in-step-with", "/localizer/pose", "--wait-timeout", "60"),
        *("--wait-for-subscribers", "/camera/image_raw", "/ground_truth/pose"),
    )
    assert player.wait() == 0, player.output + localizer.output
    assert evaluator.wait() == 0, evaluator.output
    assert localizer.stop() == 0

    images = open_dataset(seven_scenes_folder).images
    estimates = PoseEstimator.load(tiny_checkpoint, "cpu").estimate([image.read() for image in images])
    offline = score(
        Comparison.from_poses([item.pose for item in estimates], [image.pose for image in images])
    ).overall
    live = results(tmp_path / "live")
    assert live["overall"]["frames"] == 24
    for errors in ("position_m", "orientation_deg"):
        for name, figure in live["overall"][errors].items():
            expected = getattr(getattr(offline, errors), name)
            assert figure == pytest.approx(expected, abs=5e-3, rel=1e-4), name
    metadata = live["metadata"]
    assert (metadata["frames_received"], metadata["frames_dropped"], metadata["frames_scored"]) == (24, 0, 24)
    assert live["consistency"] is not None
    assert (tmp_path / "live" / "report.html").stat().st_size > 10_000
    assert "position error (m)" in evaluator.output


def publish_run(peer: TestPeer, frames: int, offset_ns: int) -> None:
    """Publish estimates with covariances, 0.1 m off, and odometry as truth; return when they have arrived."""
    estimates = peer.publisher(PoseStamped, "/localizer/pose", 100)
    covariances = peer.publisher(PoseWithCovarianceStamped, "/localizer/pose_with_covariance", 100)
    truths = peer.publisher(Odometry, "/ground_truth/pose", 100)
    for publisher in (estimates, covariances, truths):
        wait_until(lambda: publisher.get_subscription_count() == 1, "the evaluator")  # noqa: B023
    for index in range(frames):
        stamp = SECOND * (10 + index)
        estimates.publish(pose_message(pose(index + 0.1), stamp, "map"))
        estimate = PoseWithCovarianceStamped(header=header(stamp, "map"))
        estimate.pose.pose = pose_to_message(pose(index + 0.1))
        estimate.pose.covariance = covariance_to_message(np.eye(6) * 0.01)
        covariances.publish(estimate)
        truth = Odometry(header=header(stamp + offset_ns, "map"), child_frame_id="camera_optical_frame")
        truth.pose.pose = pose_to_message(pose(index))
        truths.publish(truth)
    assert all(publisher.wait_for_all_acked() for publisher in (estimates, covariances, truths))


def test_odometry_with_stamps_of_its_own_is_a_ground_truth_too(
    peer: TestPeer, start: Start, tmp_path: Path
) -> None:
    evaluator = start_evaluator(
        start, tmp_path / "report", ground_truth_type="odometry", match_tolerance=0.01, idle_timeout=60.0
    )
    publish_run(peer, frames=20, offset_ns=5_000_000)
    assert peer.call(Trigger, "/evaluator/finish", Trigger.Request()).success
    assert evaluator.wait() == 0, evaluator.output
    found = results(tmp_path / "report")
    assert found["overall"]["frames"] == 20
    assert found["overall"]["position_m"]["median"] == pytest.approx(0.1)
    assert found["overall"]["orientation_deg"]["maximum"] == pytest.approx(0.0, abs=1e-6)
    assert found["consistency"] is not None
    assert found["metadata"]["match_tolerance_s"] == 0.01
    assert "frames_received" not in found["metadata"]


def test_the_report_is_written_on_a_signal_too(peer: TestPeer, start: Start, tmp_path: Path) -> None:
    evaluator = start_evaluator(start, tmp_path / "report", idle_timeout=60.0)
    estimates = peer.publisher(PoseStamped, "/localizer/pose")
    truths = peer.publisher(PoseStamped, "/ground_truth/pose")
    for publisher in (estimates, truths):
        wait_until(lambda: publisher.get_subscription_count() == 1, "the evaluator")  # noqa: B023
        for index in range(5):
            publisher.publish(pose_message(pose(index), SECOND * (1 + index), "map"))
        assert publisher.wait_for_all_acked()
    assert evaluator.stop() == 0, evaluator.output
    assert results(tmp_path / "report")["overall"]["frames"] == 5


def test_a_run_with_nothing_to_score_ends_with_a_reason(peer: TestPeer, start: Start, tmp_path: Path) -> None:
    evaluator = start_evaluator(start, tmp_path / "report", idle_timeout=0.5)
    truths = peer.publisher(PoseStamped, "/ground_truth/pose")
    wait_until(lambda: truths.get_subscription_count() == 1, "the evaluator")
    truths.publish(pose_message(pose(0.0), SECOND, "map"))
    assert evaluator.wait() == 1
    assert evaluator.output.strip() == "evaluator: nothing to score: 1 true poses came, but no estimate"
    assert not (tmp_path / "report").exists()


def test_a_wrong_parameter_is_named(
    domain: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    assert evaluator_main(["--ros-args", "-p", "ground_truth_type:=lidar"]) == 2
    line = "evaluator: error: parameter ground_truth_type is 'lidar'; it must be one of pose, odometry"
    assert capfd.readouterr().err.strip() == line
    assert evaluator_main(["--ros-args", "-p", "idle_timeout:=soon"]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("evaluator: error: parameter idle_timeout is 'soon', of type string")


def test_what_others_send_neither_ends_it_nor_is_taken_for_the_localizers(
    peer: TestPeer, start: Start, tmp_path: Path
) -> None:
    evaluator = start_evaluator(start, tmp_path / "report", idle_timeout=60.0, use_sim_time="true")
    estimates = peer.publisher(PoseStamped, "/localizer/pose")
    truths = peer.publisher(PoseStamped, "/ground_truth/pose")
    clock, diagnostics = peer.publisher(Clock, "/clock"), peer.publisher(DiagnosticArray, "/diagnostics")
    for publisher in (estimates, truths, clock, diagnostics):
        wait_until(lambda: publisher.get_subscription_count() == 1, "the evaluator")  # noqa: B023
    clock.publish(Clock(clock=Time(sec=-1)))
    unknown = ParameterMessage(name="title", value=ParameterValue(type=200))
    peer.client(SetParameters, "/evaluator/set_parameters").call_async(
        SetParameters.Request(parameters=[unknown])
    )
    for name, received in (
        ("camera: driver", "99"),
        ("localizer: localization", "5"),
        ("other: localization", "7"),
        ("localizer: localization", "many"),
    ):
        values = {"received": received, "published": "5", "dropped": "0"}
        status = DiagnosticStatus(name=name, values=[KeyValue(key=k, value=v) for k, v in values.items()])
        diagnostics.publish(DiagnosticArray(status=[status]))
    for publisher in (estimates, truths):
        for index in range(5):
            publisher.publish(pose_message(pose(index), SECOND * (1 + index), "map"))
    assert all(publisher.wait_for_all_acked() for publisher in (estimates, truths, diagnostics))
    evaluator.wait_for_output("is left out: ")
    assert evaluator.stop() == 0, evaluator.output
    found = results(tmp_path / "report")
    assert found["overall"]["frames"] == 5
    assert found["metadata"]["frames_received"] == 5


def test_a_folder_that_cannot_be_written_is_told_before_the_run(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    evaluator = start_evaluator(start, tmp_path / "file" / "report")
    assert evaluator.wait() == 2
    assert "output_directory" in evaluator.output
    assert "Traceback" not in evaluator.output
