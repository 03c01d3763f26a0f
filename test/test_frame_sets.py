"""How the frames of several cameras make sets: which are answered together, and that none is lost."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from localizer_helpers import SECOND  # noqa: E402
from ros_helpers import LONG_ENOUGH_S  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from hyperpose_ros.images.counters import FrameLedger, Outcome  # noqa: E402
from hyperpose_ros.images.inbox import FrameSet, Inbox, InboxLimits  # noqa: E402

LONG = 1000 * SECOND
MILLISECOND = 1_000_000


class Rig:
    """An inbox for several cameras, with its ledger."""

    def __init__(self, cameras: int = 2, tolerance_ns: int = LONG, period_ns: int = 0) -> None:
        self.ledger = FrameLedger()
        self.limits = InboxLimits(shortest_period_ns=period_ns, sync_tolerance_ns=tolerance_ns)
        self.inbox = Inbox(self.ledger, lambda: self.limits, lambda: 0, cameras)
        self.inbox.open()

    def send(self, camera: int, stamp_ns: int, received_ns: int | None = None) -> bool:
        self.ledger.receive()
        received_ns = time.monotonic_ns() if received_ns is None else received_ns
        return self.inbox.put(Image(), stamp_ns, received_ns, camera)

    def take(self) -> list[tuple[int, int]]:
        """The cameras and stamps of the next set, which counts as answered."""
        frame_set = self.wait()
        for _ in frame_set.frames:
            self.ledger.settle(Outcome.PUBLISHED)
        return contents(frame_set)

    def wait(self) -> FrameSet:
        """The next set; a test that waits for one that never comes fails and does not hang."""
        alarm = threading.Timer(LONG_ENOUGH_S, self.inbox.close)
        alarm.start()
        frame_set = self.inbox.take()
        alarm.cancel()
        assert frame_set is not None, "no set of frames has come"
        return frame_set

    def dropped(self) -> dict[str, int]:
        counts = self.ledger.counts()
        settled = counts.published + sum(counts.dropped.values()) + counts.in_flight
        assert counts.received == settled, counts
        return dict(counts.dropped)


def contents(frame_set: FrameSet) -> list[tuple[int, int]]:
    return [(frame.camera, frame.stamp_ns) for frame in frame_set.frames]


def test_frames_that_nearly_agree_make_one_set_whatever_their_order() -> None:
    rig = Rig(cameras=3, tolerance_ns=10)
    rig.send(2, 104)
    rig.send(0, 100)
    rig.send(1, 109)
    frame_set = rig.wait()
    assert contents(frame_set) == [(0, 100), (1, 109), (2, 104)] and frame_set.stamp_ns == 109
    assert rig.dropped() == {}


def test_a_whole_set_waits_while_the_next_one_forms_and_the_next_whole_one_replaces_it() -> None:
    rig = Rig(tolerance_ns=20 * MILLISECOND)
    for stamp in (100 * MILLISECOND, 200 * MILLISECOND):
        rig.send(0, stamp)
        rig.send(1, stamp)
    rig.send(0, 300 * MILLISECOND)
    assert rig.take() == [(0, 200 * MILLISECOND), (1, 200 * MILLISECOND)]
    assert rig.dropped() == {"superseded": 2}
    rig.send(1, 300 * MILLISECOND)
    assert rig.take() == [(0, 300 * MILLISECOND), (1, 300 * MILLISECOND)]


def test_a_silent_camera_holds_nobody_up() -> None:
    rig = Rig(tolerance_ns=MILLISECOND)
    for stamp in (SECOND, 2 * SECOND):
        rig.send(0, stamp)
        assert rig.take() == [(0, stamp)]
    assert rig.dropped() == {}


def test_a_set_that_lacks_a_camera_goes_when_the_next_one_begins() -> None:
    rig = Rig(tolerance_ns=LONG)
    rig.send(0, 1)
    rig.send(0, 2 + LONG)
    assert rig.take() == [(0, 1)]
    assert rig.inbox.has_waiting()
    rig.send(1, 3 + LONG)
    assert rig.take() == [(0, 2 + LONG), (1, 3 + LONG)]
    assert rig.dropped() == {}


def test_a_frame_that_comes_after_its_set_is_dropped_so_that_stamps_never_go_back() -> None:
    rig = Rig(tolerance_ns=MILLISECOND)
    rig.send(0, SECOND)
    assert rig.take() == [(0, SECOND)]
    assert rig.send(1, SECOND), "late is not a jump back in time"
    rig.send(1, SECOND + 1)
    rig.send(0, SECOND + 2)
    assert rig.take() == [(0, SECOND + 2), (1, SECOND + 1)]
    assert rig.dropped() == {"unmatched": 1}


def test_a_frame_too_old_for_the_set_that_forms_does_not_join_it() -> None:
    rig = Rig(tolerance_ns=50)
    rig.send(0, 200)
    rig.send(1, 100)
    rig.send(1, 190)
    assert rig.take() == [(0, 200), (1, 190)]
    assert rig.dropped() == {"unmatched": 1}


def test_a_camera_that_repeats_itself_in_a_set_is_there_once_with_its_newest() -> None:
    rig = Rig()
    for stamp in (1, 2, 2):
        rig.send(0, stamp)
    rig.send(1, 3)
    assert rig.take() == [(0, 2), (1, 3)]
    assert rig.dropped() == {"superseded": 2}


def test_stamps_that_never_change_are_answered_all_the_same() -> None:
    rig = Rig(tolerance_ns=MILLISECOND)
    for _ in range(3):
        rig.send(0, 0)
        rig.send(1, 0)
        assert rig.take() == [(0, 0), (1, 0)]


def test_a_jump_back_on_one_camera_begins_a_new_epoch_for_all() -> None:
    rig = Rig()
    rig.send(0, 10 * SECOND)
    rig.send(1, 10 * SECOND)
    before = rig.wait()
    rig.send(0, 11 * SECOND)
    assert not rig.send(1, 1 * SECOND)
    assert rig.send(0, 1 * SECOND), "the other camera follows; its jump is the same one"
    after = rig.wait()
    assert contents(after) == [(0, SECOND), (1, SECOND)] and after.epoch == before.epoch + 1
    assert rig.dropped() == {"time_jump": 1} and rig.ledger.counts().time_jumps == 1


def test_what_comes_too_soon_is_dropped_as_a_whole_set_and_a_jump_back_does_not_stall() -> None:
    rig = Rig(period_ns=100)
    for received in (1000, 1030, 1049, 1100, 1146):
        for camera in (0, 1):
            # The second camera's frame comes later, past the end of the period for the third set.
            rig.send(camera, received * SECOND, received + 5 * camera)
        if received in (1000, 1100):
            assert rig.take() == [(0, received * SECOND), (1, received * SECOND)]
    assert rig.dropped() == {"rate_limited": 6}
    for camera in (0, 1):
        rig.send(camera, 5, 1200)
    assert rig.take() == [(0, 5), (1, 5)]


@pytest.mark.parametrize("camera_hz", [30.0, 29.0, 60.0, 100.0])
def test_a_rate_limit_lets_a_jittery_camera_keep_its_rate_and_no_other_exceed_it(camera_hz: float) -> None:
    limit_hz, generator = 30.0, np.random.default_rng(1)
    rig = Rig(cameras=1, period_ns=round(SECOND / limit_hz))
    period_ns = SECOND / camera_hz
    count = 600
    received = (np.arange(count) + generator.uniform(0.0, 0.45, count)) * period_ns
    for number, instant_ns in enumerate(received.astype(int).tolist()):
        rig.send(0, number * SECOND, instant_ns)
    let_in = count - rig.dropped().get("rate_limited", 0)
    allowed = limit_hz * count / camera_hz
    assert min(0.97 * count, 0.9 * allowed) <= let_in <= allowed + 2


def test_a_rate_limit_that_is_changed_takes_effect_at_once() -> None:
    rig = Rig(cameras=1, period_ns=1000 * SECOND)
    rig.send(0, 1, 1)
    rig.send(0, 2, 2)
    assert rig.dropped() == {"rate_limited": 1}
    rig.limits = replace(rig.limits, shortest_period_ns=10)
    rig.send(0, 3, 20)
    rig.send(0, 4, 40)
    assert rig.dropped() == {"rate_limited": 1, "superseded": 2}
    rig.limits = replace(rig.limits, shortest_period_ns=SECOND)
    rig.send(0, 5, 60)
    assert rig.dropped() == {"rate_limited": 2, "superseded": 2}


def test_the_counters_add_up_with_several_cameras_under_load() -> None:
    rig = Rig(cameras=3, tolerance_ns=20 * MILLISECOND)
    seen: list[FrameSet] = []
    wrong: list[object] = []

    def work() -> None:
        while (frame_set := rig.inbox.take()) is not None:
            seen.append(frame_set)
            for _ in frame_set.frames:
                rig.ledger.settle(Outcome.PUBLISHED)

    worker = threading.Thread(target=work)
    worker.start()
    choices = random.Random(3)
    for number in range(2000):
        for camera in choices.sample(range(3), 3):
            if choices.random() < 0.9:
                rig.send(camera, number * 33 * MILLISECOND + choices.randrange(10 * MILLISECOND))
        counts = rig.ledger.counts()
        settled = counts.published + sum(counts.dropped.values())
        # At most three frames form a set, three wait, three are worked on.
        if counts.received != settled + counts.in_flight or counts.in_flight > 9:
            wrong.append(counts)
    rig.inbox.close()
    worker.join(10)
    rig.dropped()
    assert not wrong and rig.ledger.counts().in_flight == 0
    stamps = [frame_set.stamp_ns for frame_set in seen]
    assert stamps == sorted(set(stamps)), "sets come in order and once"
    for frame_set in seen:
        cameras = [frame.camera for frame in frame_set.frames]
        assert cameras == sorted(set(cameras))
        assert frame_set.stamp_ns - min(f.stamp_ns for f in frame_set.frames) <= 20 * MILLISECOND
