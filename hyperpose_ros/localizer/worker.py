"""The thread that turns waiting frames into published poses."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hyperpose_ros.common.conversions import BadImageError
from hyperpose_ros.images.counters import FrameAccounts, Outcome, StageClock
from hyperpose_ros.images.decoding import DecodedFrame
from hyperpose_ros.images.inbox import Frame, FrameSet, Inbox
from hyperpose_ros.localizer.estimator_slot import LoadedCheckpoint
from hyperpose_ros.localizer.network_localizer import Localization, NetworkLocalizer
from hyperpose_ros.localizer.publishers import EstimatePublishers
from hyperpose_ros.localizer.refinement import RefinementThread
from hyperpose_ros.localizer.relocalization import Relocalization

WITHHELD_FAILED = "failed"

STAGES = ("queue", "convert", "preprocess", "network", "judge", "publish")
"""The way of a set of frames from its first one's receipt to its pose's publication: what "total" is made of.
queue: in the inbox; convert: decoded and rectified; preprocess: resized and normalised; network: with its
outputs read as poses; judge: placed in the map and validated; publish: transform and poses sent."""


class InferenceThread:
    """One thread for all inference, since torch's pool of CPU threads belongs to the thread that uses it."""

    def __init__(self) -> None:
        """Start the thread."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inference")

    def load(
        self, checkpoint: Path, device: str, engine: str, precision: str, threads: int
    ) -> LoadedCheckpoint:
        """Load a checkpoint and warm the network up; returns when that is done.

        The arguments are those of `LoadedCheckpoint.load`.

        Raises:
            HyperPoseError: one of them is wrong.
        """
        load = LoadedCheckpoint.load
        return self._executor.submit(load, checkpoint, device, engine, precision, threads).result()

    def start(self, worker: Worker) -> Future[None]:
        """Run a worker until its inbox is closed."""
        return self._executor.submit(worker.run)

    def stop(self) -> None:
        """End the thread once it has nothing more to do."""
        self._executor.shutdown(wait=False)


class Worker:
    """Takes sets of frames from the inbox, has them localized and published, and settles every frame."""

    def __init__(
        self,
        inbox: Inbox,
        localizer: NetworkLocalizer,
        publishers: EstimatePublishers,
        accounts: FrameAccounts,
        relocalization: Relocalization,
        refinement: RefinementThread | None,
    ) -> None:
        """Build a worker that is not running yet.

        Args:
            inbox: where frames come from.
            localizer: what says where they were taken.
            publishers: where poses go to.
            accounts: where it is counted, timed and told what became of the frames.
            relocalization: what follows whether the robot knows where it is.
            refinement: what is offered the network's answers; None where they are all that there is.
        """
        self._inbox = inbox
        self._localizer = localizer
        self._publishers = publishers
        self._accounts = accounts
        self._relocalization = relocalization
        self._refinement = refinement

    def run(self) -> None:
        """Work until the inbox is closed."""
        while (frame_set := self._inbox.take()) is not None:
            with self._localizer.begin(frame_set.epoch) as is_anew:
                if is_anew:
                    self._begin_anew()
                self._answer(frame_set)

    def _begin_anew(self) -> None:
        if self._refinement is not None:
            self._refinement.begin_anew()
        self._relocalization.begin_anew()
        self._publishers.clear_path()

    def _answer(self, frame_set: FrameSet) -> None:
        taken_ns = time.monotonic_ns()
        decoded = [entry for frame in frame_set.frames if (entry := self._decode(frame)) is not None]
        if not decoded:
            return
        for entry in decoded:
            if note := self._localizer.squash_note(entry):
                self._accounts.warnings.warn("squashed", note)
        frames = [entry.frame for entry in decoded]
        clock = StageClock(min(frame.received_ns for frame in frames))
        clock.end("queue", taken_ns)
        clock.end("convert")
        try:
            localization = self._localizer.localize(decoded, clock)
            self._publish(localization, clock)
        except Exception as error:
            # One set must not end the stream: memory of a GPU that runs out comes back.
            self._settle(frames, Outcome.WITHHELD, WITHHELD_FAILED, _failure(error))
            return
        if self._refinement is not None:
            self._refinement.offer(localization)
        validation = localization.validation
        if validation.fix is None:
            self._settle(
                frames, Outcome.WITHHELD, validation.causes[0], f"pose withheld: {validation.reason}"
            )
            return
        self._settle(frames, Outcome.PUBLISHED)
        # A frame that waits matters more, and its path holds this pose too.
        if self._lets_network_move() and not self._inbox.has_waiting():
            self._publishers.publish_path()

    def _lets_network_move(self) -> bool:
        return self._refinement is None or self._refinement.lets_network_move()

    def _decode(self, frame: Frame) -> DecodedFrame | None:
        """Decode a frame; one that cannot be is settled."""
        try:
            return self._localizer.decode(frame)
        except BadImageError as error:
            self._settle([frame], Outcome.REFUSED, error.cause, f"image refused: {error}")
        except Exception as error:
            self._settle([frame], Outcome.WITHHELD, WITHHELD_FAILED, _failure(error))
        return None

    def _publish(self, localization: Localization, clock: StageClock) -> None:
        """Publish the fix of a set of frames unless it is withheld, and its validity."""
        fix, validation = localization.fix, localization.validation
        if fix.left_out:
            names = ", ".join(fix.left_out)
            self._accounts.warnings.warn(
                "left_out", f"left out, since the other cameras contradict it: {names}"
            )
        if validation.fix is not None:
            self._publishers.publish(validation.fix, moves=validation.trusted and self._lets_network_move())
            clock.end("publish")
            self._accounts.latencies.record(clock.durations_ns(), fix.stamp_ns)
        self._relocalization.take_network(localization)
        self._publishers.publish_status(localization, self._relocalization.state)

    def _settle(self, frames: list[Frame], outcome: Outcome, cause: str = "", warning: str = "") -> None:
        told = f"{warning} (stamp {frames[-1].stamp_ns} ns)" if warning else ""
        self._accounts.settle(outcome, cause, told, len(frames))


def _failure(error: Exception) -> str:
    return f"no pose: {type(error).__name__}: {error}"
