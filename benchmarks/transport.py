"""Count raw images that arrive between two processes, and how late, with and without the Fast DDS profile.

    python benchmarks/transport.py --width 1280 --height 960 --rate 15 --count 200

One process publishes images and another subscribes, once for each reliability and
transport, one after the other. A row each: how many arrived, how late, and how much sooner than the first.
"""

from __future__ import annotations

import argparse
import array
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds_large_images.xml"
TOPIC = "/transport_benchmark/image"

TRANSPORTS: dict[str, dict[str, str]] = {
    "Fast DDS as it is": {},
    "config/fastdds_large_images.xml": {"FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)},
    "FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA": {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"},
}
_DISCOVERY_S = 2.0
_LAST_ON_THE_WAY_S = 1.0


@dataclass(frozen=True)
class Measurement:
    """What arrived of one stream.

    Attributes:
        transport: the row's name.
        reliability: of both sides.
        sent: images sent.
        arrived: images that arrived.
        median_ms: from just before publishing to the callback; nan where nothing arrived.
        p95_ms: the 95th percentile of that.
    """

    transport: str
    reliability: str
    sent: int
    arrived: int
    median_ms: float
    p95_ms: float


def main() -> int:
    """Measure every transport, or play one side of a measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--rate", type=float, default=15.0, help="images a second")
    parser.add_argument("--count", type=int, default=200, help="images a measurement")
    parser.add_argument("--domain", type=int, default=98, help="ROS domain that nobody else uses")
    parser.add_argument("--side", choices=["publish", "subscribe"], help=argparse.SUPPRESS)
    parser.add_argument("--reliability", choices=["best_effort", "reliable"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "publish":
        return publish(options)
    if options.side == "subscribe":
        return subscribe(options)
    rows = [
        measure(options, transport, reliability)
        for reliability in ("best_effort", "reliable")
        for transport in TRANSPORTS
    ]
    print_table(options, rows)
    return 0


def publish(options: argparse.Namespace) -> int:
    """Send the images, each stamped with the monotonic clock, once somebody listens."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("transport_benchmark_camera")
    publisher = node.create_publisher(Image, TOPIC, _quality(options.reliability))
    message = Image(height=options.height, width=options.width, encoding="rgb8", step=3 * options.width)
    message.data = array.array("B", os.urandom(3 * options.width * options.height))
    while publisher.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(_DISCOVERY_S)
    start = time.monotonic()
    for number in range(options.count):
        time.sleep(max(0.0, start + number / options.rate - time.monotonic()))
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.monotonic_ns(), 10**9)
        publisher.publish(message)
    time.sleep(_LAST_ON_THE_WAY_S)
    return 0


def subscribe(options: argparse.Namespace) -> int:
    """Print the age in milliseconds of every image that arrives, until the input is closed."""
    import threading

    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("transport_benchmark_localizer")

    def note(message: Image) -> None:
        stamp = message.header.stamp
        print((time.monotonic_ns() - stamp.sec * 10**9 - stamp.nanosec) / 1e6, flush=True)

    node.create_subscription(Image, TOPIC, note, _quality(options.reliability))
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)


def measure(options: argparse.Namespace, transport: str, reliability: str) -> Measurement:
    """Run both sides in processes of their own and read what arrived."""
    environment = {**os.environ, **TRANSPORTS[transport], "ROS_DOMAIN_ID": str(options.domain)}
    command = [sys.executable, __file__, "--reliability", reliability]
    command += ["--width", str(options.width), "--height", str(options.height)]
    command += ["--rate", str(options.rate), "--count", str(options.count)]
    listener = subprocess.Popen(
        [*command, "--side", "subscribe"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    subprocess.run([*command, "--side", "publish"], env=environment, check=True)
    printed, _ = listener.communicate("")
    ages = [float(line) for line in printed.split()]
    p95 = statistics.quantiles(ages, n=20)[-1] if len(ages) > 1 else float("nan")
    median = statistics.median(ages) if ages else float("nan")
    return Measurement(transport, reliability, options.count, len(ages), median, p95)


def print_table(options: argparse.Namespace, rows: list[Measurement]) -> None:
    """Print the measurements side by side; the ratios are to the first row of the same reliability."""
    print(f"{options.width}x{options.height} rgb8 at {options.rate:g} Hz, two processes")
    print(f"{'reliability':12} {'transport':40} {'arrived':>10} {'median':>9} {'95%':>9} {'faster':>7}")
    baselines = {row.reliability: row for row in reversed(rows)}
    for row in rows:
        arrived = f"{row.arrived}/{row.sent}"
        line = f"{row.reliability:12} {row.transport:40} {arrived:>10}"
        if row.arrived == 0:
            print(line)
            continue
        ratio = baselines[row.reliability].median_ms / row.median_ms
        faster = "" if math.isnan(ratio) else f"{ratio:6.1f}x"
        print(f"{line} {row.median_ms:6.1f} ms {row.p95_ms:6.1f} ms {faster}")


def _quality(reliability: str) -> object:
    from rclpy.qos import QoSProfile, QoSReliabilityPolicy

    return QoSProfile(depth=5, reliability=QoSReliabilityPolicy[reliability.upper()])


if __name__ == "__main__":
    sys.exit(main())
