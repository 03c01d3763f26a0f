"""Replaying a bag through rclpy: what goes out when."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from tqdm import tqdm

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.bags.pacing import AnswerGate, Schedule
from hyperpose_ros.bags.publishers import ClockPublisher, TopicPublisher
from hyperpose_ros.bags.qos import is_latched
from hyperpose_ros.bags.reader import (
    IMAGE_TYPES,
    BagMessage,
    BagReader,
    BagTopic,
    header_stamp_ns,
    message_class,
)

_NANOSECONDS = 1_000_000_000
_LONGEST_PAUSE_S = 0.05
_SETTLE_S = 1.0
_DELIVERY_TIMEOUT_S = 10.0
_PROGRESS_FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s [{elapsed}<{remaining}{postfix}]"


@dataclass(frozen=True)
class ReplayOptions:
    """How a bag is replayed.

    Attributes:
        rate: recorded seconds a second.
        clock_hz: how often the time goes out on /clock besides once before every message; 0 for no /clock.
        topics: which topics; empty for all.
        remaps: topic in the bag -> topic to publish on.
        start_s: seconds of the bag to leave out at the beginning.
        duration_s: seconds of the bag to play; None for all.
        loop: start again at the end, for ever.
        reliable: offer reliable delivery even where best effort was recorded.
        wait_for_subscribers: topics that must have a subscriber before the first message; None for none of
            them, empty for the image topics.
        wait_timeout_s: how long to wait for them, seconds.
        in_step_with: the topic whose messages answer images; empty for no waiting.
        answers: with `in_step_with`, how many of its messages answer one image.
        in_flight: with `in_step_with`, how many images may be unanswered at once.
        step_timeout_s: how long to wait for an answer, seconds.
    """

    rate: float = 1.0
    clock_hz: float = 0.0
    topics: tuple[str, ...] = ()
    remaps: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 0.0
    duration_s: float | None = None
    loop: bool = False
    reliable: bool = False
    wait_for_subscribers: tuple[str, ...] | None = None
    wait_timeout_s: float = 30.0
    in_step_with: str = ""
    answers: int = 1
    in_flight: int = 1
    step_timeout_s: float = 10.0


@dataclass(frozen=True)
class ReplaySummary:
    """What a replay did.

    Attributes:
        published: topic it was published on -> number of messages.
        unanswered: images that got no answer in time; 0 without `in_step_with`.
        undelivered: reliable topics whose last messages a subscriber had not confirmed at the end.
        seconds: how long it took.
    """

    published: Mapping[str, int]
    unanswered: int
    undelivered: tuple[str, ...]
    seconds: float


class BagReplay:
    """Publishes a bag's messages through a node; a context manager.

    Args:
        node: the node whose publishers are used.
        bag: an open bag.
        options: how to replay it.
        tell: where remarks for the user go, one line each.

    Raises:
        HyperPoseError: a topic is not in the bag, its message type is not installed, the bag is empty, or
            `start_s` lies behind its end.
    """

    def __init__(
        self, node: Node, bag: BagReader, options: ReplayOptions, tell: Callable[[str], None]
    ) -> None:
        self._node = node
        self._bag = bag
        self._options = options
        self._tell = tell
        self._start_ns, self._stop_ns = _window(bag, options)
        self._topics = self._select_topics()
        self._publishers = {topic.name: self._make_publisher(topic) for topic in self._topics}
        self._clock = ClockPublisher(node, options.clock_hz) if options.clock_hz > 0 else None
        self._gate: AnswerGate | None = None
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    def __enter__(self) -> BagReplay:
        """Return itself."""
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the executor."""
        self._executor.shutdown()

    def wait(self) -> None:
        """Wait for the subscribers and for the answering topic that the options name.

        Raises:
            HyperPoseError: one of them isn't there after `wait_timeout_s`.
        """
        for publisher in self._awaited():
            self._wait_for(publisher.has_subscriber, f"nothing subscribes to {publisher.topic_name}")
        if self._options.in_step_with:
            self._gate = AnswerGate(
                self._options.in_flight, self._options.step_timeout_s, self._options.answers
            )
            self._listen_for_answers(self._options.in_step_with, self._gate)
        if self._options.wait_for_subscribers is not None:
            self._settle()

    def run(self) -> ReplaySummary:
        """Publish everything, on time, and wait until reliable subscribers have it."""
        started = time.monotonic()
        self._play()
        while self._options.loop and self._count() > 0:
            self._play()
        undelivered = self._wait_for_delivery()
        return ReplaySummary(
            published={publisher.topic_name: publisher.published for publisher in self._publishers.values()},
            unanswered=self._gate.unanswered if self._gate else 0,
            undelivered=undelivered,
            seconds=time.monotonic() - started,
        )

    def _select_topics(self) -> list[BagTopic]:
        for name in (*self._options.topics, *self._options.remaps):
            self._bag.require(name)
        chosen = [self._bag.topics[name] for name in self._options.topics or self._bag.topics]
        if self._options.clock_hz > 0:
            chosen = [topic for topic in chosen if topic.name != "/clock"]
        return [topic for topic in chosen if self._is_installed(topic)]

    def _is_installed(self, topic: BagTopic) -> bool:
        try:
            message_class(topic.type_name)
        except HyperPoseError as error:
            if topic.name in self._options.topics:
                raise HyperPoseError(f"{self._bag.path}: cannot play {topic.name}: {error}") from error
            self._tell(f"{topic.name} is left out: {error}")
            return False
        return True

    def _make_publisher(self, topic: BagTopic) -> TopicPublisher:
        name = self._options.remaps.get(topic.name, topic.name)
        return TopicPublisher(self._node, self._bag, topic, name, self._options.reliable)

    def _awaited(self) -> list[TopicPublisher | ClockPublisher]:
        names = self._options.wait_for_subscribers
        if names is None:
            return []
        if not names:
            return [self._publishers[topic.name] for topic in self._topics if topic.type_name in IMAGE_TYPES]
        live: dict[str, TopicPublisher | ClockPublisher] = {
            publisher.topic_name: publisher for publisher in self._publishers.values()
        }
        if self._clock:
            live[self._clock.topic_name] = self._clock
        for name in names:
            if name not in self._publishers and name not in live:
                raise HyperPoseError(f"cannot wait for subscribers of {name}; played are: {', '.join(live)}")
        return [self._publishers.get(name) or live[name] for name in names]

    def _listen_for_answers(self, topic: str, gate: AnswerGate) -> None:
        self._wait_for(lambda: self._node.count_publishers(topic) > 0, f"nothing publishes {topic}")
        (endpoint, *_) = self._node.get_publishers_info_by_topic(topic)
        reliable = endpoint.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        subscription = self._node.create_subscription(
            message_class(endpoint.topic_type),
            topic,
            lambda data: gate.answered(header_stamp_ns(data)),
            QoSProfile(
                depth=100,
                reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            ),
            raw=True,
        )
        self._wait_for(lambda: subscription.get_publisher_count() > 0, f"{topic} cannot be subscribed to")

    def _wait_for(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + self._options.wait_timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise HyperPoseError(f"{complaint} after {self._options.wait_timeout_s:g} s")
            self._executor.spin_once(timeout_sec=_LONGEST_PAUSE_S)

    def _settle(self) -> None:
        """Let the awaited nodes' other subscriptions be found, too: discovery brings them one by one."""
        end = time.monotonic() + _SETTLE_S
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def _play(self) -> None:
        self._publish_earlier_latched()
        names = [topic.name for topic in self._topics]
        length_s = (self._stop_ns - 1 - self._start_ns) / _NANOSECONDS
        schedule = Schedule(self._start_ns, self._options.rate)
        with tqdm(total=length_s, desc="replay", bar_format=_PROGRESS_FORMAT) as progress:
            for message in self._bag.raw_messages(names, self._start_ns, self._stop_ns):
                self._wait_until_due(schedule, message)
                self._publish(message)
                progress.set_postfix_str(f"{self._count()} messages", refresh=False)
                progress.update((message.stamp_ns - self._start_ns) / _NANOSECONDS - progress.n)

    def _publish_earlier_latched(self) -> None:
        latched = [topic.name for topic in self._topics if is_latched(topic)]
        if latched:
            for message in self._bag.raw_messages(latched, stop_ns=self._start_ns):
                self._publish(message)

    def _wait_until_due(self, schedule: Schedule, message: BagMessage) -> None:
        while (remaining := schedule.remaining_s(message.stamp_ns)) > 0:
            self._pause(remaining, min(schedule.recording_time_ns(), message.stamp_ns))
        if self._gate and self._bag.topics[message.topic].type_name in IMAGE_TYPES:
            while not self._gate.is_open():
                self._pause(_LONGEST_PAUSE_S, message.stamp_ns)
            self._gate.sent(header_stamp_ns(message.data))
            schedule.resume_at(message.stamp_ns)
        if self._clock:
            self._clock.publish(message.stamp_ns)

    def _pause(self, seconds: float, time_ns: int) -> None:
        """Pass some of the seconds with whatever comes in, telling the time if it is to be told."""
        seconds = min(seconds, _LONGEST_PAUSE_S)
        if self._clock:
            self._clock.tick(time_ns)
            seconds = min(seconds, self._clock.remaining_s())
        self._executor.spin_once(timeout_sec=max(0.0, seconds))

    def _publish(self, message: BagMessage) -> None:
        self._publishers[message.topic].publish(message.data)

    def _count(self) -> int:
        return sum(publisher.published for publisher in self._publishers.values())

    def _wait_for_delivery(self) -> tuple[str, ...]:
        deadline = time.monotonic() + _DELIVERY_TIMEOUT_S
        late = [
            publisher.topic_name
            for publisher in self._publishers.values()
            if not publisher.confirm(max(0.0, deadline - time.monotonic()))
        ]
        return tuple(late)


def _window(bag: BagReader, options: ReplayOptions) -> tuple[int, int]:
    if not any(topic.message_count for topic in bag.topics.values()):
        raise HyperPoseError(f"{bag.path}: the bag is empty")
    start_ns = bag.start_ns + round(options.start_s * _NANOSECONDS)
    if start_ns > bag.end_ns:
        length_s = (bag.end_ns - bag.start_ns) / _NANOSECONDS
        raise HyperPoseError(
            f"{bag.path}: cannot start at {options.start_s:g} s, the bag is {length_s:.3f} s long"
        )
    stop_ns = bag.end_ns + 1
    if options.duration_s is not None:
        stop_ns = min(stop_ns, start_ns + round(options.duration_s * _NANOSECONDS))
    return start_ns, stop_ns
