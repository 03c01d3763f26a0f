"""Run the localizer for minutes on a steady stream of images and watch its memory, latency and counters.

    python benchmarks/soak.py --minutes 10                  # or: make soak MINUTES=10
    python benchmarks/soak.py --minutes 2 --rate 60         # or: make overload

Camera, localizer and observer are three processes. A row a minute; then what has to hold:

- resident memory grows by less than 1% after minute 2;
- latency does not drift: the last minute's median age is at most 10% above minute 2's;
- every frame is accounted for: received = published + withheld + refused + dropped;
- nothing queues up: 95% of the poses are younger, when published, than two inference times and 50 ms.

Exit code 1, with the reasons, where something does not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

_PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds_large_images.xml"
_READY_S = 60.0
_SETTLED_AFTER_MINUTES = 2
_OUTCOMES = ("published", "withheld", "refused", "dropped", "in_flight")


@dataclass
class Minute:
    """What one minute showed.

    Attributes:
        resident_mb: the localizer's resident memory at its end, 10^6 bytes.
        ages_ms: from each image's stamp to its pose's publication, milliseconds.
    """

    resident_mb: float = 0.0
    ages_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """The median age."""
        return statistics.median(self.ages_ms)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile of the ages."""
        return statistics.quantiles(self.ages_ms, n=20)[-1]


class Observer:
    """Hears the localizer's poses and diagnostics in a thread."""

    def __init__(self) -> None:
        """Join the domain of the environment."""
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PoseStamped

        rclpy.init()
        self.minute = Minute()
        self.values: dict[str, str] = {}
        self._node = rclpy.create_node("soak_observer")
        self._node.create_subscription(PoseStamped, "/localizer/pose", self._on_pose, 1000)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        threading.Thread(target=rclpy.spin, args=(self._node,), daemon=True).start()

    def begin_minute(self) -> Minute:
        """Return the minute that ends and begin the next."""
        ended, self.minute = self.minute, Minute()
        return ended

    def _on_pose(self, message: object) -> None:
        stamp = message.header.stamp  # type: ignore[attr-defined]
        age_ns = time.time_ns() - stamp.sec * 10**9 - stamp.nanosec
        self.minute.ages_ms.append(age_ns / 1e6)

    def _on_diagnostics(self, message: object) -> None:
        for status in message.status:  # type: ignore[attr-defined]
            if status.name == "localizer: localization":
                self.values = {entry.key: entry.value for entry in status.values}


def main() -> int:
    """Run, print and check."""
    options = _command_line().parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # As the launch files do.
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(_PROFILE))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint or _untrained_network(Path(folder), options.model)
        localizer = _start("-m", "hyperpose_ros.localizer.node", *_localizer_arguments(checkpoint))
        camera = None
        try:
            observer = Observer()
            _wait_for(lambda: observer.values.get("state") == "active", "the localizer to become active")
            camera = _start(
                "-m", "hyperpose_ros.benchmark.image_stream", "--topic", "/image", *_stream(options)
            )
            _wait_for(lambda: observer.minute.ages_ms, "the first pose")
            minutes = _watch(observer, localizer.pid, options.minutes)
            _end(camera)
            time.sleep(3.0)
            values = dict(observer.values)
        finally:
            for process in filter(None, (camera, localizer)):
                _end(process)
    _print_table(options, minutes, values)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "rate": options.rate,
            "minutes": [asdict(minute) for minute in minutes],
            "counters": values,
        }
        options.output.write_text(json.dumps(document), encoding="utf-8")
    problems = problems_of(minutes, values)
    print("\n".join(f"FAILED: {problem}" for problem in problems) or "all of it holds")
    return 1 if problems else 0


def problems_of(minutes: list[Minute], values: dict[str, str]) -> list[str]:
    """Return what does not hold, in words.

    Args:
        minutes: all that were watched, the oldest first.
        values: the diagnostics' values after the last image.
    """
    problems = []
    settled = sum(int(values[key]) for key in _OUTCOMES)
    if int(values["received"]) != settled:
        problems.append(f"{values['received']} frames received, {settled} accounted for")
    bound_ms = 2 * float(values["latency.network.median_ms"]) + 50
    if not all(minute.ages_ms for minute in minutes):
        return [*problems, "no pose for a whole minute"]
    worst_ms = max(minute.p95_ms for minute in minutes)
    if worst_ms > bound_ms:
        problems.append(f"95% of the poses' ages within {worst_ms:.1f} ms, expected {bound_ms:.1f} ms")
    if len(minutes) > _SETTLED_AFTER_MINUTES:
        settled_minute, last = minutes[_SETTLED_AFTER_MINUTES - 1], minutes[-1]
        growth = last.resident_mb / settled_minute.resident_mb - 1
        if growth >= 0.01:
            problems.append(f"resident memory has grown by {growth:.2%} since minute 2")
        if last.median_ms > 1.1 * settled_minute.median_ms:
            problems.append(
                f"median age {last.median_ms:.1f} ms, {settled_minute.median_ms:.1f} ms in minute 2"
            )
    return problems


def _watch(observer: Observer, pid: int, minutes: int) -> list[Minute]:
    watched = []
    for _ in tqdm(range(minutes), unit="minute", disable=None):
        time.sleep(60.0)
        minute = observer.begin_minute()
        minute.resident_mb = _resident_mb(pid)
        watched.append(minute)
    return watched


def _print_table(options: argparse.Namespace, minutes: list[Minute], values: dict[str, str]) -> None:
    print(f"{options.width}x{options.height} rgb8 at {options.rate:g} Hz, {os.cpu_count()} cores")
    print(f"{'minute':>6} {'poses/s':>8} {'age median':>11} {'age 95%':>9} {'resident':>11}")
    for number, minute in enumerate(minutes, start=1):
        rate = len(minute.ages_ms) / 60
        ages = (
            f"{minute.median_ms:8.1f} ms {minute.p95_ms:6.1f} ms" if minute.ages_ms else "nothing".rjust(21)
        )
        print(f"{number:6d} {rate:8.1f} {ages} {minute.resident_mb:8.1f} MB")
    counters = {key: value for key, value in values.items() if key.split(".")[0] in ("received", *_OUTCOMES)}
    print(", ".join(f"{key} {value}" for key, value in counters.items()))
    latencies = [key for key in values if key.startswith("latency.")]
    print(", ".join(f"{key.removeprefix('latency.')} {values[key]}" for key in latencies))


def _untrained_network(folder: Path, model: str) -> Path:
    """Write a checkpoint of a network with random weights, which takes as long as a trained one."""
    from hyperpose_core.checkpoint.file import Checkpoint, save_checkpoint
    from hyperpose_core.images import Preprocessing
    from hyperpose_core.models.registry import build_model

    options = {"backbone": "efficientnet_lite0"}
    network = build_model(model, options)
    path = folder / "untrained.safetensors"
    preprocessing = Preprocessing(resize=(168, 224), crop=None)
    save_checkpoint(path, Checkpoint(model, options, network.state_dict(), preprocessing))
    return path


def _localizer_arguments(checkpoint: Path) -> list[str]:
    parameters = [f"checkpoint:={checkpoint}", "device:=cpu", "image_reliability:=reliable"]
    return ["--ros-args", *(word for parameter in parameters for word in ("-p", parameter))]


def _stream(options: argparse.Namespace) -> list[str]:
    return ["--rate", str(options.rate), "--width", str(options.width), "--height", str(options.height)]


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *arguments])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


def _wait_for(condition: object, what: str) -> None:
    deadline = time.monotonic() + _READY_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {_READY_S:.0f} s for {what}")
        time.sleep(0.1)


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--rate", type=float, default=30.0, help="images a second")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument(
        "--model", default="hyperpose", help="network with random weights, without --checkpoint"
    )
    parser.add_argument("--checkpoint", type=Path, help="trained network")
    parser.add_argument("--domain", type=int, default=97, help="ROS domain that nobody else uses")
    parser.add_argument("--output", type=Path, help="JSON file for all that was measured")
    return parser


if __name__ == "__main__":
    sys.exit(main())
