"""What the network in use says of a set of frames: estimates, a fix of them, and whether to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hyperpose_core.inference.estimator import PoseEstimate
from hyperpose_ros.common.fix import Fix
from hyperpose_ros.fusion.locator import Locator
from hyperpose_ros.fusion.validity import PoseValidator, ValidationResult
from hyperpose_ros.images.camera_info import CameraCalibrations
from hyperpose_ros.images.counters import StageClock
from hyperpose_ros.images.decoding import DecodedFrame, decode
from hyperpose_ros.images.inbox import Frame
from hyperpose_ros.localizer.estimator_slot import EstimatorSlot, LoadedCheckpoint


@dataclass(frozen=True, eq=False)
class Localization:
    """A set of frames and all that the network made of it.

    Attributes:
        frames: those that could be decoded, at least one.
        estimates: the network's answers, one a frame, in the world of its checkpoint.
        fix: what they say together of the robot in the map.
        validation: whether the fix is to be trusted, and what of it may be published.
        loaded: the network, with the landmark map that goes with it.
    """

    frames: tuple[DecodedFrame, ...]
    estimates: tuple[PoseEstimate, ...]
    fix: Fix
    validation: ValidationResult
    loaded: LoadedCheckpoint

    @property
    def received_ns(self) -> int:
        """When the first of the frames was received, nanoseconds of the monotonic clock."""
        return min(entry.frame.received_ns for entry in self.frames)


class NetworkLocalizer:
    """Localizes sets of frames, one after the other, each with the network that is in use when it begins."""

    def __init__(
        self,
        slot: EstimatorSlot,
        calibrations: CameraCalibrations | None,
        locator: Locator,
        validator: PoseValidator,
    ) -> None:
        """Build from its parts.

        Args:
            slot: the network, which may be swapped between two sets.
            calibrations: what makes images what the network knows; None takes them as they are.
            locator: what makes a fix of the network's answers.
            validator: of fixes; it is told of each network that comes into the slot.
        """
        self._slot = slot
        self._loaded = slot.current
        self._calibrations = calibrations
        self._locator = locator
        self._validator = validator
        self._epoch = 0

    @contextmanager
    def begin(self, epoch: int) -> Iterator[bool]:
        """Hold on to the network in use for one set of frames.

        Args:
            epoch: the set's.

        Yields:
            Whether earlier sets say nothing of this one: time has jumped, or another network answers, perhaps
            of another world.
        """
        with self._slot.use() as loaded:
            is_other_network, is_other_epoch = loaded is not self._loaded, epoch != self._epoch
            self._loaded, self._epoch = loaded, epoch
            if is_other_network:
                self._validator.adopt(loaded.estimator.checkpoint)
            elif is_other_epoch:
                self._validator.reset()
            yield is_other_network or is_other_epoch

    def decode(self, frame: Frame) -> DecodedFrame:
        """Return a frame of the set with its image as the network knows images.

        Raises:
            BadImageError: the message is no image, or not of the size that its camera_info says.
        """
        return decode(frame, self._loaded.estimator.checkpoint, self._calibrations)

    def squash_note(self, decoded: DecodedFrame) -> str:
        """Say where a frame's image is bent to the proportions of those that were trained on; else ""."""
        height, width = decoded.image.shape[:2]
        return self._loaded.estimator.squash_note(height, width)

    def localize(self, decoded: Sequence[DecodedFrame], clock: StageClock) -> Localization:
        """Estimate poses of frames, place them in the map, and validate them.

        Args:
            decoded: frames of the set, at least one.
            clock: where the ends of "preprocess", "network" and "judge" are marked.
        """
        estimator = self._loaded.estimator
        inputs = [estimator.preprocess(entry.image) for entry in decoded]
        clock.end("preprocess")
        estimates = estimator.infer_each(inputs)
        clock.end("network")
        fix = self._locator.fix([entry.frame for entry in decoded], estimates)
        validation = self._validator.validate(fix)
        clock.end("judge")
        return Localization(tuple(decoded), tuple(estimates), fix, validation, self._loaded)
