"""Publish random images at a steady rate until a signal: one camera, in a process of its own.

    python benchmarks/image_stream.py --rate 30 --width 640 --height 480

Each image is stamped with the system clock just before it is published. After a late image the next one keeps
its distance: nothing is made up for.
"""

from __future__ import annotations

import argparse
import array
import os
import signal
import threading
import time
from types import FrameType


def main() -> None:
    """Publish until SIGINT or SIGTERM."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import Image

    options = _command_line().parse_args()
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, options.topic, 5)
    message = Image(height=options.height, width=options.width, encoding="rgb8", step=3 * options.width)
    message.header.frame_id = "camera_optical_frame"
    message.data = array.array("B", os.urandom(message.step * message.height))
    while publisher.get_subscription_count() == 0 and not ended.wait(0.05):
        pass
    next_time = time.monotonic()
    while not ended.wait(max(0.0, next_time - time.monotonic())):
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
        next_time = max(next_time + 1 / options.rate, time.monotonic())
    # What was published last must still be delivered.
    time.sleep(1.0)
    node.destroy_node()
    rclpy.shutdown()


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--topic", default="image")
    parser.add_argument("--rate", type=float, default=30.0, help="images a second")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    return parser


if __name__ == "__main__":
    main()
