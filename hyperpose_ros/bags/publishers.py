"""Where a replay's messages leave: one publisher a topic, which loses nothing on the way, and the clock's."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.untrusted import reason_of
from hyperpose_ros.bags.pacing import Ticker
from hyperpose_ros.bags.qos import CLOCK_QOS, publisher_qos
from hyperpose_ros.bags.reader import BagReader, BagTopic, message_class

# A lost message that nothing follows is asked for again at the publisher's heartbeat: every 3 s in Fast DDS.
_CONFIRMATION_TIMEOUT_S = 5.0


class TopicPublisher:
    """Publishes one topic's serialised messages.

    Reliable delivery repeats what was lost as long as it is in the publisher's history, and what comes when
    that is full pushes the oldest out, arrived or not. So the publisher never has more on the way than the
    history holds: it asks early whether all has arrived, and waits only when it must.

    Args:
        node: the node that publishes.
        bag: the bag that the topic is of.
        topic: the topic.
        name: what to publish it as.
        reliable: offer reliable delivery even where best effort was recorded.

    Attributes:
        published: how many messages went out.
    """

    def __init__(self, node: Node, bag: BagReader, topic: BagTopic, name: str, reliable: bool) -> None:
        qos = publisher_qos(topic, _first_size(bag, topic), reliable)
        self.published = 0
        kind = message_class(topic.type_name)
        try:
            self._publisher: Publisher = node.create_publisher(kind, name, qos)
        except (InvalidTopicNameException, ValueError, UnicodeError) as error:
            raise HyperPoseError(f"topic {name!r} cannot be published: {reason_of(error)}") from error
        self._is_reliable = qos.reliability == ReliabilityPolicy.RELIABLE
        self._depth = qos.depth
        self._unconfirmed = 0

    @property
    def topic_name(self) -> str:
        """The topic that is published, after all renaming."""
        return str(self._publisher.topic_name)

    def has_subscriber(self) -> bool:
        """Tell whether anyone subscribes."""
        return bool(self._publisher.get_subscription_count() > 0)

    def publish(self, data: bytes) -> None:
        """Publish a serialised message, once there is room for it."""
        if self._is_reliable:
            self._make_room()
        self._publisher.publish(data)
        self.published += 1
        self._unconfirmed += 1

    def confirm(self, timeout_s: float) -> bool:
        """Wait until every subscriber has everything; False if that takes longer than the timeout."""
        return bool(self._publisher.wait_for_all_acked(Duration(seconds=timeout_s)))

    def _make_room(self) -> None:
        if 2 * self._unconfirmed < self._depth:
            return
        is_full = self._unconfirmed >= self._depth
        if self.confirm(_CONFIRMATION_TIMEOUT_S if is_full else 0.0) or is_full:
            self._unconfirmed = 0


class ClockPublisher:
    """Publishes /clock.

    Args:
        node: the node that publishes.
        hertz: how often `tick` lets the time out.
    """

    def __init__(self, node: Node, hertz: float) -> None:
        self._publisher: Publisher = node.create_publisher(Clock, "/clock", CLOCK_QOS)
        self._ticker = Ticker(hertz)

    @property
    def topic_name(self) -> str:
        """The topic that is published, after all renaming."""
        return str(self._publisher.topic_name)

    def has_subscriber(self) -> bool:
        """Tell whether anyone subscribes."""
        return bool(self._publisher.get_subscription_count() > 0)

    def remaining_s(self) -> float:
        """Return the seconds until the next tick."""
        return self._ticker.remaining_s()

    def tick(self, time_ns: int) -> None:
        """Publish a time, nanoseconds, if a tick is due."""
        if self._ticker.take():
            self.publish(time_ns)

    def publish(self, time_ns: int) -> None:
        """Publish a time, nanoseconds."""
        self._publisher.publish(Clock(clock=Time(nanoseconds=time_ns).to_msg()))


def _first_size(bag: BagReader, topic: BagTopic) -> int:
    return next((len(message.data) for message in bag.raw_messages([topic.name])), 0)
