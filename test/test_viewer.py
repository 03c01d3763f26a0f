"""The viewer: what it draws of a run, read back from its recordings, and how it says that it cannot draw."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import draw_image
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from domains import claimed_domain
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.publisher import Publisher
from ros_helpers import NodeProcess, TestPeer, ros_environment, send_until, wait_until
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion
from hyperpose_ros.common.conversions import (
    pose_to_message,
    rgb_to_image,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
)
from hyperpose_ros.viewer.errors import ErrorMatcher

pytest.importorskip("rerun", reason="rerun-sdk is missing: pip install rerun-sdk")

try:
    from rerun.chunk import RrdReader
except ImportError:  # before rerun 0.41
    from rerun.experimental import RrdReader

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND + 123_456_789
Start = Callable[..., NodeProcess]


@dataclass(frozen=True)
class Entry:
    """What one component of one entity was at a stamp."""

    stamp_ns: int
    value: object


class Recorded:
    """A recording, also one that is still being written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self, entity: str, component: str) -> list[Entry]:
        """Every value of a component in the order in which it was logged."""
        found = []
        for chunk in RrdReader(self._path).stream():
            if chunk.entity_path != f"/{entity}" or chunk.is_static:
                continue
            batch = chunk.to_record_batch()
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name.endswith(f":{component}"):
                    # As integers: a datetime has no nanoseconds.
                    times = (batch.column(time).cast("int64").to_pylist() for time in ("log_time", "stamp"))
                    found += [row for row in zip(*times, column.to_pylist(), strict=True) if row[2]]
        found.sort(key=lambda row: row[0])
        return [Entry(stamp_ns, value) for _, stamp_ns, value in found]

    def values(self, entity: str, component: str) -> list[object]:
        """Every value of a component, without its stamp."""
        return [entry.value for entry in self.entries(entity, component)]

    def see(self, publisher: Publisher, message: Any, entity: str, component: str) -> None:
        """Publish a message until an entity has a component with the message's stamp."""
        stamp_ns = stamp_to_nanoseconds(message.header.stamp)

        def is_there() -> bool:
            # The viewer may be in the middle of writing.
            with contextlib.suppress(RuntimeError):
                return any(entry.stamp_ns == stamp_ns for entry in self.entries(entity, component))
            return False

        send_until(publisher, message, is_there, f"{component} of {entity} at {stamp_ns}")


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with claimed_domain() as domain_id:
        yield domain_id


@pytest.fixture
def peer(domain: int) -> Iterator[TestPeer]:
    with TestPeer(domain) as created:
        yield created


@pytest.fixture
def start(domain: int, tmp_path: Path) -> Iterator[Start]:
    """Start a viewer with parameters."""
    with contextlib.ExitStack() as processes:

        def begin(**parameters: object) -> NodeProcess:
            words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
            arguments = ["--ros-args", "-r", "image:=/camera/image_raw", *words]
            screenless = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
            log = tmp_path / "viewer.log"
            process = NodeProcess("hyperpose_ros.viewer.node", arguments, domain, log, **screenless)
            return processes.enter_context(process)

        yield begin


def pose(x: float, yaw: float = 0.0) -> Pose:
    return Pose(np.array([x, 2.0, 3.0]), rotation_vector_to_quaternion([0.0, 0.0, yaw]))


def stamped(stamp_ns: int, place: Pose) -> PoseStamped:
    message = PoseStamped(pose=pose_to_message(place))
    message.header.stamp = stamp_from_nanoseconds(stamp_ns)
    return message


def test_a_recording_holds_image_poses_paths_errors_and_status(
    peer: TestPeer, start: Start, tmp_path: Path
) -> None:
    recorded = Recorded(tmp_path / "new" / "run.rrd")
    viewer = start(record=tmp_path / "new" / "run.rrd", max_image_rate=0.0)
    viewer.wait_for_output("recording into")
    camera = peer.publisher(Image, "/camera/image_raw")
    estimates = peer.publisher(PoseStamped, "/localizer/pose")
    truths = peer.publisher(PoseStamped, "/ground_truth/pose")
    statuses = peer.publisher(DiagnosticArray, "/localizer/status")

    image = draw_image(1, height=960, width=1280)
    recorded.see(camera, rgb_to_image(image, START_NS, "camera"), "world/estimate/image", "blob")
    for index in range(3):
        stamp_ns = START_NS + index * SECOND
        recorded.see(estimates, stamped(stamp_ns, pose(index, 0.2)), "world/estimate", "translation")
        recorded.see(truths, stamped(stamp_ns, pose(index + 0.25)), "world/ground_truth", "translation")
    status = DiagnosticArray(
        status=[DiagnosticStatus(level=DiagnosticStatus.WARN, message="not trusted: far")]
    )
    status.header.stamp = stamp_from_nanoseconds(START_NS)
    recorded.see(statuses, status, "status", "text")
    assert viewer.stop() == 0, viewer.output

    (blob, *_) = recorded.values("world/estimate/image", "blob")
    shown = cv2.imdecode(np.array(blob, dtype=np.uint8).reshape(-1), cv2.IMREAD_COLOR_RGB)
    expected = cv2.resize(image, (640, 480), interpolation=cv2.INTER_AREA)
    assert np.abs(shown.astype(float) - expected).mean() < 8
    assert recorded.values("world/estimate/image", "resolution")[0] == [[640.0, 480.0]]
    places = {entry.stamp_ns: entry.value for entry in recorded.entries("world/estimate", "translation")}
    assert places == {START_NS + index * SECOND: [[float(index), 2.0, 3.0]] for index in range(3)}
    (matrix,) = recorded.values("world/estimate", "mat3x3")[0]
    columns = [[np.cos(0.2), np.sin(0.2), 0], [-np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]]
    np.testing.assert_allclose(np.reshape(matrix, (3, 3)), columns, atol=1e-6)
    (path,) = recorded.values("world/ground_truth_path", "strips")[-1]
    assert sorted({x for x, _, _ in path}) == [0.25, 1.25, 2.25]
    for name, value in (("position_m", 0.25), ("orientation_deg", np.degrees(0.2))):
        errors = recorded.entries(f"error/{name}", "scalars")
        assert {entry.stamp_ns for entry in errors} == set(places)
        np.testing.assert_allclose([entry.value[0] for entry in errors], value, atol=1e-6)
    assert recorded.values("status", "text")[0] == ["not trusted: far"]
    assert recorded.values("status", "level")[0] == ["WARN"]


def test_the_body_is_drawn_against_odometry_and_a_loop_starts_the_path_anew(
    peer: TestPeer, start: Start, tmp_path: Path
) -> None:
    recorded = Recorded(tmp_path / "run.rrd")
    viewer = start(
        record=tmp_path / "run.rrd",
        pose_of="base",
        image_transport="compressed",
        ground_truth_type="odometry",
        match_tolerance=0.05,
    )
    viewer.wait_for_output("recording into")
    camera = peer.publisher(CompressedImage, "/camera/image_raw/compressed")
    estimates = peer.publisher(PoseStamped, "/localizer/pose")
    truths = peer.publisher(Odometry, "/ground_truth/pose")

    broken = CompressedImage(format="jpeg", data=b"\xff\xd8 no image")
    send_until(camera, broken, lambda: "an image is left out" in viewer.output, "a complaint")
    _, png = cv2.imencode(".png", draw_image(2))
    message = CompressedImage(format="png", data=png.tobytes())
    message.header.stamp = stamp_from_nanoseconds(START_NS)
    recorded.see(camera, message, "image", "blob")
    for index, stamp_ns in enumerate((START_NS + SECOND, START_NS)):
        recorded.see(estimates, stamped(stamp_ns, pose(index)), "world/estimate", "vectors")
    truth = Odometry()
    truth.header.stamp = stamp_from_nanoseconds(START_NS + SECOND // 25)
    truth.pose.pose = pose_to_message(pose(1.5))
    send_until(truths, truth, lambda: recorded.entries("error/position_m", "scalars"), "an error")
    assert viewer.stop() == 0, viewer.output

    (path,) = recorded.values("world/estimate_path", "strips")[-1]
    assert {x for x, _, _ in path} == {1.0}
    (error,) = recorded.entries("error/position_m", "scalars")
    assert (error.stamp_ns, error.value) == (START_NS, [0.5])
    assert not recorded.entries("world/estimate/image", "resolution")


def test_a_browser_gets_the_page(start: Start) -> None:
    with socket.socket() as page, socket.socket() as data:
        for listener in (page, data):
            listener.bind(("127.0.0.1", 0))
        web_port, data_port = page.getsockname()[1], data.getsockname()[1]
    viewer = start(web="true", web_port=web_port, data_port=data_port)
    viewer.wait_for_output(f"http://localhost:{web_port}")

    # Whatever proxy the environment names is not for this machine's own pages.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def page_as_served() -> bytes:
        try:
            with opener.open(f"http://127.0.0.1:{web_port}", timeout=10) as answer:
                return bytes(answer.read())
        except urllib.error.URLError:  # the server comes up in a thread of its own
            return b""

    assert b"<html" in wait_until(page_as_served, "the page").lower()
    assert viewer.stop() == 0, viewer.output


def test_without_a_screen_it_says_how_to_look_all_the_same(start: Start) -> None:
    viewer = start()
    assert viewer.wait() == 1
    assert "set web:=true to look from a browser, or record:=FILE.rrd" in viewer.output


def test_a_recording_must_have_the_suffix_that_rerun_opens(start: Start) -> None:
    viewer = start(record="run.bag")
    assert viewer.wait() == 1
    assert "parameter record must name a file that ends in .rrd, not run.bag" in viewer.output


def test_without_rerun_it_says_what_to_install(domain: int) -> None:
    program = "import sys; sys.modules['rerun'] = None; from hyperpose_ros.viewer.node import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ros_environment(domain)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "pip install rerun-sdk" in ended.stdout + ended.stderr


def test_an_error_is_told_once_in_whichever_order_the_poses_come() -> None:
    matcher = ErrorMatcher(tolerance_ns=10)
    assert matcher.add_truth(100, pose(1.0)) == []
    assert matcher.add_truth(108, pose(2.0)) == []
    error = matcher.add_estimate(105, pose(2.5, 0.1))
    assert error is not None
    assert (error.stamp_ns, error.position_m) == (105, 0.5)
    assert error.orientation_deg == pytest.approx(np.degrees(0.1))
    assert matcher.add_estimate(200, pose(5.0)) is None
    assert matcher.add_truth(211, pose(5.0)) == []
    (late,) = matcher.add_truth(209, pose(5.0))
    assert (late.stamp_ns, late.position_m) == (200, 0.0)
    assert matcher.add_truth(201, pose(5.0)) == []
