"""Adapter for rosbag2 files: an image topic, and ground truth from a pose topic, odometry or TF.

The ground truth is interpolated to the images' stamps; images in a gap of it are left out. Images stay in the
bag and are read one by one. No ROS is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hyperpose_core.datasets.findings import Findings, first_image_size
from hyperpose_core.datasets.options import parse_camera, parse_flag, parse_number, parse_numbers
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.rosbag_camera import check_camera_size, read_camera_info
from hyperpose_core.datasets.rosbag_poses import GroundTruth, GroundTruthOptions
from hyperpose_core.datasets.rosbag_reading import (
    COMPRESSED_IMAGE,
    RAW_IMAGE,
    STORAGE_SUFFIXES,
    Bag,
    BagImage,
    BagImages,
    bag_paths,
    header_of,
)
from hyperpose_core.datasets.rosbag_storage import check_recordings
from hyperpose_core.datasets.rosbag_tracks import NoPoseError
from hyperpose_core.datasets.splits import SplitPolicy
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose, euler_to_matrix, matrix_to_quaternion
from hyperpose_core.geometry.world import World

_IMAGE_TYPES = (RAW_IMAGE, COMPRESSED_IMAGE)
_NANOSECONDS = 1_000_000_000
_AXES = ("optical", "body")
_OPTICAL_IN_BODY = Pose(np.zeros(3), np.array([0.5, -0.5, 0.5, -0.5]))
_SKYWARD = 0.8  # the cosine of 37 degrees


@dataclass(frozen=True)
class _Topics:
    """What the options say about a bag's content; None where they say nothing."""

    image: str | None
    camera_info: str | None
    camera_frame: str | None
    camera: CameraModel | None
    ground_truth: GroundTruthOptions
    start_ns: int
    end_ns: int | None


@dataclass(frozen=True)
class _Frame:
    stamp_ns: int
    recorded_ns: int
    place: int


def open_rosbag(
    path: Path,
    split: str | None = None,
    image_topic: str | None = None,
    camera_info_topic: str | None = None,
    pose_topic: str | None = None,
    world_frame: str | None = None,
    pose_frame: str | None = None,
    camera_frame: str | None = None,
    extrinsics: str | Sequence[float] | None = None,
    max_gap: str | float = 0.5,
    origin: str | Sequence[float] | None = None,
    start: str | float | None = None,
    end: str | float | None = None,
    scene: str | None = None,
    block: str | int | None = None,
    test_every: str | int | None = None,
    test_fraction: str | float | None = None,
    test_sequences: str | Sequence[str] | None = None,
    camera_axes: str | None = None,
    same_world: str | bool = False,
    camera: str | CameraModel | None = None,
    tf_topic: str | None = None,
) -> PosedImageSet:
    """Read a bag, or a folder of bags that were recorded in one world.

    Each bag is a sequence, called by its name. Bags know no splits: see `splits.SplitPolicy` for how frames
    are divided; with several bags, `test_sequences` keeps whole ones for testing.

    Args:
        path: the bag's folder, its .mcap or .db3 file, or a folder of bags.
        split: "train", "test", or None for all.
        image_topic: raw or compressed images; the bag's only such topic by default.
        camera_info_topic: by default `camera_info` beside the image topic, where it is.
        pose_topic: PoseStamped, PoseWithCovarianceStamped or Odometry; the bag's only such topic by default.
        world_frame: take the ground truth from TF instead, in this frame; "map" where there is no pose topic,
            or odometry only.
        pose_frame: the frame whose pose the ground truth says. By default odometry's child frame, else the
            camera's.
        camera_frame: the camera's optical frame; the images' frame by default, or the one frame below it in
            TF that is called optical.
        extrinsics: pose of the camera's optical frame in `pose_frame` as x,y,z,roll,pitch,yaw in metres and
            radians; TF's by default.
        max_gap: the longest time between two ground truth poses to interpolate over, seconds.
        origin: where local (0, 0, 0) lies in the world frame, x,y,z in metres; to keep a far world (UTM)
            local.
        start: leave out images before this many seconds after each bag's first image.
        end: leave out images after this many seconds after each bag's first image.
        scene: the scene's name; the path's last part by default.
        block: consecutive frames a block.
        test_every: of so many blocks, one is for testing.
        test_fraction: the last fraction of every bag is for testing instead.
        test_sequences: these bags are for testing instead, separated by commas.
        camera_axes: what axes the camera's frame has: "optical" (x right, y down, z forward) or "body" (x
            forward, y left, z up). Optical by default, unless the camera would then look at the sky all the
            time.
        camera: the images' pinhole camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels; by default what camera_info
            says.
        tf_topic: the transforms of a robot with a namespace of its own, such as /robot1/tf; those that stand
            still are then on /robot1/tf_static. By default /tf, or the bag's only such topic.
        same_world: true takes several bags whose poses are in an odometry frame for one world.

    Raises:
        HyperPoseError: there is no bag, it is damaged or lacks what is needed (the message lists what it
            has), or an option is wrong.
    """
    policy = SplitPolicy.from_options(block, test_every, test_fraction, test_sequences)
    topics = _Topics(
        image=image_topic,
        camera_info=camera_info_topic,
        camera_frame=camera_frame,
        camera=parse_camera(camera),
        ground_truth=GroundTruthOptions(
            topic=pose_topic,
            world=world_frame,
            body=pose_frame,
            camera_is_said=camera_frame is not None,
            transforms=tf_topic,
            extrinsics=_parse_extrinsics(extrinsics),
            longest_gap_ns=round(parse_number("max_gap", max_gap, above=0.0) * _NANOSECONDS),
        ),
        start_ns=round(parse_number("start", start or 0.0) * _NANOSECONDS),
        end_ns=None if end is None else round(parse_number("end", end) * _NANOSECONDS),
    )
    zero = np.array(parse_numbers("origin", origin, 3) if origin is not None else [0.0, 0.0, 0.0])
    bags = bag_paths(path)
    if not bags:
        raise HyperPoseError(f"{path}: no bag (a folder with metadata.yaml, or a .mcap, .db3 or .bag file)")
    check_recordings(bags)
    name = path.absolute().stem if path.is_file() else path.absolute().name
    findings = Findings()
    parts = [_read_bag(bag, topics, scene or name, zero, findings) for bag in bags]
    images = findings.without_far_positions([image for part in parts for image in part.images])
    if not images:
        raise HyperPoseError(f"{path}: no image has a pose; left out: {findings.dropped or 'none'}")
    worlds = sorted({part.world for part in parts})
    if len(worlds) > 1:
        raise HyperPoseError(f"{path}: the bags' poses are in different frames: {', '.join(worlds)}")
    if (
        len(parts) > 1
        and any(part.is_odometry for part in parts)
        and not parse_flag("same_world", same_world)
    ):
        raise HyperPoseError(
            f"{path}: the poses of {len(parts)} bags are in frame {worlds[0]!r} of odometry, which begins "
            "anew with every recording: give option world_frame=map, if TF leads there, or pose_topic of "
            "poses in a map, or open one bag at a time; same_world=true if it did go on from bag to bag"
        )
    is_said = extrinsics is not None and camera_axes is None
    images = images if is_said else _with_optical_axes(images, camera_axes, worlds[0], path)
    cameras = {part.camera for part in parts}
    return PosedImageSet(
        name=name if split is None else f"{name} {split}",
        images=policy.select(images, split),
        world=World(description=f"frame {worlds[0]} of {name}", origin=zero, up=(0.0, 0.0, 1.0)),
        camera=cameras.pop() if len(cameras) == 1 else None,
        dropped=findings.dropped,
        faults=findings.faults,
    )


def _with_optical_axes(
    images: list[PosedImage], axes: str | None, world: str, path: Path
) -> list[PosedImage]:
    """Return images whose poses are those of optical frames, whatever axes they have been given with."""
    if axes not in (None, *_AXES):
        raise HyperPoseError(f"option camera_axes is {axes!r}; give {' or '.join(_AXES)}")
    if axes == "body":
        return [replace(image, pose=image.pose @ _OPTICAL_IN_BODY) for image in images]
    height = float(np.mean([image.pose.rotation()[2, 2] for image in images]))
    if axes is None and height > _SKYWARD:
        raise HyperPoseError(
            f"{path}: the poses' z axes point up in {world!r}, so that the camera would look at the "
            "sky: they are probably of a body (x forward, y left, z up). Give option camera_frame or "
            "pose_frame, if TF connects body and optical frame, camera_axes=body if the camera is where the "
            "poses are, or camera_axes=optical if it does look up"
        )
    return images


@dataclass(frozen=True, eq=False)
class _Part:
    images: list[PosedImage]
    camera: CameraModel | None
    world: str
    is_odometry: bool


def _read_bag(path: Path, topics: _Topics, scene: str, origin: np.ndarray, findings: Findings) -> _Part:
    with Bag(path) as bag:
        image_topic = topics.image or bag.only_topic(_IMAGE_TYPES, "image_topic")
        if image_topic is None:
            raise HyperPoseError(f"{path}: no image topic; it has: {bag.listing()}")
        kind = bag.require(image_topic, _IMAGE_TYPES)
        frames, camera_frame = _frames(bag, image_topic, topics, findings)
        camera_frame = topics.camera_frame or camera_frame
        ground_truth = GroundTruth(bag, topics.ground_truth, camera_frame, findings)
        camera = topics.camera or read_camera_info(bag, topics.camera_info, image_topic, findings)
    source = BagImages(path.absolute(), image_topic, kind)
    file = _storage_file(path)
    images = []
    for frame in frames:
        try:
            pose = ground_truth.at(frame.stamp_ns)
        except NoPoseError as error:
            findings.leave_out(str(error), f"{path.name} at {frame.stamp_ns / _NANOSECONDS:.3f} s")
            continue
        images.append(
            PosedImage(
                path=file,
                pose=Pose(pose.position - origin, pose.orientation),
                scene=scene,
                sequence=path.stem if path.is_file() else path.absolute().name,
                stamp_ns=frame.stamp_ns,
                reader=BagImage(source, frame.recorded_ns, frame.place),
            )
        )
    if camera is not None and (size := first_image_size(images)) is not None:
        check_camera_size(camera, size, f"{path}, {image_topic}")
    return _Part(images, camera, ground_truth.world, ground_truth.is_odometry)


def _frames(bag: Bag, topic: str, topics: _Topics, findings: Findings) -> tuple[list[_Frame], str]:
    """Return the images' times in order, and their frame of reference."""
    frames: dict[int, _Frame] = {}
    at_time: Counter[int] = Counter()
    last_ns: int | None = None
    camera_frame = ""
    for message in bag.messages(topic):
        stamp_ns, camera_frame = header_of(message)
        where = f"{bag.path.name}, {topic} at {stamp_ns}"
        if not stamp_ns:
            findings.fault("image without time stamp, recording time taken", where)
            stamp_ns = message.recorded_ns
        place = at_time[message.recorded_ns]
        at_time[message.recorded_ns] += 1
        if stamp_ns in frames:
            findings.leave_out_faulty("stamp that comes twice, the first image taken", where)
            continue
        if last_ns is not None and stamp_ns < last_ns:
            findings.fault("images' stamps not in order, sorted", where)
        frames[stamp_ns] = _Frame(stamp_ns, message.recorded_ns, place)
        last_ns = stamp_ns
    if not frames:
        raise HyperPoseError(f"{bag.path}: no images on {topic}")
    first_ns = min(frames)
    last_wanted_ns = max(frames) if topics.end_ns is None else first_ns + topics.end_ns
    wanted = [stamp for stamp in sorted(frames) if first_ns + topics.start_ns <= stamp <= last_wanted_ns]
    return [frames[stamp] for stamp in wanted], camera_frame


def _storage_file(path: Path) -> Path:
    """Return a file that changes when the bag does."""
    if path.is_file():
        return path
    files = [file for suffix in STORAGE_SUFFIXES for file in sorted(path.glob(f"*{suffix}*"))]
    return files[0] if files else path / "metadata.yaml"


def _parse_extrinsics(value: str | Sequence[float] | None) -> Pose | None:
    if value is None:
        return None
    x, y, z, roll, pitch, yaw = parse_numbers("extrinsics", value, 6)
    return Pose(np.array([x, y, z]), matrix_to_quaternion(euler_to_matrix(roll, pitch, yaw)))
