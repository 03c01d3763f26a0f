"""Whether a model's way is one that a camera can have gone: a wrong model of a video jumps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hyperpose_core.geometry.poses import Pose, orientation_errors_deg
from hyperpose_core.reconstruction.frames import FrameSet

_LONGEST_STEP = 12.0  # times the median one around it
_LARGEST_TURN_DEG = 50.0
_AROUND = 15  # frames


def jumps(poses: Mapping[str, Pose], frames: FrameSet) -> list[str]:
    """Return the frames of videos and bags that lie where the camera cannot have come to since the last one.

    Consecutive frames show much of the same, so the camera hardly turned between them, nor went many times as
    far as between others. Where things repeat or matches are few, parts of a model lie elsewhere, or upside
    down.

    Args:
        poses: of the registered frames, by name.
        frames: says which are consecutive.
    """
    found = []
    for source in frames.consecutive:
        members = [frame for frame in frames.frames if frame.source == source]
        pairs = [
            (first, second)
            for first, second in zip(members, members[1:], strict=False)
            if first.name in poses and second.name in poses and not second.starts_shot
        ]
        if not pairs:
            continue
        steps = np.array([np.linalg.norm(poses[b.name].position - poses[a.name].position) for a, b in pairs])
        turns = orientation_errors_deg(
            [poses[b.name].orientation for _, b in pairs], [poses[a.name].orientation for a, _ in pairs]
        )
        for place, (_, second) in enumerate(pairs):
            usual = float(np.median(steps[max(0, place - _AROUND) : place + _AROUND + 1]))
            if steps[place] > _LONGEST_STEP * usual or turns[place] > _LARGEST_TURN_DEG:
                found.append(second.name)
    return found
