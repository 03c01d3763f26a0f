"""The viewer: a node that shows what the localizer does where RViz is not installed.

topics -> Scene (Rerun) -> a window, a web page or a file.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.images import RgbImage
from hyperpose_ros.common.conversions import (
    BadImageError,
    compressed_image_to_rgb,
    image_to_rgb,
    pose_from_message,
    stamp_to_nanoseconds,
)
from hyperpose_ros.common.process import end_process, run_node
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings
from hyperpose_ros.images.subscription import ImageSubscription
from hyperpose_ros.parameters.declaration import declarations
from hyperpose_ros.parameters.on_node import NodeParameters
from hyperpose_ros.parameters.viewer import ViewerParameters
from hyperpose_ros.viewer.errors import ErrorMatcher

NODE_NAME = "viewer"

_NANOSECONDS = 1e9
_QUEUE = QoSProfile(depth=100)
# A picture to look at, not to measure in: a tenth of the bytes of the raw image.
_LONGEST_SIDE = 640
_JPEG_QUALITY = 80
_LEVELS = {DiagnosticStatus.OK: "INFO", DiagnosticStatus.WARN: "WARN"}

_DESCRIPTION = """\
Show what a localizer does, live or into a file, with Rerun (pip install rerun-sdk): the image, the estimated
and the true camera in the map, their paths, the errors over time, and whether the poses are to be trusted.

topics (remap them with --ros-args -r image:=/camera/image_raw):
  image, image/compressed   sensor_msgs/Image or sensor_msgs/CompressedImage
  localizer/pose            geometry_msgs/PoseStamped: estimates
  localizer/status          diagnostic_msgs/DiagnosticArray: whether they are to be trusted, and why not
  ground_truth/pose         geometry_msgs/PoseStamped, or nav_msgs/Odometry: true poses, if there are any
"""

_EXAMPLE = """\
examples:
  viewer --ros-args -r image:=/camera/image_raw
  viewer --ros-args -r image:=/camera/image_raw -p web:=true
  viewer --ros-args -r image:=/camera/image_raw -p record:=run.rrd
"""


class Viewer(Node):
    """Hands what it hears on to a scene in Rerun."""

    def __init__(self) -> None:
        """Declare the parameters.

        Raises:
            HyperPoseError: a parameter has an impossible value, Rerun is missing, or it cannot be opened.
        """
        super().__init__(NODE_NAME)
        self.parameters = NodeParameters(self, ViewerParameters).values
        if importlib.util.find_spec("rerun") is None:
            raise HyperPoseError("Rerun, which draws, is missing: pip install rerun-sdk")
        from hyperpose_ros.viewer.scene import Scene

        self._scene = Scene(self.parameters)
        self._warnings = ThrottledWarnings(self.get_logger())
        self._errors = ErrorMatcher(round(self.parameters.match_tolerance * _NANOSECONDS))
        self._image_period_ns = 0
        if self.parameters.max_image_rate:
            self._image_period_ns = round(_NANOSECONDS / self.parameters.max_image_rate)
        self._last_image_ns: int | None = None
        self._last_statuses: dict[str, tuple[bytes, str]] = {}

    @property
    def node(self) -> Node:
        """What the executor spins."""
        return self

    def start(self) -> bool:
        """Subscribe."""
        odometry = self.parameters.ground_truth_type == "odometry"
        self._subscribe(PoseStamped, "localizer/pose", self._on_estimate)
        self._subscribe(DiagnosticArray, "localizer/status", self._on_status)
        self._subscribe(Odometry if odometry else PoseStamped, "ground_truth/pose", self._on_truth)
        self._images = ImageSubscription(
            self, "image", self.parameters.image_transport, "auto", self._on_image
        )
        self.get_logger().info(self._scene.target)
        return True

    def release(self) -> None:
        """Hand on or write what is still in memory."""
        self._scene.close()

    def _subscribe(self, message_type: type, topic: str, callback: Callable[[Any], None]) -> None:
        overridable = QoSOverridingOptions.with_default_policies()
        self.create_subscription(message_type, topic, callback, _QUEUE, qos_overriding_options=overridable)

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp_ns = stamp_to_nanoseconds(message.header.stamp)
        if self._last_image_ns is not None and 0 <= stamp_ns - self._last_image_ns < self._image_period_ns:
            return
        self._last_image_ns = stamp_ns
        to_rgb = compressed_image_to_rgb if isinstance(message, CompressedImage) else image_to_rgb
        try:
            image = to_rgb(message)
        except BadImageError as error:
            self._warnings.warn(error.cause, f"an image is left out: {error}")
            return
        self._scene.add_image(stamp_ns, *_small_jpeg(image))

    def _on_estimate(self, message: PoseStamped) -> None:
        pose = self._pose(message.pose, "an estimate")
        if pose is None:
            return
        stamp_ns = stamp_to_nanoseconds(message.header.stamp)
        self._scene.add_estimate(stamp_ns, pose)
        error = self._errors.add_estimate(stamp_ns, pose)
        if error is not None:
            self._scene.add_error(error)

    def _on_truth(self, message: PoseStamped | Odometry) -> None:
        pose = self._pose(message.pose.pose if isinstance(message, Odometry) else message.pose, "a true pose")
        if pose is None:
            return
        stamp_ns = stamp_to_nanoseconds(message.header.stamp)
        self._scene.add_truth(stamp_ns, pose)
        for error in self._errors.add_truth(stamp_ns, pose):
            self._scene.add_error(error)

    def _on_status(self, message: DiagnosticArray) -> None:
        for status in message.status:
            # What is said of every image is read only when it changes.
            if (status.level, status.message) != self._last_statuses.get(status.name):
                self._last_statuses[status.name] = (status.level, status.message)
                stamp_ns = stamp_to_nanoseconds(message.header.stamp)
                self._scene.add_text(stamp_ns, status.message, _LEVELS.get(status.level, "ERROR"))

    def _pose(self, message: PoseMessage, name: str) -> Pose | None:
        try:
            return pose_from_message(message)
        except ValueError as error:
            self._warnings.warn(name, f"{name} is left out: {error}")
            return None


def main() -> NoReturn:
    """Run the viewer until a signal ends it; the process ends with the exit code of `run_node`."""
    end_process(run_node(_command_line(), Viewer, sys.argv))


def _small_jpeg(image: RgbImage) -> tuple[bytes, tuple[int, int]]:
    """Return an image as a JPEG file that is quick to send, with its (height, width)."""
    scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)
    return encoded.tobytes(), (small.shape[0], small.shape[1])


def _command_line() -> argparse.ArgumentParser:
    every = declarations(ViewerParameters)
    lines = [f"  {item.name} [{item.default}]\n      {item.description}" for item in every]
    return argparse.ArgumentParser(
        prog=NODE_NAME,
        description=_DESCRIPTION,
        epilog="\n".join(["parameters (--ros-args -p name:=value):", *lines, "", _EXAMPLE]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    main()
