"""Poses over time, as messages give them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose, interpolate_poses

_NANOSECONDS = 1_000_000_000


class NoPoseError(HyperPoseError):
    """There is no ground truth at a time; the message says why and is short enough to be counted by."""


@dataclass(frozen=True, eq=False)
class Track:
    """A moving frame's poses over time.

    Attributes:
        stamps_ns: strictly increasing, int64 [N].
        poses: of the frame in its parent.
    """

    stamps_ns: npt.NDArray[np.int64]
    poses: list[Pose]

    def at(self, stamp_ns: int, longest_gap_ns: int) -> Pose:
        """Interpolate the pose at a stamp: linear in position, slerp in orientation.

        Raises:
            NoPoseError: the stamp lies outside the track, or in a gap that is too long.
        """
        if not len(self.stamps_ns) or not self.stamps_ns[0] <= stamp_ns <= self.stamps_ns[-1]:
            raise NoPoseError("outside the time of the ground truth")
        after = int(np.searchsorted(self.stamps_ns, stamp_ns))
        if self.stamps_ns[after] != stamp_ns:
            if self.stamps_ns[after] - self.stamps_ns[after - 1] > longest_gap_ns:
                seconds = longest_gap_ns / _NANOSECONDS
                raise NoPoseError(f"in a gap of the ground truth over {seconds:g} s")
        return interpolate_poses(self.stamps_ns, self.poses, stamp_ns)


def message_pose(position: object, orientation: object, name: str, faults: Findings) -> Pose | None:
    """Turn a message's position and orientation into a pose; None, and counted, where they are none."""
    vector = [getattr(position, axis) for axis in "xyz"]
    quaternion = [getattr(orientation, part) for part in "wxyz"]
    return faults.pose(vector, quaternion, name)


def build_track(samples: list[tuple[int, Pose]], faults: Findings | None = None, topic: str = "") -> Track:
    """Order samples (stamp in nanoseconds, pose) by time; of several at one time the first counts.

    Args:
        samples: in the order of their recording.
        faults: gets the stamps that come twice or not in order; None where neither is a fault.
        topic: what to call the samples there.
    """
    by_stamp: dict[int, Pose] = {}
    last_ns: int | None = None
    for stamp_ns, pose in samples:
        if faults is not None and stamp_ns in by_stamp:
            faults.fault("stamp that comes twice, the first one taken", f"{topic} at {stamp_ns}")
        elif faults is not None and last_ns is not None and stamp_ns < last_ns:
            faults.fault("stamps not in order, sorted", f"{topic} at {stamp_ns}")
        by_stamp.setdefault(stamp_ns, pose)
        last_ns = stamp_ns
    stamps = sorted(by_stamp)
    return Track(np.array(stamps, dtype=np.int64), [by_stamp[stamp] for stamp in stamps])
