"""Publish images at a steady rate: one camera, in a process of its own, for benchmarks.

    python -m hyperpose_ros.benchmark.image_stream --rate 30 --width 640 --height 480

Each image is stamped with the system clock just before it is published. After a late image the next one keeps
its distance: nothing is made up for. Ends after `--count` images, or at a signal. With `--commanded`, each
line of standard input is a number of images to send, answered by "sent" on standard output.
"""

from __future__ import annotations

import argparse
import array
import signal
import sys
import threading
import time
from types import FrameType

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.images import RgbImage
from hyperpose_ros.common.conversions import rgb_to_image

SENT = "sent"

_JPEG_QUALITY = 90
_GRAIN = 4.0  # standard deviation in grey levels, about a camera's: without it, JPEGs come out too small
_FRAME = "camera_optical_frame"
_LAST_ON_THE_WAY_S = 1.0


def main() -> int:
    """Publish until all images are sent, or until SIGINT or SIGTERM."""
    options = _command_line().parse_args()
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    stream = ImageStream(rclpy.create_node("camera"), options, ended)
    if options.commanded:
        for line in sys.stdin:
            stream.send(int(line))
            print(SENT, flush=True)
    else:
        stream.send(options.count)
    # What was published last must still be delivered.
    time.sleep(_LAST_ON_THE_WAY_S)
    rclpy.shutdown()
    return 0


class ImageStream:
    """A camera that sends one image again and again."""

    def __init__(self, node: Node, options: argparse.Namespace, ended: threading.Event) -> None:
        """Create the topic; `ended` breaks off what is being sent."""
        is_compressed = options.transport == "compressed"
        topic = f"{options.topic}/compressed" if is_compressed else options.topic
        image = draw_scene(options.height, options.width)
        self._node = node
        self._publisher = node.create_publisher(CompressedImage if is_compressed else Image, topic, 5)
        self._message = _compressed(image) if is_compressed else rgb_to_image(image, 0, _FRAME)
        self._period_s = 1 / options.rate
        self._ended = ended

    def send(self, count: int) -> None:
        """Send so many images, 0 without end, as soon as somebody listens."""
        while self._publisher.get_subscription_count() == 0 and not self._ended.wait(0.05):
            pass
        sent, next_time = 0, time.monotonic()
        while (count == 0 or sent < count) and not self._ended.wait(max(0.0, next_time - time.monotonic())):
            self._message.header.stamp = self._node.get_clock().now().to_msg()
            self._publisher.publish(self._message)
            sent += 1
            next_time = max(next_time + self._period_s, time.monotonic())


def draw_scene(height: int, width: int) -> RgbImage:
    """Draw RGB uint8 [height, width, 3] with large and small shapes and grain, as a photograph has them."""
    generator = np.random.default_rng(0)
    scene = np.zeros((height, width, 3))
    for cells, contrast in ((4, 160.0), (16, 60.0), (64, 25.0)):
        shapes = generator.random((cells * height // width + 1, cells, 3))
        scene += contrast * cv2.resize(shapes, (width, height), interpolation=cv2.INTER_CUBIC)
    scene += generator.normal(0.0, _GRAIN, scene.shape)
    return scene.clip(0, 255).astype(np.uint8)


def _compressed(image: RgbImage) -> CompressedImage:
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.header.frame_id = _FRAME
    message.data = array.array("B", encoded.tobytes())
    return message


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topic", default="image", help="of the raw images, without '/compressed'")
    parser.add_argument("--transport", choices=["raw", "compressed"], default="raw")
    parser.add_argument("--rate", type=float, default=30.0, help="images a second")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--count", type=int, default=0, help="images to send; 0 goes on until a signal")
    parser.add_argument("--commanded", action="store_true", help="take numbers of images from standard input")
    return parser


if __name__ == "__main__":
    sys.exit(main())
