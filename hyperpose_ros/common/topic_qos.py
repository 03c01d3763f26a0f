"""Publishers and subscriptions that do not meet: one asks for more than the other offers. What would help.

Both sides are read off the graph, so that nothing is said any more of a mismatch that is mended.
"""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.topic_endpoint_info import TopicEndpointInfo

from hyperpose_ros.parameters.on_node import QOS_OVERRIDE_PREFIX


def words(policy: QoSReliabilityPolicy | QoSDurabilityPolicy) -> str:
    """Return a policy as it is written in parameters: best_effort, transient_local."""
    return str(policy.name).lower()


def node_of(endpoint: TopicEndpointInfo) -> str:
    """Return the full name of the node that an endpoint belongs to."""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"


def offers_too_little(offered: QoSProfile, requested: QoSProfile) -> tuple[str, str, str] | None:
    """Return a policy by which less is offered than is asked for, the offer and the request.

    None where reliability and durability match.
    """
    if (offered.reliability, requested.reliability) == (
        QoSReliabilityPolicy.BEST_EFFORT,
        QoSReliabilityPolicy.RELIABLE,
    ):
        return "reliability", words(offered.reliability), words(requested.reliability)
    if (offered.durability, requested.durability) == (
        QoSDurabilityPolicy.VOLATILE,
        QoSDurabilityPolicy.TRANSIENT_LOCAL,
    ):
        return "durability", words(offered.durability), words(requested.durability)
    return None


def unserved_subscribers(node: Node, publishers: Iterable[Publisher]) -> tuple[str, ...]:
    """Return a sentence for every subscriber that gets nothing from a node's publishers, with the mending."""
    own = node.get_fully_qualified_name()
    return tuple(
        sentence
        for topic in (publisher.topic_name for publisher in publishers)
        for offer in node.get_publishers_info_by_topic(topic)
        if node_of(offer) == own
        for subscriber in node.get_subscriptions_info_by_topic(topic)
        if (sentence := _unserved(topic, offer.qos_profile, subscriber))
    )


def _unserved(topic: str, offered: QoSProfile, subscriber: TopicEndpointInfo) -> str:
    compatibility, reason = qos_check_compatible(offered, subscriber.qos_profile)
    if compatibility != QoSCompatibility.ERROR:
        return ""
    found = offers_too_little(offered, subscriber.qos_profile)
    if found is None:
        return f"{node_of(subscriber)} gets nothing of {topic}, it asks for too much: {reason}"
    policy, offer, request = found
    return (
        f"{node_of(subscriber)} asks for {request} on {topic}, this node offers {offer}: it gets nothing; "
        f"set {QOS_OVERRIDE_PREFIX}{topic}.publisher.{policy} to {request}, or let it ask for {offer}"
    )
