"""Where images were taken by something else: a TUM file, a topic of a bag, or GPS in photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.rosbag_poses import POSE_TYPES, GroundTruth, GroundTruthOptions, read_pose_topic
from hyperpose_core.datasets.rosbag_reading import COMPRESSED_IMAGE, RAW_IMAGE, Bag, header_of
from hyperpose_core.datasets.rosbag_tracks import NoPoseError, Track, build_track
from hyperpose_core.datasets.tum import read_tum_file
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.reconstruction.frames import Frame, FrameSet
from hyperpose_core.reconstruction.scale import ScaleError
from hyperpose_core.reconstruction.sources import Source

EXIF = "exif"
"""What --track is called for GPS in the photographs."""

_FIX = "sensor_msgs/msg/NavSatFix"
_LONGEST_GAP_NS = 1_500_000_000
_NANOSECONDS = 1_000_000_000
_IDENTITY = np.array([1.0, 0.0, 0.0, 0.0])


@dataclass(frozen=True, eq=False)
class TrackedFrames:
    """Where K frames were, by a track.

    Attributes:
        names: of the frames.
        positions: of the tracked body [K, 3], metres.
        orientations: of the tracked body (w, x, y, z) [K, 4]; None where the track has none.
        is_of_camera: whether the body is the camera itself.
        origin: the track, for people.
        frame: what the positions are in, for people.
    """

    names: tuple[str, ...]
    positions: Array
    orientations: Array | None
    is_of_camera: bool
    origin: str
    frame: str


def read_track(
    track: str, offset_s: float, frames: FrameSet, sources: Sequence[Source], image_topic: str | None
) -> TrackedFrames:
    """Say where frames were by a track.

    Args:
        track: a TUM file, a topic of the bags (poses, odometry or NavSatFix), or "exif".
        offset_s: what is to be added to an image's stamp to have the track's, seconds.
        frames: their stamps and locations say where on the track they are.
        sources: where a topic is looked for.
        image_topic: a bag's image topic; its only one where None.

    Raises:
        ScaleError: the track says nothing about the frames.
        HyperPoseError: a file or a bag cannot be read, or a bag has no such topic.
    """
    if track == EXIF:
        return _from_locations(frames)
    bags = [source for source in sources if source.kind == "bag"]
    if not Path(track).exists() and bags:
        return _from_bags(track, offset_s, frames, bags, image_topic)
    stamps_ns, poses = read_tum_file(Path(track))
    known = build_track(list(zip(stamps_ns.tolist(), poses, strict=True)))
    names, found = _poses_at(known, frames.frames, offset_s)
    if len(names) < 3:
        raise ScaleError(_mismatch(track, known, frames.frames))
    return _tracked(names, found, False, f"track {Path(track).name}", f"frame of {Path(track).name}")


def _from_bags(
    topic: str, offset_s: float, frames: FrameSet, bags: Sequence[Source], image_topic: str | None
) -> TrackedFrames:
    names: list[str] = []
    poses: list[Pose] = []
    is_of_camera, world, has_orientation = True, "", True
    for source in bags:
        members = [frame for frame in frames.frames if frame.source == source.name]
        with Bag(source.path) as bag:
            kind = bag.require(topic, (*POSE_TYPES, _FIX))
            if kind == _FIX:
                track, world, has_orientation, is_of_camera = (
                    _fixes(bag, topic),
                    "local east-north-up",
                    False,
                    False,
                )
                found = _poses_at(track, members, offset_s)
            else:
                found, world, of_camera = _from_poses(bag, topic, members, offset_s, image_topic)
                is_of_camera &= of_camera
        names += found[0]
        poses += found[1]
    if len(names) < 3:
        raise ScaleError(f"track {topic}: says nothing about the time of the images")
    tracked = _tracked(
        names,
        poses,
        is_of_camera,
        f"track {topic}",
        f"frame {world} of the bag" if has_orientation else world,
    )
    if has_orientation:
        return tracked
    return TrackedFrames(tracked.names, tracked.positions, None, False, tracked.origin, tracked.frame)


def _from_poses(
    bag: Bag, topic: str, members: Sequence[Frame], offset_s: float, image_topic: str | None
) -> tuple[tuple[list[str], list[Pose]], str, bool]:
    """Return the camera's poses where TF leads from the tracked body to it, else the body's."""
    images = image_topic or bag.only_topic((RAW_IMAGE, COMPRESSED_IMAGE), "--image-topic") or ""
    _, camera_frame = header_of(next(bag.messages(images)))
    try:
        truth = GroundTruth(bag, GroundTruthOptions(topic=topic), camera_frame, Findings())
    except HyperPoseError:
        said = read_pose_topic(bag, topic, Findings())
        return _poses_at(said.track, members, offset_s), said.world, False
    names, poses = [], []
    for frame in members:
        try:
            poses.append(truth.at(_stamp(frame, offset_s)))
        except NoPoseError:
            continue
        names.append(frame.name)
    return (names, poses), truth.world, True


def _fixes(bag: Bag, topic: str) -> Track:
    """Return NavSatFix messages as positions east, north and up of the first one."""
    samples: list[tuple[int, tuple[float, float, float]]] = []
    for raw in bag.messages(topic):
        message = bag.decode(raw, _FIX)
        place = (message.latitude, message.longitude, message.altitude)
        if message.status.status >= 0 and np.isfinite(place).all():
            samples.append((header_of(raw)[0] or raw.recorded_ns, place))
    if not samples:
        raise ScaleError(f"track {topic}: has no fix")
    local = _east_north_up(np.array([place for _, place in samples]))
    return build_track(
        [(stamp, Pose(position, _IDENTITY)) for (stamp, _), position in zip(samples, local, strict=True)]
    )


def _from_locations(frames: FrameSet) -> TrackedFrames:
    located = [frame for frame in frames.frames if frame.location is not None]
    if len(located) < 3:
        raise ScaleError(
            f"track exif: {len(located)} of {len(frames.frames)} images have a GPS position in EXIF"
        )
    places = np.array([frame.location for frame in located])
    latitude, longitude, _ = places[0]
    return TrackedFrames(
        tuple(frame.name for frame in located),
        _east_north_up(places),
        None,
        False,
        f"GPS of {len(located)} photographs",
        f"local east-north-up at {latitude:.6f}, {longitude:.6f}",
    )


def _east_north_up(places: Array) -> Array:
    """Turn latitude, longitude (degrees) and altitude (metres) [N, 3] to metres from the first one [N, 3]."""
    return np.asarray(pycolmap.GPSTransform().ellipsoid_to_enu(places, *places[0]), dtype=np.float64)


def _poses_at(track: Track, frames: Sequence[Frame], offset_s: float) -> tuple[list[str], list[Pose]]:
    names, poses = [], []
    for frame in frames:
        if frame.stamp_ns is None:
            continue
        try:
            poses.append(track.at(_stamp(frame, offset_s), _LONGEST_GAP_NS))
        except NoPoseError:
            continue
        names.append(frame.name)
    return names, poses


def _stamp(frame: Frame, offset_s: float) -> int:
    if frame.stamp_ns is None:
        raise NoPoseError("image without a stamp")
    return frame.stamp_ns + round(offset_s * _NANOSECONDS)


def _mismatch(track: str, known: Track, frames: Sequence[Frame]) -> str:
    stamps = [frame.stamp_ns for frame in frames if frame.stamp_ns is not None]
    if not stamps:
        return f"track {track}: the images have no stamps; name them by seconds (1305031102.175304.png)"
    first, last = (stamp / _NANOSECONDS for stamp in (min(stamps), max(stamps)))
    begin, end = known.stamps_ns[0] / _NANOSECONDS, known.stamps_ns[-1] / _NANOSECONDS
    return (
        f"track {track}: is from {begin:.2f} to {end:.2f} s, the images from {first:.2f} to {last:.2f} s; "
        f"give --track-offset SECONDS (such as {begin - first:.2f})"
    )


def _tracked(
    names: Sequence[str], poses: Sequence[Pose], is_of_camera: bool, origin: str, frame: str
) -> TrackedFrames:
    return TrackedFrames(
        tuple(names),
        np.array([pose.position for pose in poses]).reshape(-1, 3),
        np.array([pose.orientation for pose in poses]).reshape(-1, 4),
        is_of_camera,
        origin,
        frame,
    )
