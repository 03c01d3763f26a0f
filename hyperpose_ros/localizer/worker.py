"""The thread that turns waiting frames into published poses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.images import Preprocessing, RgbImage
from hyperpose_core.inference.estimator import (
    PoseEstimate,
    PoseEstimator,
)
from hyperpose_ros.common.conversions import (
    BadImageError,
    compressed_image_to_rgb,
    image_to_rgb,
)
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings
from hyperpose_ros.fusion.locator import Locator
from hyperpose_ros.fusion.validity import (
    Judge,
    Verdict,
)
from hyperpose_ros.images.camera_info import CameraCalibrations
from hyperpose_ros.images.counters import (
    FrameLedger,
    LatencyRecorder,
    Outcome,
)
from hyperpose_ros.images.inbox import (
    Frame,
    Inbox,
)
from hyperpose_ros.localizer.estimator_slot import (
    EstimatorSlot,
    LoadedCheckpoint,
)
from hyperpose_ros.localizer.publishers import EstimatePublishers

WITHHELD_FAILED = "failed"

STAGES = ("queue", "convert", "preprocess", "network", "judge", "publish")
"""The way of a set of frames from its first one's receipt to its pose's publication: what "total" is made of.
queue: in the inbox; convert: decoded and rectified; preprocess: resized and normalised; network: with its
outputs read as poses; judge: placed in the map and judged; publish: transform and poses sent."""


class InferenceThread:
    """One thread for all that torch does, since a pool of CPU threads belongs to the thread that uses it."""

    def __init__(self, threads: int) -> None:
        """Start the thread.

        Args:
            threads: CPU threads of one inference; 0 leaves torch's choice.
        """
        prepare = (lambda: torch.set_num_threads(threads)) if threads > 0 else None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inference", initializer=prepare)

    def load(self, checkpoint: Path, device: str, engine: str, precision: str) -> LoadedCheckpoint:
        """Load a checkpoint and warm the network up; returns when that is done.

        The arguments are those of `LoadedCheckpoint.load`.

        Raises:
            HyperPoseError: one of them is wrong.
        """
        return self._executor.submit(LoadedCheckpoint.load, checkpoint, device, engine, precision).result()

    def start(self, worker: Worker) -> Future[None]:
        """Run a worker until its inbox is closed."""
        return self._executor.submit(worker.run)

    def stop(self) -> None:
        """End the thread once it has nothing more to do."""
        self._executor.shutdown(wait=False)


class Worker:
    """Takes sets of frames from the inbox, estimates their poses and has them published."""

    def __init__(
        self,
        slot: EstimatorSlot,
        inbox: Inbox,
        calibrations: CameraCalibrations | None,
        locator: Locator,
        judge: Judge,
        publishers: EstimatePublishers,
        ledger: FrameLedger,
        latencies: LatencyRecorder,
        warnings: ThrottledWarnings,
    ) -> None:
        """Build a worker that is not running yet.

        Args:
            slot: the network, which may be swapped between two sets.
            inbox: where frames come from.
            calibrations: what makes images what the network knows; None takes them as they are.
            locator: what makes a fix of the network's answers.
            judge: what says whether a fix is to be trusted.
            publishers: where poses go to.
            ledger: where each frame's outcome is counted.
            latencies: where each set's durations are kept.
            warnings: where refusals and failures are told.
        """
        self._slot = slot
        self._loaded = slot.current
        self._inbox = inbox
        self._calibrations = calibrations
        self._locator = locator
        self._judge = judge
        self._publishers = publishers
        self._ledger = ledger
        self._latencies = latencies
        self._warnings = warnings
        self._epoch = 0

    def run(self) -> None:
        """Work until the inbox is closed."""
        while (frame_set := self._inbox.take()) is not None:
            with self._slot.use() as loaded:
                self._begin_epoch(frame_set.epoch, loaded)
                taken_ns = time.monotonic_ns()
                seen = [pair for frame in frame_set.frames if (pair := self._read(frame)) is not None]
                if seen:
                    self._answer(seen, taken_ns)

    def _begin_epoch(self, epoch: int, loaded: LoadedCheckpoint) -> None:
        """Forget what was, where time has jumped or another network, perhaps of another world, answers."""
        if epoch == self._epoch and loaded is self._loaded:
            return
        if loaded is not self._loaded:
            self._judge.adopt(loaded.estimator.checkpoint)
        else:
            self._judge.reset()
        self._epoch, self._loaded = epoch, loaded
        self._publishers.clear_path()

    def _read(self, frame: Frame) -> tuple[Frame, RgbImage] | None:
        """Decode and rectify a frame's image; a frame that has none is settled."""
        try:
            checkpoint = self._loaded.estimator.checkpoint
            if self._calibrations is None:
                return frame, _to_rgb(frame.message, checkpoint.preprocessing)
            # A calibration is that of the whole image.
            return frame, self._calibrations.rectify(frame.camera, _to_rgb(frame.message), checkpoint)
        except BadImageError as error:
            self._settle([frame], Outcome.REFUSED, error.cause, f"image refused: {error}")
        except Exception as error:
            self._settle([frame], Outcome.WITHHELD, WITHHELD_FAILED, _failure(error))
        return None

    def _answer(self, seen: list[tuple[Frame, RgbImage]], taken_ns: int) -> None:
        frames = [frame for frame, _ in seen]
        try:
            verdict = self._work(frames, [image for _, image in seen], taken_ns)
        except Exception as error:
            # One set must not end the stream: memory of a GPU that runs out comes back.
            self._settle(frames, Outcome.WITHHELD, WITHHELD_FAILED, _failure(error))
            return
        if verdict.fix is None:
            self._settle(frames, Outcome.WITHHELD, verdict.causes[0], f"pose withheld: {verdict.reason}")
            return
        self._settle(frames, Outcome.PUBLISHED)
        # A frame that waits matters more, and its path holds this pose too.
        if not self._inbox.has_waiting():
            self._publishers.publish_path()

    def _work(self, frames: list[Frame], images: list[RgbImage], taken_ns: int) -> Verdict:
        """Judge what the network says of some images, and publish what may be published."""
        marks = [min(frame.received_ns for frame in frames), taken_ns, time.monotonic_ns()]
        estimator = self._loaded.estimator
        inputs = [estimator.preprocess(image) for image in images]
        marks.append(time.monotonic_ns())
        estimates = _infer(estimator, inputs)
        marks.append(time.monotonic_ns())
        fix = self._locator.fix(frames, estimates)
        if fix.left_out:
            names = ", ".join(fix.left_out)
            self._warnings.warn("left_out", f"left out, since the other cameras contradict it: {names}")
        verdict = self._judge.judge(fix)
        marks.append(time.monotonic_ns())
        if verdict.fix is not None:
            self._publishers.publish(verdict.fix, verdict.trusted)
            marks.append(time.monotonic_ns())
            self._record(marks, fix.stamp_ns)
        self._publishers.publish_status(fix.stamp_ns, verdict, self._loaded.path)
        return verdict

    def _settle(self, frames: list[Frame], outcome: Outcome, cause: str = "", warning: str = "") -> None:
        for _ in frames:
            self._ledger.settle(outcome, cause)
        if warning:
            self._warnings.warn(cause, f"{warning} (stamp {frames[-1].stamp_ns} ns)")

    def _record(self, marks: list[int], stamp_ns: int) -> None:
        durations = {stage: end - begin for stage, begin, end in zip(STAGES, marks, marks[1:], strict=False)}
        self._latencies.record({**durations, "total": marks[-1] - marks[0]}, stamp_ns)


def _to_rgb(message: Image | CompressedImage, meant_for: Preprocessing | None = None) -> RgbImage:
    if isinstance(message, CompressedImage):
        return compressed_image_to_rgb(message, meant_for)
    return image_to_rgb(message)


def _infer(estimator: PoseEstimator, inputs: Sequence[torch.Tensor]) -> list[PoseEstimate]:
    """Run the network once on all inputs [3, h, w]; once a size where the images' shapes leave several."""
    by_size: dict[torch.Size, list[int]] = {}
    for index, entry in enumerate(inputs):
        by_size.setdefault(entry.shape, []).append(index)
    estimates: dict[int, PoseEstimate] = {}
    for indices in by_size.values():
        batch = torch.stack([inputs[index] for index in indices])
        estimates.update(zip(indices, estimator.infer(batch), strict=True))
    return [estimates[index] for index in range(len(inputs))]


def _failure(error: Exception) -> str:
    return f"no pose: {type(error).__name__}: {error}"
