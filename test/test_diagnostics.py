"""What /diagnostics says of a node's health: values, and problems with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from domains import claimed_domain  # noqa: E402
from ros_helpers import TestPeer, wait_until  # noqa: E402

from hyperpose_ros.fusion.tracking import Tracking  # noqa: E402
from hyperpose_ros.fusion.trust_history import TrustSummary  # noqa: E402
from hyperpose_ros.images.counters import (  # noqa: E402
    FrameCounts,
    FrameLedger,
    LatencyRecorder,
    Outcome,
    RecentFrames,
    StageLatency,
)
from hyperpose_ros.images.subscription import TopicHealth  # noqa: E402
from hyperpose_ros.localizer.diagnostics import (  # noqa: E402
    DiagnosticsPublisher,
    NodeHealth,
    SessionHealth,
    diagnostic_values,
)
from hyperpose_ros.localizer.estimator_slot import DeviceMemory  # noqa: E402
from hyperpose_ros.localizer.refinement import RefinementHealth  # noqa: E402
from hyperpose_ros.tf.frames import TransformHealth  # noqa: E402

TOPIC = TopicHealth("/camera", 1, "reliable", "")
SESSION = SessionHealth(
    checkpoint="/nets/town.safetensors",
    architecture="hyperpose",
    device="cuda:0",
    device_memory=DeviceMemory(123_000_000, 456_000_000),
    is_enabled=True,
    topics=(TOPIC,),
    problems=(),
    seconds_without_image=0.1,
    trust=TrustSummary(50, 5, {"jump": 5}),
    transform=TransformHealth("map -> odom", 44, {"no_odometry": 6}, ""),
    tracking=Tracking.TRACKING,
    lost="",
)
REFINEMENT = RefinementHealth(
    mode="refine",
    map=Path("/nets/town.map"),
    counts=FrameCounts(60, 20, {"no_pose": 5}, {"error": 2}, {"superseded": 32}, 1, 0),
    latencies=(StageLatency("features", 40.0, 50.0),),
    trust=TrustSummary(50, 5, {"no_pose": 5}),
    problem="",
)
HEALTHY = NodeHealth(
    state="active",
    counts=FrameCounts(60, 50, {"jump": 5}, {"empty": 2}, {"superseded": 2}, 1, 0),
    rate_hz=12.345,
    latencies=(StageLatency("network", 20.0, 30.0),),
    image_timeout=5.0,
    recent=RecentFrames(50, {(Outcome.REFUSED, "empty"): 2, (Outcome.DROPPED, "superseded"): 23}),
    session=SESSION,
)


@pytest.fixture(scope="module")
def peer() -> Iterator[TestPeer]:
    with claimed_domain() as domain_id, TestPeer(domain_id, "town") as peer:
        yield peer


def test_every_value_and_every_problem_reaches_the_topic(peer: TestPeer) -> None:
    healths = [HEALTHY]
    heard = peer.collect(DiagnosticArray, "/diagnostics")
    DiagnosticsPublisher(peer.node, lambda: healths[-1])
    wait_until(lambda: any(array.status[0].message == "localizing" for array in heard), "the healthy status")
    status = heard[-1].status[0]
    assert status.name == "town: localization" and status.level == b"\x00"
    assert status.hardware_id == "/town"
    values = {pair.key: pair.value for pair in status.values}
    assert float(values.pop("memory.process_resident_mb")) > 10
    assert values == {
        "state": "active",
        "checkpoint": "/nets/town.safetensors",
        "architecture": "hyperpose",
        "device": "cuda:0",
        "enabled": "true",
        "tracking": "tracking",
        "latest_poses": "50",
        "latest_poses.untrusted": "5",
        "transform": "map -> odom",
        "transforms_sent": "44",
        "transforms_missing": "6",
        "transforms_missing.no_odometry": "6",
        "image_topic": "/camera",
        "image_publishers": "1",
        "image_reliability": "reliable",
        "memory.device_allocated_mb": "123.0",
        "memory.device_reserved_mb": "456.0",
        "rate_hz": "12.35",
        "received": "60",
        "published": "50",
        "withheld": "5",
        "withheld.jump": "5",
        "refused": "2",
        "refused.empty": "2",
        "dropped": "2",
        "dropped.superseded": "2",
        "in_flight": "1",
        "time_jumps": "0",
        "latency.network.median_ms": "20.000",
        "latency.network.p95_ms": "30.000",
    }

    healths.append(replace(HEALTHY, session=replace(SESSION, is_enabled=False, seconds_without_image=9.0)))
    wait_until(lambda: heard[-1].status[0].level == b"\x01", "a warning")
    message = heard[-1].status[0].message
    assert "no image on /camera for 9 s" in message and "call ~/enable" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"topics": (replace(TOPIC, problem="no publisher on /camera"),)}, ["no publisher on /camera"]),
        ({"seconds_without_image": 7.0}, ["no image on /camera for 7 s", "ros2 topic hz"]),
        ({"is_enabled": False}, ["disabled", "~/enable"]),
        ({"trust": TrustSummary(50, 40, {"jump": 40})}, ["40 of the latest 50", "jump", "~/status"]),
        (
            {"transform": TransformHealth("map -> odom", 0, {}, "no odometry: start it")},
            ["no odometry: start it"],
        ),
        ({"tracking": Tracking.LOST, "lost": "lost: nothing to be seen"}, ["lost: nothing"]),
        ({"problems": ("no camera_info on /camera_info",)}, ["no camera_info on /camera_info"]),
        ({"refinement": REFINEMENT}, []),
        ({"refinement": replace(REFINEMENT, problem="no map beside it")}, ["no map beside it"]),
        (
            {"refinement": replace(REFINEMENT, trust=TrustSummary(50, 40, {"no_pose": 40}))},
            ["no pose of 40 of the latest 50 images", "no_pose"],
        ),
        ({}, []),
    ],
)
def test_a_problem_comes_with_what_to_do(changes: dict[str, object], words: list[str]) -> None:
    problems = replace(HEALTHY, session=replace(SESSION, **changes)).problems()
    assert len(problems) == bool(words)
    assert all(word in problems[0] for word in words)


def test_the_refiner_s_counters_add_up_under_names_of_their_own() -> None:
    session = replace(SESSION, refinement=REFINEMENT)
    values = diagnostic_values(replace(HEALTHY, session=session))
    assert {key: value for key, value in values.items() if key.startswith("refiner.")} == {
        "refiner.offered": "60",
        "refiner.taken": "27",
        "refiner.verified": "20",
        "refiner.unverified": "5",
        "refiner.unverified.no_pose": "5",
        "refiner.failed": "2",
        "refiner.failed.error": "2",
        "refiner.skipped": "32",
        "refiner.skipped.superseded": "32",
        "refiner.in_flight": "1",
        "refiner.latency.features.median_ms": "40.000",
        "refiner.latency.features.p95_ms": "50.000",
    }
    assert (values["refinement"], values["map"]) == ("refine", "/nets/town.map")


def test_silence_is_no_problem_where_nothing_can_come() -> None:
    silent = replace(SESSION, seconds_without_image=99.0)
    inactive = replace(HEALTHY, state="inactive", session=replace(silent, topics=()))
    assert inactive.problems() == ()
    unserved = replace(silent, topics=(replace(TOPIC, problem="no publisher on /camera"),))
    assert replace(HEALTHY, session=unserved).problems() == ("no publisher on /camera",)


def test_the_rate_counts_the_answers_of_the_last_seconds() -> None:
    recorder = LatencyRecorder()
    assert recorder.rate_hz() == 0.0
    for _ in range(10):
        recorder.record({"network": 1_000_000})
    assert 2.0 <= recorder.rate_hz() <= 10.0


@pytest.mark.parametrize(
    ("outcome", "cause", "words"),
    [
        (Outcome.REFUSED, "unknown_encoding", "refused for unknown_encoding"),
        (Outcome.WITHHELD, "failed", "withheld for failed"),
        (Outcome.DROPPED, "not_calibrated", "dropped for not_calibrated"),
        (Outcome.DROPPED, "superseded", "set max_rate"),
        (Outcome.DROPPED, "rate_limited", ""),
        (Outcome.DROPPED, "disabled", ""),
        (Outcome.PUBLISHED, "", ""),
    ],
)
def test_images_that_are_mostly_not_answered_are_a_problem(outcome: Outcome, cause: str, words: str) -> None:
    ledger = FrameLedger()
    for number in range(56):
        ledger.receive()
        ledger.settle(outcome if number % 4 else Outcome.PUBLISHED, cause if number % 4 else "")
    problems = " ".join(replace(HEALTHY, recent=ledger.recent()).problems())
    assert words in problems and bool(words) == bool(problems)
    for _ in range(50):
        ledger.receive()
        ledger.settle(Outcome.PUBLISHED)
    assert not replace(HEALTHY, recent=ledger.recent()).problems()
