"""The image subscription: which topic and type, and a reliability that its publishers can serve.

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
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_ros.node_parameters import QOS_OVERRIDE_PREFIX, has_override

_DEPTH = 5
_CHECK_PERIOD_S = 0.5

RELIABLE = QoSReliabilityPolicy.RELIABLE
BEST_EFFORT = QoSReliabilityPolicy.BEST_EFFORT


@dataclass(frozen=True)
class TopicHealth:
    """How the subscription stands with its publishers.

    Attributes:
        topic: full name of the topic.
        publishers: how many there are.
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
        transport: str,
        reliability: str,
        on_message: Callable[[Image | CompressedImage], None],
    ) -> None:
        """Subscribe.

        Args:
            node: the node that subscribes.
            transport: raw or compressed.
            reliability: auto, reliable or best_effort.
            on_message: takes each message, in the executor's thread.
        """
        self._node = node
        self._on_message = on_message
        # As image_transport does: the suffix goes behind the base topic's remapped name.
        base = node.resolve_topic_name("image")
        self._message_type = CompressedImage if transport == "compressed" else Image
        requested = f"{base}/compressed" if transport == "compressed" else base
        self._topic = node.resolve_topic_name(requested)
        override = f"{QOS_OVERRIDE_PREFIX}{self._topic}.subscription.reliability"
        self._is_automatic = reliability == "auto" and not has_override(node, override)
        self._reliability = BEST_EFFORT if reliability == "best_effort" else RELIABLE
        if self._is_automatic:
            self._reliability = reliability_for(self._offers(), self._reliability)
        self._subscription = self._subscribe()
        self._timer = node.create_timer(
            _CHECK_PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def health(self) -> TopicHealth:
        """Return how the subscription stands with its publishers now."""
        offers = self._offers()
        asked = self._subscription.qos_profile.reliability
        problem = ""
        if not offers:
            problem = f"no publisher on {self._topic}"
        elif asked == RELIABLE and BEST_EFFORT in offers:
            problem = (
                f"a publisher on {self._topic} offers best effort, this node asks for reliable: nothing "
                "arrives; set image_reliability to auto or best_effort, or make the publisher reliable"
            )
        return TopicHealth(self._topic, len(offers), asked.name.lower(), problem)

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
            self._message_type,
            self._topic,
            self._on_message,
            QoSProfile(depth=_DEPTH, reliability=self._reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_offer),
            qos_overriding_options=QoSOverridingOptions(policies),
        )

    def _on_incompatible_offer(self, _event: object) -> None:
        if not self._is_automatic:
            self._node.get_logger().warning(
                self.health().problem or f"{self._topic}: a publisher's QoS does not match"
            )

    def _offers(self) -> list[QoSReliabilityPolicy]:
        return [info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(self._topic)]
