"""What becomes of an image message until it waits in the inbox, and which cameras send none."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sensor_msgs.msg import CompressedImage, Image

from hyperpose_ros.common.conversions import (
    BadImageError,
    check_compressed_image,
    check_image,
    stamp_to_nanoseconds,
)
from hyperpose_ros.images.camera_info import CameraCalibrations
from hyperpose_ros.images.cameras import Camera
from hyperpose_ros.images.counters import DROPPED_DISABLED, FrameAccounts, Outcome
from hyperpose_ros.images.inbox import Inbox


class Intake:
    """Counts each image as received and puts it into the inbox, or settles it where it cannot be answered.

    Attributes:
        is_enabled: whether images are answered; where they are not, they are counted as dropped.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        calibrations: CameraCalibrations | None,
        inbox: Inbox,
        accounts: FrameAccounts,
    ) -> None:
        """Build an intake that is closed.

        Args:
            cameras: the node's cameras, whose places in this list stand for them.
            calibrations: what must be known of a camera before its images are let in; None asks for nothing.
            inbox: where images go.
            accounts: where they are counted, and told where they do not.
        """
        self._cameras = cameras
        self._calibrations = calibrations
        self._inbox = inbox
        self._accounts = accounts
        self.is_enabled = True
        self._heard_ns: list[int] = []
        self._listen_anew()

    def open(self) -> None:
        """Let images in, and count every camera's silence from now on."""
        self._listen_anew()
        self._inbox.open()

    def close(self) -> None:
        """Let no image in any more, and drop the one that waits."""
        self._inbox.close()

    def take(self, camera: int, message: Image | CompressedImage) -> None:
        """Take a message that the subscription of a camera, given by its place in the list, has delivered."""
        received_ns = time.monotonic_ns()
        self._heard_ns[camera] = received_ns
        self._accounts.ledger.receive()
        obstacle = self._obstacle(camera, message)
        if obstacle is not None:
            self._accounts.settle(*obstacle)
        elif not self._inbox.put(message, stamp_to_nanoseconds(message.header.stamp), received_ns, camera):
            self._accounts.warnings.warn(
                "time_jump", "the images' stamps went back in time: path and waiting frames forgotten"
            )

    def seconds_without_image(self) -> float:
        """Return how long ago the latest image of any camera came, or the intake was opened."""
        return (time.monotonic_ns() - max(self._heard_ns)) / 1e9

    def silent_cameras(self, limit_s: float) -> tuple[str, ...]:
        """Say which cameras have been silent for longer than a limit while others have not."""
        now_ns = time.monotonic_ns()
        silences = [(now_ns - heard_ns) / 1e9 for heard_ns in self._heard_ns]
        if min(silences) > limit_s:
            return ()
        return tuple(
            f"no image from camera {camera.name} for {silence:.0f} s: poses come from the other cameras"
            for camera, silence in zip(self._cameras, silences, strict=True)
            if silence > limit_s
        )

    def _listen_anew(self) -> None:
        self._heard_ns = [time.monotonic_ns()] * len(self._cameras)

    def _obstacle(self, camera: int, message: Image | CompressedImage) -> tuple[Outcome, str, str] | None:
        """Return what a message that cannot be answered ends as, its cause and a warning; None for others."""
        if not self.is_enabled:
            return Outcome.DROPPED, DROPPED_DISABLED, ""
        try:
            # Here, where it costs microseconds: a bad message must not push a good frame out of the inbox.
            if isinstance(message, CompressedImage):
                check_compressed_image(message)
            else:
                check_image(message)
        except BadImageError as error:
            return Outcome.REFUSED, error.cause, f"image refused: {error}"
        problem = None if self._calibrations is None else self._calibrations.problem(camera)
        return None if problem is None else (Outcome.DROPPED, *problem)
