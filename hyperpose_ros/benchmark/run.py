"""Traces the way from image to pose through a localizer, beside the bare network: `hyperpose benchmark node`.

Localizer and camera are processes of their own; the bare network runs in this one, asked at the images' rate.
They take turns, so that what else the machine does meets both alike.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.training.recipe import recipe_folder
from hyperpose_ros.benchmark.image_stream import SENT, draw_scene
from hyperpose_ros.benchmark.traced_localizer import READY
from hyperpose_ros.localizer.worker import STAGES

_ROUNDS = 4
_SETTLING_S = 0.5  # at each round's begin, when caches are cold
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class NodeBenchmarkSettings:
    """What is measured.

    Attributes:
        checkpoint: the network's file.
        width: of the images, pixels.
        height: the same.
        rate: images a second.
        seconds: for which images are streamed, in all.
        transport: raw (rgb8) or compressed (JPEG).
        device: the localizer's parameter, as the following are.
        engine: likewise.
        precision: likewise.
        threads: likewise; 0 takes every core.
        map: a landmark map to verify the poses with meanwhile; None for none.
    """

    checkpoint: Path
    width: int = 640
    height: int = 480
    rate: float = 30.0
    seconds: float = 20.0
    transport: str = "raw"
    device: str = "cpu"
    engine: str = "auto"
    precision: str = "auto"
    threads: int = 0
    map: Path | None = None


@dataclass(frozen=True)
class Duration:
    """How long something took, over many images.

    Attributes:
        median_ms: median in milliseconds.
        p95_ms: 95th percentile in milliseconds.
    """

    median_ms: float
    p95_ms: float

    @classmethod
    def of(cls, durations_ns: list[int]) -> Duration:
        """Summarise durations in nanoseconds."""
        median, p95 = (float(value) / 1e6 for value in np.percentile(durations_ns, [50, 95]))
        return cls(median, p95)


@dataclass(frozen=True)
class NodeBenchmark:
    """What was measured.

    Attributes:
        settings: of the run.
        network_alone: the bare network, in turns with the node.
        stages: of the node, by name: transport (from just before publishing to the subscription's callback),
            the worker's stages, total (all of them but transport) and age (at the pose's publication).
        rate_hz: poses a second while images came.
        sent: images that the camera published.
        frames: what became of them, by outcome; `dropped` and the like by cause.
        ready_s: from the start of the localizer's process to its being ready for images.
        first_pose_s: from there to its first pose's publication.
    """

    settings: NodeBenchmarkSettings
    network_alone: Duration
    stages: Mapping[str, Duration]
    rate_hz: float
    sent: int
    frames: Mapping[str, int | Mapping[str, int]]
    ready_s: float
    first_pose_s: float

    @property
    def added_ms(self) -> float:
        """What the node adds to the bare network between receipt and publication, medians, milliseconds."""
        return self.stages["total"].median_ms - self.network_alone.median_ms

    @property
    def age_ratio(self) -> float:
        """The 95th percentile of the age at publication over its median."""
        return self.stages["age"].p95_ms / self.stages["age"].median_ms


def run_node_benchmark(settings: NodeBenchmarkSettings) -> NodeBenchmark:
    """Measure; takes about twice `settings.seconds` and the localizer's start.

    Raises:
        HyperPoseError: the localizer or the camera did not start (why is on standard error), or no pose came.
    """
    environment = _environment()
    bare = _BareNetwork(settings)
    count = max(1, round(settings.rate * settings.seconds / _ROUNDS))
    started_ns = time.monotonic_ns()
    with (
        _process(
            environment, "hyperpose_ros.benchmark.traced_localizer", *_localizer_arguments(settings)
        ) as localizer,
        _process(environment, "hyperpose_ros.benchmark.image_stream", *_camera_arguments(settings)) as camera,
    ):
        _await_line(localizer, READY, "the localizer")
        ready_ns = time.monotonic_ns()
        rounds = []
        for _ in range(_ROUNDS):
            rounds.append(time.monotonic_ns())
            _command(camera, count)
            bare.run(count)
        localizer.send_signal(signal.SIGINT)
        document = json.loads(_await_line(localizer, "{", "the localizer"))
    frames = document["frames"]
    if not frames:
        raise HyperPoseError("no pose came: the localizer's log above says why, if anything reached it")
    settled = [frame for frame in frames if _is_settled(frame["published"], rounds)] or frames
    return NodeBenchmark(
        settings=settings,
        network_alone=Duration.of(bare.durations_ns),
        stages=_stages(settled),
        rate_hz=_rate_hz([frame["published"] for frame in frames], rounds),
        sent=count * _ROUNDS,
        frames=document["counts"],
        ready_s=(ready_ns - started_ns) / 1e9,
        first_pose_s=(frames[0]["published"] - started_ns) / 1e9,
    )


class _BareNetwork:
    """The network without a node around it, asked about one image again and again."""

    def __init__(self, settings: NodeBenchmarkSettings) -> None:
        self._estimator = PoseEstimator.load(
            settings.checkpoint,
            settings.device,
            engine=settings.engine,
            precision=settings.precision,
            threads=settings.threads,
        )
        self._estimator.warm_up(settings.height, settings.width)
        self._input = self._estimator.preprocess(draw_scene(settings.height, settings.width))[None]
        self._period_s = 1 / settings.rate
        self.durations_ns: list[int] = []

    def run(self, count: int) -> None:
        """Ask so many times, at the images' rate."""
        durations_ns = []
        next_time = time.monotonic()
        for _ in range(count):
            time.sleep(max(0.0, next_time - time.monotonic()))
            next_time = max(next_time + self._period_s, time.monotonic())
            begin_ns = time.monotonic_ns()
            self._estimator.engine(self._input)
            durations_ns.append(time.monotonic_ns() - begin_ns)
        self.durations_ns += durations_ns[min(round(_SETTLING_S / self._period_s), count - 1) :]


def _stages(frames: list[dict[str, int]]) -> dict[str, Duration]:
    traced = [{"transport": frame["age"] - frame["total"], **frame} for frame in frames]
    return {
        stage: Duration.of([frame[stage] for frame in traced])
        for stage in ("transport", *STAGES, "total", "age")
    }


def _rate_hz(published_ns: list[int], rounds_ns: list[int]) -> float:
    """Return poses a second, counted within the rounds that begin at the given times."""
    poses, elapsed_ns = 0, 0
    for begin_ns, end_ns in zip(rounds_ns, [*rounds_ns[1:], sys.maxsize], strict=True):
        inside = [instant for instant in published_ns if begin_ns <= instant < end_ns]
        if len(inside) > 1:
            poses += len(inside) - 1
            elapsed_ns += inside[-1] - inside[0]
    return poses * 1e9 / elapsed_ns if elapsed_ns else 0.0


def _is_settled(published_ns: int, rounds_ns: list[int]) -> bool:
    begin_ns = max((instant for instant in rounds_ns if instant <= published_ns), default=published_ns)
    return published_ns - begin_ns >= _SETTLING_S * 1e9


def _localizer_arguments(settings: NodeBenchmarkSettings) -> list[str]:
    parameters = {
        "checkpoint": settings.checkpoint,
        "device": settings.device,
        "engine": settings.engine,
        "precision": settings.precision,
        "threads": settings.threads,
        "image_transport": settings.transport,
        # Quoted: YAML, which parameters are read as, takes a bare off for false.
        "refinement": '"off"' if settings.map is None else "verify",
    }
    if settings.map is not None:
        parameters["map"] = settings.map
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return ["--ros-args", "--log-level", "warn", *words]


def _camera_arguments(settings: NodeBenchmarkSettings) -> list[str]:
    size = ["--width", str(settings.width), "--height", str(settings.height)]
    return ["--commanded", "--transport", settings.transport, "--rate", str(settings.rate), *size]


def _environment() -> dict[str, str]:
    """Return the environment of nodes that share a machine, in a ROS domain of their own."""
    defaults = {
        "OMP_WAIT_POLICY": "passive",
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(os.getpid() % 100 + 1),
        # As the launch files do.
        "FASTDDS_DEFAULT_PROFILES_FILE": str(recipe_folder().parent / "fastdds_large_images.xml"),
    }
    return {**defaults, **os.environ}


@contextmanager
def _process(environment: Mapping[str, str], module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of the package's programs until the block ends."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        if process.stdin is not None:
            process.stdin.close()  # which ends a camera that waits for a command
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(camera: subprocess.Popen[str], count: int) -> None:
    """Have the camera send so many images, and wait until it has."""
    assert camera.stdin is not None
    print(count, file=camera.stdin, flush=True)
    _await_line(camera, SENT, "the camera")


def _await_line(process: subprocess.Popen[str], beginning: str, who: str) -> str:
    """Return the next line of a process's output that begins as given.

    Raises:
        HyperPoseError: it has ended without.
    """
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return line
    raise HyperPoseError(f"{who} ended with exit code {process.wait()}: its log above says why")
