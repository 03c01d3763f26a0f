"""Finds a robot that started anywhere or was carried: a pose for others, once several verified ones agree."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import atan2, degrees, radians

import numpy as np

from hyperpose_core.geometry.poses import Array
from hyperpose_ros.common.fix import Fix, PoseWithCovariance
from hyperpose_ros.fusion.agreement import AgreeingFixes, AgreementSettings, Sighting, with_floor
from hyperpose_ros.fusion.tracking import Tracking, TrackingMonitor
from hyperpose_ros.fusion.validity import JUMP, ValidationResult
from hyperpose_ros.localizer.initial_pose import InitialPosePublisher
from hyperpose_ros.localizer.network_localizer import Localization
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.tf.odometry import Odometry

NO_EXTRINSICS = (
    "where the camera is on the robot is not known: set camera_extrinsics, or send it on /tf_static"
)


@dataclass(frozen=True)
class SearchResult:
    """What came of a search.

    Attributes:
        found: whether the robot was found.
        text: where, or why not, in words.
    """

    found: bool
    text: str


@dataclass(eq=False)
class Search:
    """One that somebody has asked for.

    Attributes:
        answer: takes what came of it.
        since_ns: when it began, nanoseconds of the monotonic clock: images received before do not count.
        asked: how many images were looked at.
        verified: how many of them gave a fix that counts.
        causes: why the others gave none.
    """

    answer: Callable[[SearchResult], None]
    since_ns: int = field(default_factory=time.monotonic_ns)
    asked: int = 0
    verified: int = 0
    causes: Counter[str] = field(default_factory=Counter)


class Relocalization:
    """Watches whether the robot knows where it is, and tells others once when it is found.

    Fixes that a landmark map has verified count; the network's alone only where `initial_pose_unverified` is
    on. Safe to use from any thread.
    """

    def __init__(
        self,
        parameters: Callable[[], LocalizerParameters],
        odometry: Odometry | None,
        initial_pose: InitialPosePublisher,
        log: Callable[[str], object],
    ) -> None:
        """Begin with a robot that is lost.

        Args:
            parameters: the node's parameters now.
            odometry: what the robot has driven; None where that is not known.
            initial_pose: sends what was found.
            log: is told when the robot is found or lost.
        """
        self._parameters = parameters
        self._odometry = odometry
        self._initial_pose = initial_pose
        self._log = log
        self._lock = threading.RLock()
        self._monitor = TrackingMonitor()
        self._verified, self._unverified = AgreeingFixes(), AgreeingFixes()
        self._searches: list[Search] = []
        self._since_ns = 0
        self._owes_pose = False
        self._why_lost = ""
        self.begin_anew()

    @property
    def state(self) -> Tracking:
        """Whether the robot knows where it is."""
        return self._monitor.state

    @property
    def problem(self) -> str:
        """A sentence where images came and the robot is lost nevertheless; empty where it is not."""
        with self._lock:
            return f"lost: {self._why_lost}" if self.state is Tracking.LOST and self._why_lost else ""

    @property
    def is_searching(self) -> bool:
        """Whether nothing that was known earlier is to be believed."""
        with self._lock:
            return bool(self._searches) or self.state is Tracking.LOST

    def begin_anew(self) -> None:
        """Forget every fix: the robot starts, or what was known says nothing of what comes."""
        with self._lock:
            self._monitor.begin_anew()
            self._why_lost = ""
            self._forget_fixes()
            self._owes_pose = self._parameters().initial_pose != "off"

    def search(self, answer: Callable[[SearchResult], None]) -> Search:
        """Look for the robot as if nothing were known of it.

        Args:
            answer: is called once, from any thread, when the robot is found or the search is given up.
        """
        with self._lock:
            search = Search(answer)
            self._searches.append(search)
            self._since_ns = search.since_ns
            self._forget_fixes()
            return search

    def give_up(self, search: Search) -> None:
        """End a search whose time has run out, unless it has been answered."""
        with self._lock:
            if search in self._searches:
                self._searches.remove(search)
                search.answer(SearchResult(False, self._why_not(search)))

    def end_searches(self, reason: str) -> None:
        """Answer all that search, since nothing more will come."""
        with self._lock:
            searches, self._searches = self._searches, []
        for search in searches:
            search.answer(SearchResult(False, reason))

    def weigh(self, fix: Fix, received_ns: int, *, is_verified: bool = True) -> tuple[Sighting, ...]:
        """Remember a fix, and return those that agree with it where they are as many as are asked for.

        Args:
            fix: the fix.
            received_ns: when its image was received, nanoseconds of the monotonic clock.
            is_verified: whether a landmark map has verified it.
        """
        with self._lock:
            values, body, odometry = self._parameters(), fix.base or fix.views[0].in_map, None
            if body is None or received_ns < self._since_ns:
                return ()
            if fix.base is not None and self._odometry is not None:
                odometry = self._odometry.pose_at(fix.stamp_ns)
            fixes = self._verified if is_verified else self._unverified
            agreeing = fixes.add(Sighting(fix.stamp_ns, body, odometry), agreement_settings(values))
            return agreeing if len(agreeing) >= values.relocalize_poses else ()

    def conclude(
        self, fix: Fix, validation: ValidationResult, agreeing: tuple[Sighting, ...], received_ns: int
    ) -> None:
        """Take a verified fix into account, and announce it if it ends a search.

        Args:
            fix: the fix.
            validation: its validity.
            agreeing: what `weigh` gave for it.
            received_ns: as there.
        """
        with self._lock:
            self._count(received_ns, "" if fix.base is not None else NO_EXTRINSICS)
            self._watch(fix.stamp_ns, validation, is_found=bool(agreeing))
            if validation.trusted and fix.base is not None:
                self._tell(agreeing, "verified")

    def miss(self, stamp_ns: int, cause: str, *, sees_nothing: bool, received_ns: int) -> None:
        """Take an image that the landmark map verifies no fix of.

        Args:
            stamp_ns: the image's, nanoseconds.
            cause: why, in words.
            sees_nothing: whether there is nothing to be seen in it.
            received_ns: when it was received, nanoseconds of the monotonic clock.
        """
        with self._lock:
            self._count(received_ns, cause)
            self._fail(stamp_ns, sees_nothing=sees_nothing)

    def take_network(self, localization: Localization) -> None:
        """Take what the network says, where there is no landmark map to ask or its word is to count, too."""
        values, fix, validation = self._parameters(), localization.fix, localization.validation
        is_witness = localization.loaded.map is None
        if not is_witness and not values.initial_pose_unverified:
            return
        with self._lock:
            agreeing: tuple[Sighting, ...] = ()
            if validation.trusted and values.initial_pose_unverified:
                agreeing = self.weigh(fix, localization.received_ns, is_verified=False)
            if is_witness:
                refused = validation.reason or "no landmark map verifies it"
                counts = validation.trusted and values.initial_pose_unverified
                self._count(localization.received_ns, "" if counts else refused)
                self._watch(fix.stamp_ns, validation, is_found=True)
            if fix.base is not None:
                self._tell(agreeing, "unverified")

    def _watch(self, stamp_ns: int, validation: ValidationResult, *, is_found: bool) -> None:
        """Follow what a fix says of whether the robot knows where it is."""
        if validation.trusted:
            self._monitor.trust(stamp_ns, is_found)
        elif validation.causes == (JUMP,):
            before = self.state
            self._monitor.contradict()
            self._note_loss(before, "verified poses contradict odometry: the robot was carried")
        else:
            self._fail(stamp_ns, sees_nothing=False)

    def _fail(self, stamp_ns: int, *, sees_nothing: bool) -> None:
        before = self.state
        self._monitor.fail(stamp_ns, sees_nothing, round(self._parameters().lost_after * 1e9))
        why = "there is nothing to be seen in the images" if sees_nothing else "no pose can be trusted"
        self._note_loss(before, why)

    def _note_loss(self, before: Tracking, why: str) -> None:
        self._why_lost = why
        if before is Tracking.LOST or self.state is not Tracking.LOST:
            return
        self._log(f"lost: {why}")
        self._owes_pose = self._owes_pose or self._parameters().initial_pose == "on_lost"

    def _tell(self, agreeing: tuple[Sighting, ...], kind: str) -> None:
        """Send a pose that was found to whoever waits for one."""
        if not agreeing or not (self._searches or (self._owes_pose and self._initial_pose.listeners())):
            return
        values, newest = self._parameters(), agreeing[0]
        floor = deviations(values)
        found = PoseWithCovariance(newest.body.pose, with_floor(newest.body.covariance, floor))
        listeners = self._initial_pose.send(newest.stamp_ns, found)
        self._owes_pose = self._owes_pose and not listeners
        text = f"{_describe(agreeing, kind, values.map_frame)}; {self._initial_pose.describe(listeners)}"
        self._log(f"found: {text}")
        searches, self._searches = self._searches, []
        for search in searches:
            search.answer(SearchResult(True, text))

    def _count(self, received_ns: int, cause: str) -> None:
        for search in self._searches:
            if received_ns >= search.since_ns:
                search.asked += 1
                search.verified += not cause
                search.causes.update([cause] if cause else [])

    def _forget_fixes(self) -> None:
        self._verified.clear()
        self._unverified.clear()

    def _why_not(self, search: Search) -> str:
        seconds = (time.monotonic_ns() - search.since_ns) / 1e9
        start = f"not found within {seconds:.1f} s"
        if not search.asked:
            return f"{start}: no image was answered"
        worst = search.causes.most_common(1)
        most = f"; most often: {worst[0][0]}" if worst else ""
        wanted = self._parameters().relocalize_poses
        return (
            f"{start}: of {search.asked} images {search.verified} gave a pose that counts, and {wanted} that "
            f"agree are needed{most}"
        )


def agreement_settings(values: LocalizerParameters) -> AgreementSettings:
    """Return what is asked of fixes that agree."""
    return AgreementSettings(
        poses=values.relocalize_poses,
        window_ns=round(values.relocalize_window * 1e9),
        deviations=deviations(values),
        odometry_noise=values.odometry_noise,
        max_speed=values.relocalize_max_speed,
    )


def deviations(values: LocalizerParameters) -> Array:
    """Return the smallest standard deviations [6] of an initial pose, metres and radians."""
    turn = radians(values.initial_pose_rotation_floor_deg)
    return np.array([values.initial_pose_position_floor] * 3 + [turn] * 3)


def _describe(agreeing: tuple[Sighting, ...], kind: str, frame: str) -> str:
    newest, oldest = agreeing[0], agreeing[-1]
    x, y, z = newest.body.pose.position
    rotation = newest.body.pose.rotation()
    yaw = degrees(atan2(rotation[1, 0], rotation[0, 0]))
    return (
        f"base at x {x:.2f}, y {y:.2f}, z {z:.2f} m, yaw {yaw:.1f} degrees in {frame}, by {len(agreeing)} "
        f"{kind} poses within {(newest.stamp_ns - oldest.stamp_ns) / 1e9:.1f} s that agree"
    )
