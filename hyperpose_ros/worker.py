"""The thread that turns waiting frames into published poses."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.estimator import PoseEstimate, PoseEstimator
from hyperpose_core.images import RgbImage
from hyperpose_ros.conversions import BadImageError, compressed_image_to_rgb, image_to_rgb
from hyperpose_ros.counters import FrameLedger, LatencyRecorder, Outcome
from hyperpose_ros.inbox import Frame, Inbox
from hyperpose_ros.publishers import EstimatePublishers
from hyperpose_ros.throttled_warnings import ThrottledWarnings

WITHHELD_NOT_FINITE = "not_finite"
WITHHELD_FAILED = "failed"

_WARM_UP_SIZE = (480, 640)  # of an image from a camera that the checkpoint does not know


class InferenceThread:
    """One thread for all that torch does, since a pool of CPU threads belongs to the thread that uses it."""

    def __init__(self, threads: int) -> None:
        """Start the thread.

        Args:
            threads: CPU threads of one inference; 0 leaves torch's choice.
        """
        prepare = (lambda: torch.set_num_threads(threads)) if threads > 0 else None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inference", initializer=prepare)

    def load(self, checkpoint: Path, device: str) -> PoseEstimator:
        """Load a checkpoint and warm the network up; returns when that is done.

        Raises:
            HyperPoseError: the checkpoint or the device is wrong.
        """
        return self._executor.submit(_load, checkpoint, device).result()

    def start(self, worker: Worker) -> Future[None]:
        """Run a worker until its inbox is closed."""
        return self._executor.submit(worker.run)

    def stop(self) -> None:
        """End the thread once it has nothing more to do."""
        self._executor.shutdown(wait=False)


class Worker:
    """Takes frames from the inbox, estimates their poses and has them published, one after the other."""

    def __init__(
        self,
        estimator: PoseEstimator,
        inbox: Inbox,
        publishers: EstimatePublishers,
        ledger: FrameLedger,
        latencies: LatencyRecorder,
        warnings: ThrottledWarnings,
    ) -> None:
        """Build a worker that is not running yet.

        Args:
            estimator: the network.
            inbox: where frames come from.
            publishers: where poses go to.
            ledger: where each frame's outcome is counted.
            latencies: where each frame's durations are kept.
            warnings: where refusals and failures are told.
        """
        self._estimator = estimator
        self._inbox = inbox
        self._publishers = publishers
        self._ledger = ledger
        self._latencies = latencies
        self._warnings = warnings
        self._epoch = 0

    def run(self) -> None:
        """Work until the inbox is closed."""
        while (frame := self._inbox.take()) is not None:
            try:
                outcome, cause, warning = self._work(frame)
            except BadImageError as error:
                outcome, cause, warning = Outcome.REFUSED, error.cause, f"image refused: {error}"
            except Exception as error:
                # One frame must not end the stream: memory of a GPU that runs out comes back.
                outcome, cause = Outcome.WITHHELD, WITHHELD_FAILED
                warning = f"no pose: {type(error).__name__}: {error}"
            self._ledger.settle(outcome, cause)
            if warning:
                self._warnings.warn(cause, f"{warning} (stamp {frame.stamp_ns} ns)")
            # A frame that waits matters more, and its path holds this pose too.
            if outcome is Outcome.PUBLISHED and not self._inbox.has_waiting():
                self._publishers.publish_path()

    def _work(self, frame: Frame) -> tuple[Outcome, str, str]:
        """Return outcome, cause and warning of one frame."""
        if frame.epoch != self._epoch:
            self._epoch = frame.epoch
            self._publishers.clear_path()
        marks = [frame.received_ns, time.monotonic_ns()]
        image = _to_rgb(frame.message)
        marks.append(time.monotonic_ns())
        inputs = self._estimator.preprocess(image)
        marks.append(time.monotonic_ns())
        estimate = self._estimator.infer(inputs[None])[0]
        marks.append(time.monotonic_ns())
        if estimate.pose is None or not _is_usable(estimate):
            return Outcome.WITHHELD, WITHHELD_NOT_FINITE, "pose withheld: the network's output is not finite"
        self._publishers.publish(frame.message.header, estimate.pose, estimate)
        marks.append(time.monotonic_ns())
        self._record(marks)
        return Outcome.PUBLISHED, "", ""

    def _record(self, marks: list[int]) -> None:
        stages = ("queue", "convert", "preprocess", "network", "publish")
        durations = {stage: end - begin for stage, begin, end in zip(stages, marks, marks[1:], strict=False)}
        self._latencies.record({**durations, "total": marks[-1] - marks[0]})


def _load(checkpoint: Path, device: str) -> PoseEstimator:
    estimator = PoseEstimator.load(checkpoint, device)
    camera = estimator.checkpoint.camera
    estimator.warm_up(*_WARM_UP_SIZE if camera is None else (camera.height, camera.width))
    return estimator


def _to_rgb(message: Image | CompressedImage) -> RgbImage:
    return compressed_image_to_rgb(message) if isinstance(message, CompressedImage) else image_to_rgb(message)


def _is_usable(estimate: PoseEstimate) -> bool:
    covariance = np.asarray(estimate.covariance)
    return bool(np.isfinite(covariance).all() and (np.diag(covariance) > 0).all())
