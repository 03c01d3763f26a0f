"""The newest-frame slot: what gets through, what is dropped, and that the counters say so."""

from __future__ import annotations

import random
import threading
import time

import pytest

pytest.importorskip("sensor_msgs", reason="the ROS 2 messages are missing")

from sensor_msgs.msg import Image  # noqa: E402

from hyperpose_ros.images.counters import FrameCounts, FrameLedger, LatencyRecorder, Outcome  # noqa: E402
from hyperpose_ros.images.inbox import Inbox, InboxLimits  # noqa: E402

SECOND = 1_000_000_000


def accounted(counts: FrameCounts) -> int:
    by_cause = (counts.withheld, counts.refused, counts.dropped)
    return counts.published + counts.in_flight + sum(sum(causes.values()) for causes in by_cause)


class Stream:
    """An inbox with a ledger and a clock that stands where it is put."""

    def __init__(self, max_age_ns: int = 0) -> None:
        self.now_ns = 0
        self.ledger = FrameLedger()
        self.inbox = Inbox(self.ledger, lambda: InboxLimits(max_age_ns=max_age_ns), lambda: self.now_ns)
        self.inbox.open()

    def send(self, stamp_ns: int) -> bool:
        self.ledger.receive()
        return self.inbox.put(Image(), stamp_ns, time.monotonic_ns())


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    stream = Stream()
    for stamp in (1, 2, 3):
        assert stream.send(stamp)
    frame = stream.inbox.take()
    assert frame is not None and frame.stamp_ns == 3
    stream.ledger.settle(Outcome.PUBLISHED)
    counts = stream.ledger.counts()
    assert (counts.received, counts.published, counts.dropped, counts.in_flight) == (
        3,
        1,
        {"superseded": 2},
        0,
    )


def test_a_frame_older_than_the_limit_is_dropped_and_the_next_one_taken() -> None:
    stream = Stream(max_age_ns=SECOND)
    stream.now_ns = 10 * SECOND
    stream.send(8 * SECOND)
    taken: list[int] = []

    def take() -> None:
        frame = stream.inbox.take()
        taken.append(-1 if frame is None else frame.stamp_ns)

    taker = threading.Thread(target=take)
    taker.start()
    while not stream.ledger.counts().dropped:
        time.sleep(0.001)
    stream.send(9 * SECOND)
    taker.join(10)
    assert taken == [9 * SECOND]
    assert stream.ledger.counts().dropped == {"too_old": 1}


def test_without_a_limit_a_frame_of_any_age_gets_through() -> None:
    stream = Stream()
    stream.now_ns = 10**18
    stream.send(0)
    assert stream.inbox.take() is not None


def test_a_jump_back_in_time_begins_a_new_epoch_and_forgets_the_waiting_frame() -> None:
    stream = Stream()
    stream.send(5 * SECOND)
    first = stream.inbox.take()
    assert stream.send(6 * SECOND)
    assert stream.send(6 * SECOND), "the same stamp again is no jump"
    assert not stream.send(1 * SECOND)
    second = stream.inbox.take()
    assert first is not None and second is not None
    assert second.stamp_ns == 1 * SECOND and second.epoch == first.epoch + 1
    assert stream.send(2 * SECOND), "time goes on from where it jumped to"
    counts = stream.ledger.counts()
    assert counts.dropped == {"superseded": 1, "time_jump": 1} and counts.time_jumps == 1


def test_a_frame_that_is_late_by_half_a_second_at_most_is_dropped_and_is_no_jump() -> None:
    stream = Stream()
    stream.send(5 * SECOND)
    first = stream.inbox.take()
    assert stream.send(5 * SECOND - 1) and stream.send(5 * SECOND - SECOND // 2)
    assert stream.send(6 * SECOND)
    second = stream.inbox.take()
    assert first is not None and second is not None and second.epoch == first.epoch
    assert second.stamp_ns == 6 * SECOND
    counts = stream.ledger.counts()
    assert counts.dropped == {"out_of_order": 2} and counts.time_jumps == 0
    assert not stream.send(6 * SECOND - SECOND // 2 - 1), "further back, time has jumped"


def test_closing_wakes_the_taker_drops_the_waiting_frame_and_lets_nothing_in() -> None:
    stream = Stream()
    taker = threading.Thread(target=stream.inbox.take)
    taker.start()
    stream.inbox.close()
    taker.join(10)
    assert not taker.is_alive()
    stream.inbox.open()
    stream.send(1)
    stream.inbox.close()
    stream.send(2)
    assert stream.inbox.take() is None
    assert stream.ledger.counts().dropped == {"deactivated": 2}


def test_an_activation_starts_time_afresh() -> None:
    stream = Stream()
    stream.send(9 * SECOND)
    before = stream.inbox.take()
    stream.inbox.close()
    stream.inbox.open()
    assert stream.send(1 * SECOND), "the first stamp after an activation is no jump"
    after = stream.inbox.take()
    assert before is not None and after is not None and after.epoch > before.epoch


def test_the_counters_add_up_at_every_instant_under_load() -> None:
    stream = Stream()
    seen: list[int] = []
    wrong: list[FrameCounts] = []
    finished = threading.Event()

    def work() -> None:
        choices = random.Random(1)
        while (frame := stream.inbox.take()) is not None:
            seen.append(frame.stamp_ns)
            outcome = choices.choice([Outcome.PUBLISHED, Outcome.WITHHELD, Outcome.REFUSED])
            stream.ledger.settle(outcome, "any")

    def watch() -> None:
        while not finished.is_set():
            counts = stream.ledger.counts()
            if (
                accounted(counts) != counts.received or not 0 <= counts.in_flight <= 3
            ):  # arriving, waiting, worked on
                wrong.append(counts)

    threads = [threading.Thread(target=work), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    for stamp in range(5000):
        stream.send(stamp)
        if stamp % 50 == 0:
            time.sleep(0)
    stream.inbox.close()
    finished.set()
    for thread in threads:
        thread.join(10)
    counts = stream.ledger.counts()
    assert not wrong
    assert counts.received == 5000 == accounted(counts) and counts.in_flight == 0
    assert seen == sorted(set(seen)), "frames come in order and once"


def test_latencies_are_summarised_by_stage() -> None:
    recorder = LatencyRecorder()
    for milliseconds in range(1, 102):
        recorder.record({"network": milliseconds * 1_000_000, "publish": 2_000_000})
    network, publish = recorder.summary()
    assert (network.stage, network.median_ms, network.p95_ms) == ("network", 51.0, 96.0)
    assert (publish.stage, publish.median_ms, publish.p95_ms) == ("publish", 2.0, 2.0)
