"""What a node holds from configuration to cleanup, and what runs between activation and deactivation.

Imports torch, which takes seconds: the node imports this module when it is configured, so that before that it
is already visible, and ends at once when it is told to.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.conversions import (
    BadImageError,
    check_compressed_image,
    check_image,
    stamp_to_nanoseconds,
)
from hyperpose_ros.counters import FrameLedger, LatencyRecorder, Outcome
from hyperpose_ros.inbox import Inbox
from hyperpose_ros.node_parameters import NodeParameters
from hyperpose_ros.publishers import EstimatePublishers
from hyperpose_ros.subscription import ImageSubscription, TopicHealth
from hyperpose_ros.throttled_warnings import ThrottledWarnings
from hyperpose_ros.transforms import TransformPlan
from hyperpose_ros.worker import InferenceThread, Worker


class Session:
    """The loaded network with its inbox, worker and topics.

    Attributes:
        last_image_ns: when the latest message came, or the session was activated; monotonic nanoseconds.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        ledger: FrameLedger,
        latencies: LatencyRecorder,
    ) -> None:
        """Check the parameters, load the checkpoint, warm the network up and create the output topics.

        Raises:
            HyperPoseError: a parameter, the checkpoint or the device is wrong.
        """
        values = parameters.values
        if not values.checkpoint:
            raise HyperPoseError("parameter checkpoint is not set: give the path of a .safetensors file")
        plan = TransformPlan.from_parameters(values)
        self._node = node
        self._parameters = parameters
        self._ledger = ledger
        self._warnings = ThrottledWarnings(node.get_logger())
        self._inbox = Inbox(
            ledger, lambda: round(parameters.values.max_age * 1e9), lambda: node.get_clock().now().nanoseconds
        )
        self._thread = InferenceThread(values.threads)
        try:
            estimator = self._thread.load(Path(values.checkpoint), values.device)
            several = len(estimator.checkpoint.scenes) > 1
            self._publishers = EstimatePublishers(
                node, plan, lambda: parameters.values.path_length, several, self._warnings
            )
        except Exception:
            self._thread.stop()
            raise
        self._worker = Worker(estimator, self._inbox, self._publishers, ledger, latencies, self._warnings)
        self._run: Future[None] | None = None
        self._subscription: ImageSubscription | None = None
        self.last_image_ns = time.monotonic_ns()
        node.get_logger().info(
            f"{values.checkpoint}: {estimator.checkpoint.architecture} on {estimator.device}; "
            f"/tf: {plan.describe()}"
        )

    def activate(self) -> None:
        """Subscribe and begin to work."""
        values = self._parameters.values
        self.last_image_ns = time.monotonic_ns()
        self._inbox.open()
        self._run = self._thread.start(self._worker)
        self._subscription = ImageSubscription(
            self._node, values.image_transport, values.image_reliability, self._on_image
        )

    def deactivate(self) -> None:
        """Unsubscribe, drop the frame that waits, and finish the one that is being worked on."""
        if self._subscription is not None:
            self._subscription.destroy()
            self._subscription = None
        self._inbox.close()
        if self._run is not None:
            self._run.result()
            self._run = None

    def close(self) -> None:
        """Release everything."""
        self.deactivate()
        self._thread.stop()
        self._publishers.destroy()

    def topic_health(self) -> TopicHealth | None:
        """Return how the subscription stands with its publishers; None while there is no subscription."""
        return None if self._subscription is None else self._subscription.health()

    def _on_image(self, message: Image | CompressedImage) -> None:
        received_ns = time.monotonic_ns()
        self.last_image_ns = received_ns
        self._ledger.receive()
        try:
            # Here, where it costs microseconds: a bad message must not push a good frame out of the inbox.
            if isinstance(message, CompressedImage):
                check_compressed_image(message)
            else:
                check_image(message)
        except BadImageError as error:
            self._ledger.settle(Outcome.REFUSED, error.cause)
            self._warnings.warn(error.cause, f"image refused: {error}")
            return
        if not self._inbox.put(message, stamp_to_nanoseconds(message.header.stamp), received_ns):
            self._warnings.warn(
                "time_jump", "the images' stamps went back in time: path and waiting frames forgotten"
            )
