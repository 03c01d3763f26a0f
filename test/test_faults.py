"""A thousand faulty messages among good ones, thrown at real localizers: none is lost, none does harm."""

from __future__ import annotations

import array
import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as FilePath

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from fault_messages import Fault, compressed_faults, raw_faults  # noqa: E402
from localizer_helpers import (  # noqa: E402
    SECOND,
    Conversation,
    assert_adds_up,
    assert_same_pose,
    message_of,
)
from rclpy.qos import QoSProfile, QoSReliabilityPolicy  # noqa: E402
from ros_helpers import TestPeer, wait_until  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint  # noqa: E402
from hyperpose_core.images import Preprocessing, RgbImage  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402
from hyperpose_ros.common.conversions import stamp_from_nanoseconds  # noqa: E402

SEED = 20240527
# Fewer than the subscription's queue holds, so that each of them is received.
BURST = 4
EVERYTHING = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
MOST_GROWTH_MB = 64.0

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 7)


def memory_mb(process_id: int, entry: str) -> float:
    """VmRSS, what a process holds now, or VmHWM, the most it ever held."""
    status = FilePath(f"/proc/{process_id}/status").read_text()
    found = re.search(rf"^{entry}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) / 1024


def raw_message(image: RgbImage, stamp_ns: int) -> Image:
    return message_of(image, stamp_ns)


def png_message(image: RgbImage, stamp_ns: int) -> CompressedImage:
    data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    message = CompressedImage(format="png", data=array.array("B", data))
    message.header.stamp = stamp_from_nanoseconds(stamp_ns)
    message.header.frame_id = "camera_optical_frame"
    return message


@pytest.mark.parametrize(
    ("name", "message_type", "make", "faults"),
    [
        ("raw", Image, raw_message, raw_faults(600, SEED)),
        ("compressed", CompressedImage, png_message, compressed_faults(400, SEED)),
    ],
    ids=["raw", "compressed"],
)
def test_faulty_messages_are_counted_and_every_good_image_is_answered(
    start: Callable[..., Conversation],
    peer: TestPeer,
    tiny_checkpoint: FilePath,
    name: str,
    message_type: type,
    make: Callable[[RgbImage, int], Image | CompressedImage],
    faults: Sequence[Fault],
) -> None:
    robot = start(
        f"{name}_robot",
        f"checkpoint:={tiny_checkpoint}",
        f"image_transport:={name}",
        "threads:=1",
        "path_length:=50",
        "region_margin:=0.0",
        remaps=(f"image:=/{name}_camera",),
    )
    topic = f"/{name}_camera" if message_type is Image else f"/{name}_camera/compressed"
    camera = peer.publisher(message_type, topic, EVERYTHING)
    offline = PoseEstimator.load(tiny_checkpoint, "cpu")
    images = [draw_image(seed) for seed in range(7)]
    estimates = offline.estimate(images)
    robot.ask(camera, make(images[0], next(stamps)))
    # An image that was asked for twice may still be on its way; this one comes behind it.
    camera.publish(make(images[0], last_ns := next(stamps)))
    robot.answer(last_ns)
    seen = len(robot.diagnostics)
    wait_until(lambda: len(robot.diagnostics) > seen + 1, "diagnostics that know of it")
    before, sent = robot.counted("received"), 0
    held_mb = memory_mb(robot.process.process.pid, "VmRSS")

    for number, first in enumerate(range(0, len(faults), BURST)):
        for fault in faults[first : first + BURST]:
            camera.publish(fault.message)
        stamp_ns, place = next(stamps), number % len(images)
        camera.publish(make(images[place], stamp_ns))
        assert_same_pose(robot.answer(stamp_ns), estimates[place])
        sent += len(faults[first : first + BURST]) + 1

    robot.wait_for_count("received", before + sent)
    wait_until(lambda: robot.counted("in_flight") == 0, "nothing to be in flight")
    values = robot.values()
    assert int(values["received"]) == before + sent
    assert_adds_up(values)
    for cause, expected in Counter(fault.cause for fault in faults if fault.cause).items():
        counted = int(values[f"refused.{cause}"])
        # Flipped bits may look like any of these faults.
        assert counted >= expected if message_type is CompressedImage else counted == expected, cause
    assert robot.process.process.poll() is None
    assert "Traceback" not in robot.process.output
    grown_mb = memory_mb(robot.process.process.pid, "VmRSS") - held_mb
    assert grown_mb < MOST_GROWTH_MB, f"{grown_mb:.0f} MB more than before"
    if message_type is Image:
        peak_mb = memory_mb(robot.process.process.pid, "VmHWM") - held_mb
        assert peak_mb < MOST_GROWTH_MB, f"{peak_mb:.0f} MB more at its peak"


def test_images_that_would_fill_memory_are_refused_before_they_do(
    start: Callable[..., Conversation], peer: TestPeer, tiny_checkpoint: FilePath, tmp_path: FilePath
) -> None:
    """1x20,000 pixels become 256x5,120,000 where the shorter side is resized to 256."""
    path = tmp_path / "usual preprocessing.safetensors"
    save_checkpoint(path, replace(load_checkpoint(tiny_checkpoint), preprocessing=Preprocessing(256, 224)))
    for name, message_type, suffix in (("raw", Image, ""), ("compressed", CompressedImage, "/compressed")):
        robot = start(
            f"{name}_narrow",
            f"checkpoint:={path}",
            f"image_transport:={name}",
            "threads:=1",
            remaps=(f"image:=/{name}_narrow",),
        )
        camera = peer.publisher(message_type, f"/{name}_narrow{suffix}", EVERYTHING)
        make = raw_message if message_type is Image else png_message
        robot.ask(camera, make(draw_image(1), next(stamps)))
        held_mb = memory_mb(robot.process.process.pid, "VmRSS")
        for refused, (height, width) in enumerate(((1, 20_000), (20_000, 1)), start=1):
            camera.publish(make(np.zeros((height, width, 3), np.uint8), next(stamps)))
            robot.wait_for_count("refused.too_large", refused)  # else the next one supersedes it
        camera.publish(make(draw_image(2), stamp_ns := next(stamps)))
        robot.answer(stamp_ns)
        grown_mb = memory_mb(robot.process.process.pid, "VmHWM") - held_mb
        assert grown_mb < MOST_GROWTH_MB, f"{name}: {grown_mb:.0f} MB more at its peak"


def test_the_faults_are_the_same_every_time_and_of_every_kind() -> None:
    for make in (raw_faults, compressed_faults):
        first, second = make(200, 7), make(200, 7)
        assert all(one.message == other.message for one, other in zip(first, second, strict=True))
    causes = Counter(fault.cause for fault in [*raw_faults(600, SEED), *compressed_faults(400, SEED)])
    assert min(causes.values()) > 10
    assert set(causes) >= {
        "unknown_encoding",
        "too_large",
        "empty",
        "wrong_step",
        "wrong_length",
        "undecodable",
    }
