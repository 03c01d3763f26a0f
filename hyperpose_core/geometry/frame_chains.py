"""Chains of frames, each of which says which frame is its parent: the shape of TF."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hyperpose_core.geometry.poses import Pose

LONGEST_CHAIN = 1000
"""Frames above one another that are followed; robots have a few dozen, damaged data may have any number."""


def frame_name(name: str) -> str:
    """Return a frame's name as TF2 has it, without a slash in front."""
    return name.lstrip("/")


def connects(parents: Mapping[str, str], first: str, second: str) -> bool:
    """Tell whether two frames belong to one tree; `parents` maps each frame but the roots to its parent."""
    return bool(set(_upwards(parents, first)) & set(_upwards(parents, second)))


def is_above(parents: Mapping[str, str], upper: str, lower: str) -> bool:
    """Tell whether the way up from one frame leads to another; `parents` as in `connects`."""
    return upper in _upwards(parents, lower)


def between(parents: Mapping[str, str], first: str, second: str) -> tuple[list[str], list[str]] | None:
    """Return the frames below the one that two frames have in common, on the way up from each of the two.

    Returns:
        for each of the two itself and what is above it; None where they do not belong to one tree.
    """
    above_first, above_second = _upwards(parents, first), _upwards(parents, second)
    known = set(above_first)
    common = next((frame for frame in above_second if frame in known), None)
    if common is None:
        return None
    return above_first[: above_first.index(common)], above_second[: above_second.index(common)]


def pose_in(
    parents: Mapping[str, str], parent: str, child: str, placement: Callable[[str], Pose]
) -> Pose | None:
    """Return the pose of one frame in another, up from both to the frame that they have in common.

    Args:
        parents: each frame but the roots -> its parent.
        parent: the frame to express the pose in.
        child: the frame whose pose it is.
        placement: gives a frame's pose in its own parent; asked for the frames on the way only.

    Returns:
        the pose, or None where the frames do not belong to one tree.
    """
    ways = between(parents, parent, child)
    if ways is None:
        return None
    to_parent, to_child = (_chain(way, placement) for way in ways)
    return to_parent.inverse() @ to_child


def _upwards(parents: Mapping[str, str], frame: str) -> list[str]:
    chain = {frame: None}
    # A frame that comes again closes a circle, which damaged data may hold.
    while (parent := parents.get(frame)) is not None and parent not in chain and len(chain) < LONGEST_CHAIN:
        chain[parent] = None
        frame = parent
    return list(chain)


def _chain(frames: list[str], placement: Callable[[str], Pose]) -> Pose:
    """Return the pose of the first frame in the parent of the last."""
    pose = Pose.identity()
    for frame in frames:
        pose = placement(frame) @ pose
    return pose
