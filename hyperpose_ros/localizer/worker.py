"""The thread that turns waiting frames into published poses."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hyperpose_ros.common.conversions import BadImageError
from hyperpose_ros.images.counters import FrameAccounts, Outcome, StageClock
from hyperpose_ros.images.decoding import DecodedFrame
from hyperpose_ros.images.inbox import Frame, Inbox
from hyperpose_ros.localizer.estimator_slot import LoadedCheckpoint
from hyperpose_ros.localizer.network_localizer import Localization, NetworkLocalizer
from hyperpose_ros.localizer.publishers import EstimatePublishers
from hyperpose_ros.localizer.refinement import RefinementThread
from hyperpose_ros.localizer.relocalization import Relocalization

WITHHELD_FAILED = "failed"

_LONGEST_WITHOUT_PATH_NS = 1_000_000_000

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
        self, checkpoint: Path, device: str, engine: str, precision: str, threads: int, cameras: int
    ) -> LoadedCheckpoint:
        """Load a checkpoint and warm the network up; returns when that is done.

        The arguments are those of `LoadedCheckpoint.load`.

        Raises:
            HyperPoseError: one of them is wrong.
        """
        arguments = (checkpoint, device, engine, precision, threads, cameras)
        return self._executor.submit(LoadedCheckpoint.load, *arguments).result()

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
        self._path_sent_ns = 0

    def run(self) -> None:
        """Work until the inbox is closed; whatever happens to one set is told and does not end the work."""
        while (frame_set := self._inbox.take()) is not None:
            unsettled = list(frame_set.frames)
            try:
                with self._localizer.begin(frame_set.epoch) as is_anew:
                    if is_anew:
                        self._begin_anew()
                    self._answer(unsettled)
            except Exception as error:  # memory of a GPU that runs out comes back
                if unsettled:
                    self._settle(unsettled, Outcome.WITHHELD, WITHHELD_FAILED, _failure(error))
                else:
                    self._accounts.warnings.warn("after_pose", f"after a pose was sent: {_name(error)}")

    def _begin_anew(self) -> None:
        if self._refinement is not None:
            self._refinement.begin_anew()
        self._relocalization.begin_anew()
        self._publishers.clear_path()

    def _answer(self, unsettled: list[Frame]) -> None:
        """Answer a set of frames, and take each out of those that are not settled once it is."""
        taken_ns = time.monotonic_ns()
        decoded = [
            entry for frame in list(unsettled) if (entry := self._decode(frame, unsettled)) is not None
        ]
        if not decoded:
            return
        for entry in decoded:
            if note := self._localizer.squash_note(entry):
                self._accounts.warnings.warn("squashed", note)
        clock = StageClock(min(frame.received_ns for frame in unsettled))
        clock.end("queue", taken_ns)
        clock.end("convert")
        localization = self._localizer.localize(decoded, clock)
        self._publish(localization, clock, unsettled)
        self._relocalization.take_network(localization)
        self._publishers.publish_status(localization, self._relocalization.state)
        if self._refinement is not None:
            self._refinement.offer(localization)
        fix = localization.validation.fix
        if fix is not None:
            self._publishers.publish_scene(fix)
            if self._lets_network_move():
                self._publish_path()

    def _publish_path(self) -> None:
        """Publish the path, where a frame waits only now and then: it matters more."""
        now_ns = time.monotonic_ns()
        if not self._inbox.has_waiting() or now_ns - self._path_sent_ns > _LONGEST_WITHOUT_PATH_NS:
            self._publishers.publish_path()
            self._path_sent_ns = now_ns

    def _lets_network_move(self) -> bool:
        return self._refinement is None or self._refinement.lets_network_move()

    def _decode(self, frame: Frame, unsettled: list[Frame]) -> DecodedFrame | None:
        """Decode a frame; one that cannot be is settled."""
        try:
            return self._localizer.decode(frame)
        except BadImageError as error:
            outcome, cause, warning = Outcome.REFUSED, error.cause, f"image refused: {error}"
        except Exception as error:  # the other cameras' frames may be good
            outcome, cause, warning = Outcome.WITHHELD, WITHHELD_FAILED, _failure(error)
        unsettled.remove(frame)
        self._settle([frame], outcome, cause, warning)
        return None

    def _publish(self, localization: Localization, clock: StageClock, unsettled: list[Frame]) -> None:
        """Publish what may be published of a set of frames, and settle them."""
        fix, validation = localization.fix, localization.validation
        if fix.left_out:
            names = ", ".join(fix.left_out)
            self._accounts.warnings.warn(
                "left_out", f"left out, since the other cameras contradict it: {names}"
            )
        frames = list(unsettled)
        if validation.fix is None:
            unsettled.clear()
            self._settle(
                frames, Outcome.WITHHELD, validation.causes[0], f"pose withheld: {validation.reason}"
            )
            return
        self._publishers.publish(validation.fix, moves=validation.trusted and self._lets_network_move())
        unsettled.clear()
        self._settle(frames, Outcome.PUBLISHED)
        clock.end("publish")
        self._accounts.latencies.record(clock.durations_ns(), fix.stamp_ns)

    def _settle(self, frames: list[Frame], outcome: Outcome, cause: str = "", warning: str = "") -> None:
        told = f"{warning} (stamp {frames[-1].stamp_ns} ns)" if warning else ""
        self._accounts.settle(outcome, cause, told, len(frames))


def _failure(error: Exception) -> str:
    return f"no pose: {_name(error)}"


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
