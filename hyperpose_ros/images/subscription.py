"""The image subscription: topic and type, a reliability that its publishers can serve, why nothing arrives.

A reliable subscription gets nothing from a best-effort publisher, and a best-effort one loses most large
images of a reliable publisher: neither can be right for everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_ros.common.topic_qos import node_of, offers_too_little
from hyperpose_ros.parameters.on_node import QOS_OVERRIDE_PREFIX, has_override

_DEPTH = 5
_CHECK_PERIOD_S = 0.5
_RAW = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_SUFFIX = "/compressed"

RELIABLE = QoSReliabilityPolicy.RELIABLE
BEST_EFFORT = QoSReliabilityPolicy.BEST_EFFORT


@dataclass(frozen=True)
class TopicHealth:
    """How the subscription stands with its publishers.

    Attributes:
        topic: full name of the topic.
        publishers: how many there are of its type.
        reliability: what the subscription asks for, "reliable" or "best_effort".
        problem: why nothing can arrive, and what to do; empty where something can.
    """

    topic: str
    publishers: int
    reliability: str
    problem: str


def reliability_for(
    offers: Iterable[QoSReliabilityPolicy], current: QoSReliabilityPolicy
) -> QoSReliabilityPolicy:
    """Choose a subscription's reliability from what the publishers offer.

    Best effort where any of them offers no more, since a reliable subscription would get nothing from it;
    reliable where all of them are; as it is now while there are none.
    """
    offers = list(offers)
    if not offers:
        return current
    return BEST_EFFORT if BEST_EFFORT in offers else RELIABLE


class ImageSubscription:
    """Subscribes to the images until it is destroyed, and anew where the publishers' offers change."""

    def __init__(
        self,
        node: Node,
        topic: str,
        transport: str,
        reliability: str,
        on_message: Callable[[Image | CompressedImage], None],
    ) -> None:
        """Subscribe.

        Args:
            node: the node that subscribes.
            topic: the raw images' topic, before remapping.
            transport: raw or compressed.
            reliability: auto, reliable or best_effort.
            on_message: takes each message, in the executor's thread.
        """
        self._node = node
        self._on_message = on_message
        # As image_transport does: the suffix goes behind the base topic's remapped name.
        self._base = node.resolve_topic_name(topic)
        self._is_compressed = transport == "compressed"
        self._topic = node.resolve_topic_name(f"{self._base}{_SUFFIX}" if self._is_compressed else self._base)
        self._overrides = f"{QOS_OVERRIDE_PREFIX}{self._topic}.subscription"
        self._is_overridden = has_override(node, f"{self._overrides}.reliability")
        self._is_automatic = reliability == "auto" and not self._is_overridden
        self._reliability = BEST_EFFORT if reliability == "best_effort" else RELIABLE
        if self._is_automatic:
            self._reliability = reliability_for(self._offers(), self._reliability)
        self._subscription = self._subscribe()
        self._timer = node.create_timer(
            _CHECK_PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def health(self) -> TopicHealth:
        """Return how the subscription stands with its publishers now."""
        publishers = self._publishers()
        problems = [self._mismatch(publisher) for publisher in publishers]
        problem = next(filter(None, problems), "") if publishers else self._absence()
        asked = self._subscription.qos_profile.reliability
        return TopicHealth(self._topic, len(publishers), asked.name.lower(), problem)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)

    def _check(self) -> None:
        if not self._is_automatic:
            return
        wanted = reliability_for(self._offers(), self._reliability)
        if wanted == self._reliability:
            return
        self._reliability = wanted
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe()
        self._node.get_logger().info(
            f"{self._topic}: publishers offer {wanted.name.lower()}, subscribed anew with it"
        )

    def _subscribe(self) -> Subscription:
        policies = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY]
        if not self._is_automatic:
            # Once declared, the parameter would fix the reliability of every later subscription too.
            policies.append(QoSPolicyKind.RELIABILITY)
        return self._node.create_subscription(
            CompressedImage if self._is_compressed else Image,
            self._topic,
            self._on_message,
            QoSProfile(depth=_DEPTH, reliability=self._reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_offer),
            qos_overriding_options=QoSOverridingOptions(policies),
        )

    def _on_incompatible_offer(self, _event: object) -> None:
        if not self._is_automatic:
            self._node.get_logger().warning(
                self.health().problem or f"{self._topic}: a publisher offers less than this node asks for"
            )

    def _publishers(self) -> list[TopicEndpointInfo]:
        kind = _COMPRESSED if self._is_compressed else _RAW
        everyone = self._node.get_publishers_info_by_topic(self._topic)
        return [publisher for publisher in everyone if publisher.topic_type == kind]

    def _offers(self) -> list[QoSReliabilityPolicy]:
        return [publisher.qos_profile.reliability for publisher in self._publishers()]

    def _mismatch(self, publisher: TopicEndpointInfo) -> str:
        """Return why nothing of a publisher arrives, and what to do; empty where it does."""
        found = offers_too_little(publisher.qos_profile, self._subscription.qos_profile)
        if found is None:
            return ""
        policy, offer, request = found
        ours = f"set {self._overrides}.{policy} to {offer}"
        if policy == "reliability" and not self._is_overridden:
            ours = "set image_reliability to auto or best_effort"
        return (
            f"{node_of(publisher)} offers {offer} on {self._topic}, this node asks for {request}: nothing "
            f"arrives from it; {ours}, or make the publisher {request}"
        )

    def _absence(self) -> str:
        """Return that nobody publishes the images, and where there are some instead."""
        absent = f"no publisher on {self._topic}"
        if any(self._node.get_publishers_info_by_topic(self._topic)):
            absent = f"no publisher of {_COMPRESSED if self._is_compressed else _RAW} on {self._topic}"
        other = self._base if self._is_compressed else f"{self._base}{_SUFFIX}"
        if self._types(other) & {_RAW if self._is_compressed else _COMPRESSED}:
            return f"{absent}, but on {other}: set image_transport to {self._other_transport}"
        if _COMPRESSED in self._types(self._base):
            return f"{absent}: {self._base} has compressed images; {self._way_to_compressed()}"
        others = ", ".join(sorted(self._types(self._topic)))
        return f"{absent}, but of {others}: remap image to the topic of the images" if others else absent

    @property
    def _other_transport(self) -> str:
        return "raw" if self._is_compressed else "compressed"

    def _way_to_compressed(self) -> str:
        """Return how to listen to compressed images on the topic that is taken for the raw images'."""
        if self._base.endswith(_SUFFIX):
            return f"set image_transport to compressed and remap image to {self._base[: -len(_SUFFIX)]}"
        return f"set image_transport to compressed and remap {self._base}{_SUFFIX} to {self._base}"

    def _types(self, topic: str) -> set[str]:
        return {publisher.topic_type for publisher in self._node.get_publishers_info_by_topic(topic)}
