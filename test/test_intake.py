"""What becomes of image messages before they wait to be answered, and which cameras send none."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from rclpy.logging import get_logger  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from hyperpose_ros.common.conversions import rgb_to_image  # noqa: E402
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings  # noqa: E402
from hyperpose_ros.images.cameras import Camera  # noqa: E402
from hyperpose_ros.images.counters import (  # noqa: E402
    FrameAccounts,
    FrameLedger,
    LatencyRecorder,
    StageClock,
)
from hyperpose_ros.images.inbox import Inbox, InboxLimits  # noqa: E402
from hyperpose_ros.images.intake import Intake  # noqa: E402

CAMERAS = (Camera("front", "front/image", "", None), Camera("rear", "rear/image", "", None))


@pytest.fixture
def ledger() -> FrameLedger:
    return FrameLedger()


@pytest.fixture
def inbox(ledger: FrameLedger) -> Inbox:
    return Inbox(ledger, InboxLimits, lambda: 0)


@pytest.fixture
def intake(ledger: FrameLedger, inbox: Inbox) -> Intake:
    warnings = ThrottledWarnings(get_logger("test_intake"))
    intake = Intake(CAMERAS, None, inbox, FrameAccounts(ledger, LatencyRecorder(), warnings))
    intake.open()
    return intake


def image(stamp_ns: int) -> Image:
    return rgb_to_image(np.zeros((4, 6, 3), np.uint8), stamp_ns, "camera")


def test_a_good_image_waits_to_be_answered(ledger: FrameLedger, inbox: Inbox, intake: Intake) -> None:
    before_ns = time.monotonic_ns()
    intake.take(0, image(7))
    taken = inbox.take()
    assert taken is not None and taken.stamp_ns == 7
    assert before_ns <= taken.frames[0].received_ns <= time.monotonic_ns()
    assert ledger.counts().received == ledger.counts().in_flight == 1


def test_what_is_no_image_is_refused_and_pushes_no_good_one_out(
    ledger: FrameLedger, inbox: Inbox, intake: Intake
) -> None:
    intake.take(0, image(7))
    intake.take(0, Image(height=4, width=6, encoding="rgb8", step=18))
    intake.take(0, CompressedImage(format="jpeg"))
    taken = inbox.take()
    assert taken is not None and taken.stamp_ns == 7
    counts = ledger.counts()
    assert (counts.received, sum(counts.refused.values()), counts.in_flight) == (3, 2, 1)


def test_images_are_dropped_while_disabled_and_once_closed(ledger: FrameLedger, intake: Intake) -> None:
    intake.is_enabled = False
    intake.take(0, image(1))
    intake.is_enabled = True
    intake.close()
    intake.take(0, image(2))
    assert ledger.counts().dropped == {"disabled": 1, "deactivated": 1}
    assert ledger.counts().in_flight == 0


def test_a_camera_is_silent_only_beside_others_that_are_not(intake: Intake) -> None:
    time.sleep(1.0)
    assert intake.silent_cameras(0.9) == (), "none of them has sent anything"
    silent_s = intake.seconds_without_image()
    assert silent_s >= 1.0
    intake.take(1, image(1))
    assert intake.seconds_without_image() < silent_s
    (silence,) = intake.silent_cameras(intake.seconds_without_image() + 0.9)
    assert "camera front" in silence and "other cameras" in silence
    assert intake.silent_cameras(3600.0) == ()
    intake.open()
    assert intake.silent_cameras(0.9) == (), "silence begins anew"


def test_stages_follow_one_another_and_make_up_the_total() -> None:
    clock = StageClock(100)
    clock.end("queue", 130)
    clock.end("network", 170)
    assert clock.durations_ns() == {"queue": 30, "network": 40, "total": 70}
