"""Quality of service between bags and rclpy."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import QosDurability, QosReliability

from hyperpose_ros.bags.reader import BagTopic

CLOCK_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)

_HISTORY_BYTES = 64_000_000
_SMALLEST_DEPTH = 10
_LARGEST_DEPTH = 1000
_LATCHED_BY_CONVENTION = ("/tf_static",)


def is_latched(topic: BagTopic) -> bool:
    """Tell whether late subscribers must still get a topic's messages (transient local)."""
    if topic.name in _LATCHED_BY_CONVENTION:
        return True
    offered = topic.offered_qos
    return bool(offered) and all(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in offered)


def publisher_qos(topic: BagTopic, message_size: int, reliable: bool = False) -> QoSProfile:
    """Return what a replay's publisher offers: what the recorded publishers all offered.

    The history is as deep as some memory allows, for a replay may be faster than its subscribers.

    Args:
        topic: a topic of the bag; where the bag doesn't say what was offered, it is taken as reliable.
        message_size: bytes of one message.
        reliable: offer reliable delivery even where best effort was recorded.
    """
    best_effort = any(profile.reliability is QosReliability.BEST_EFFORT for profile in topic.offered_qos)
    latched = is_latched(topic)
    depth = min(max(_HISTORY_BYTES // max(1, message_size), _SMALLEST_DEPTH), _LARGEST_DEPTH)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        # A late subscriber to a latched topic wants every message, not only the newest ones.
        depth=max(depth, topic.message_count) if latched else depth,
        reliability=ReliabilityPolicy.BEST_EFFORT
        if best_effort and not reliable
        else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
