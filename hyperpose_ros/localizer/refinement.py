"""The thread that asks the landmark map about the newest images, beside the network and never before it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from hyperpose_core.landmarks.refinement import Reason, Refinement
from hyperpose_ros.fusion.trust_history import TrustHistory, TrustSummary
from hyperpose_ros.fusion.validity import ValidationResult
from hyperpose_ros.images.counters import FrameAccounts, FrameCounts, Outcome, StageClock, StageLatency
from hyperpose_ros.localizer.estimator_slot import EstimatorSlot
from hyperpose_ros.localizer.map_localizer import MapLocalizer, RefinedFrame
from hyperpose_ros.localizer.network_localizer import Localization
from hyperpose_ros.localizer.publishers import EstimatePublishers
from hyperpose_ros.localizer.relocalization import Relocalization

SKIPPED_SUPERSEDED = "superseded"
SKIPPED_DEACTIVATED = "deactivated"
SKIPPED_OUTDATED = "outdated"
FAILED_OTHER_NETWORK = "other_network"
FAILED_OUTDATED = "outdated"
FAILED_ERROR = "error"

_NICENESS = 10


@dataclass(frozen=True)
class RefinementHealth:
    """How it stands with the refinement.

    Attributes:
        mode: the parameter `refinement`.
        map: the file of the map in use; None where there is none.
        counts: what became of the frames: received are those offered, published those verified, withheld
            those that the map does not verify, refused those that came to nothing, dropped those skipped.
        latencies: how long the latest answers took, by stage.
        answers: how many of the latest answers were not verified, and why.
        problem: why there is no map; empty where there is one, or none is asked for.
    """

    mode: str
    map: Path | None
    counts: FrameCounts
    latencies: tuple[StageLatency, ...]
    trust: TrustSummary
    problem: str


class RefinementThread:
    """Takes the newest set of frames that the network has answered, has it refined and published.

    Where they lead (`refine`), verified poses are the node's and move its transform.
    """

    def __init__(
        self,
        slot: EstimatorSlot,
        localizer: MapLocalizer,
        publishers: EstimatePublishers,
        relocalization: Relocalization,
        accounts: FrameAccounts,
        leads: bool,
        lets_network_begin: Callable[[], bool],
    ) -> None:
        """Build a thread that is not running yet.

        Args:
            slot: the network in use, whose map is asked.
            localizer: what asks it.
            publishers: where poses go to.
            relocalization: what follows whether the robot knows where it is.
            accounts: where it is counted, timed and told what became of the frames.
            leads: whether verified poses are the node's: `refinement` is refine.
            lets_network_begin: whether the network's poses move the transform until one is verified.
        """
        self._slot = slot
        self._localizer = localizer
        self._publishers = publishers
        self._relocalization = relocalization
        self._accounts = accounts
        self._leads = leads
        self._lets_network_begin = lets_network_begin
        self._changed = threading.Condition()
        self._publishing = threading.Lock()
        self._waiting: tuple[Localization, int] | None = None
        self._generation = 0
        self._thread: threading.Thread | None = None
        self._has_verified = False
        self.history = TrustHistory()

    def start(self) -> None:
        """Begin to work."""
        with self._changed:
            self._thread = threading.Thread(target=self._run, name="refinement", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Skip what waits, and publish nothing of what is being worked on; does not wait for it."""
        with self._changed:
            self._thread = None
            self._skip_waiting(SKIPPED_DEACTIVATED)
            self._changed.notify_all()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Publish nothing of what was offered so far: it says nothing of what comes now."""
        with self._changed:
            self._skip_waiting(SKIPPED_OUTDATED)
        with self._publishing:
            self._generation += 1
            self._has_verified = False
        self.history.clear()

    def offer(self, localization: Localization) -> None:
        """Have a set of frames wait in place of the one that waits; returns at once."""
        if localization.loaded.map is None:
            return
        with self._changed:
            for _ in localization.frames:
                self._accounts.ledger.receive()
            self._skip_waiting(SKIPPED_SUPERSEDED)
            self._waiting = (localization, self._generation)
            self._changed.notify_all()

    def health(self, mode: str, problem: str) -> RefinementHealth:
        """Return how it stands now, given the mode and why there is no map."""
        loaded_map = self._slot.current.map
        return RefinementHealth(
            mode,
            None if loaded_map is None else loaded_map.path,
            self._accounts.ledger.counts(),
            self._accounts.latencies.summary(),
            self.history.summary(),
            "" if loaded_map is not None else problem,
        )

    def lets_network_move(self) -> bool:
        """Tell whether the network's poses move the transform and the path now."""
        return not self._leads or (not self._has_verified and self._lets_network_begin())

    def _run(self) -> None:
        # Linux has a niceness for every thread. What OpenCV and NumPy calculate stays in this one: threads
        # of their pools would take the network's cores at its priority.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        cv2.setNumThreads(1)
        ThreadpoolController().select(internal_api="openblas").limit(limits=1)
        while (taken := self._take()) is not None:
            self._answer(*taken)

    def _take(self) -> tuple[Localization, int] | None:
        """Wait for a set of frames; None once this thread is no longer the one that works."""
        me = threading.current_thread()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._thread is not me)
            if self._thread is not me:
                return None
            taken, self._waiting = self._waiting, None
            return taken

    def _skip_waiting(self, cause: str) -> None:
        if self._waiting is not None:
            self._accounts.settle(Outcome.DROPPED, cause, frames=len(self._waiting[0].frames))
            self._waiting = None

    def _answer(self, localization: Localization, generation: int) -> None:
        loaded_map = localization.loaded.map
        if loaded_map is None:
            raise ValueError("a set of frames without a map is not offered")
        clock = StageClock(localization.received_ns)
        clock.end("wait")
        frames = self._localizer.refine(localization, loaded_map)
        clock.end("refine")
        with self._slot.use() as current, self._publishing:
            obstacle = FAILED_OTHER_NETWORK if current is not localization.loaded else ""
            if not obstacle and generation != self._generation:
                obstacle = FAILED_OUTDATED
            if not obstacle:
                try:
                    self._publish(localization, frames)
                except Exception as error:  # one set must not end the thread
                    obstacle = FAILED_ERROR
                    self._accounts.warnings.warn(obstacle, f"not refined: {type(error).__name__}: {error}")
        if obstacle:
            self._accounts.settle(Outcome.REFUSED, obstacle, frames=len(frames))
            return
        clock.end("publish")
        self._accounts.latencies.record({**clock.durations_ns(), **_stages_ns(frames)})
        for entry in frames:
            self._settle(entry)

    def _publish(self, localization: Localization, frames: Sequence[RefinedFrame]) -> None:
        verified = [entry for entry in frames if entry.verified]
        validation = self._validate(localization, verified) if verified else None
        if validation is None:
            self._miss(localization, frames)
        elif validation.fix is not None:
            self._publishers.publish_verified(validation.fix)
            if self._leads:
                self._publishers.publish(validation.fix, moves=validation.trusted)
            self._has_verified = self._has_verified or validation.trusted
        tracking = self._relocalization.state
        self._publishers.publish_map_status(localization, frames, validation, self._leads, tracking)
        if validation is not None and validation.trusted and self._leads:
            self._publishers.publish_path()

    def _validate(self, localization: Localization, verified: Sequence[RefinedFrame]) -> ValidationResult:
        relocalization, received_ns = self._relocalization, localization.received_ns
        fix = self._localizer.fix(verified)
        agreeing = relocalization.weigh(fix, received_ns)
        is_found = bool(agreeing) and relocalization.is_searching
        validation = self._localizer.validate(fix, self._leads, starts_anew=is_found)
        relocalization.conclude(fix, validation, agreeing, received_ns)
        return validation

    def _miss(self, localization: Localization, frames: Sequence[RefinedFrame]) -> None:
        reasons = [None if entry.refinement is None else entry.refinement.reason for entry in frames]
        first = frames[0].failure if reasons[0] is None else reasons[0].value
        self._relocalization.miss(
            localization.fix.stamp_ns,
            first,
            sees_nothing=all(reason is Reason.NO_FEATURES for reason in reasons),
            received_ns=localization.received_ns,
        )

    def _settle(self, entry: RefinedFrame) -> None:
        refinement, stamp_ns = entry.refinement, entry.decoded.frame.stamp_ns
        cause = FAILED_ERROR if refinement is None else cause_of(refinement)
        self.history.add((cause,) if cause else ())
        if refinement is None:
            warning = f"not refined: {entry.failure} (stamp {stamp_ns} ns)"
            self._accounts.settle(Outcome.REFUSED, cause, warning)
        else:
            self._accounts.settle(Outcome.WITHHELD if cause else Outcome.PUBLISHED, cause)


def cause_of(refinement: Refinement) -> str:
    """Return why an answer is not verified, in one word; empty where it is."""
    return "" if refinement.reason is None else refinement.reason.name.lower()


def _stages_ns(frames: Sequence[RefinedFrame]) -> dict[str, int]:
    """Return the refiner's own stages, added up over the frames; nanoseconds."""
    stages: dict[str, int] = {}
    for entry in frames:
        if entry.refinement is not None:
            for stage, seconds in entry.refinement.seconds.items():
                if stage != "total":
                    stages[stage] = stages.get(stage, 0) + round(seconds * 1e9)
    return stages
