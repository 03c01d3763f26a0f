"""Ground truth from rosbag2 files: the camera's pose from a pose topic, an odometry topic, or TF."""

from __future__ import annotations

from dataclasses import dataclass

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.rosbag_reading import Bag, header_of
from hyperpose_core.datasets.rosbag_tracks import Track, build_track, message_pose
from hyperpose_core.datasets.rosbag_transforms import TransformTree
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.frame_chains import frame_name
from hyperpose_core.geometry.poses import Pose

POSE_TYPES = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "nav_msgs/msg/Odometry",
)
_ODOMETRY = "nav_msgs/msg/Odometry"
_USUAL_WORLD = "map"
_LASTING_WORLDS = ("map", "world", "earth", "ecef", "utm", "enu", "ned", "global")
_NANOSECONDS = 1_000_000_000


class NoGroundTruthError(HyperPoseError):
    """A bag says of nothing where it was; its images may be fine."""


@dataclass(frozen=True, eq=False)
class PoseTopic:
    """What a pose topic says.

    Attributes:
        track: the poses.
        world: the frame they are in.
        body: the frame they are of; empty where the messages don't say.
    """

    track: Track
    world: str
    body: str


@dataclass(frozen=True)
class GroundTruthOptions:
    """Where a bag's ground truth is; None where nothing is said.

    Attributes:
        topic: the pose topic.
        world: take the ground truth from TF, in this frame.
        body: the frame whose pose it is.
        camera_is_said: whether the user named the camera's optical frame, so that it is not looked for.
        transforms: the topic of transforms, where it is not `/tf`.
        extrinsics: the camera's optical frame in `body`.
        longest_gap_ns: the longest time to interpolate over.
    """

    topic: str | None = None
    world: str | None = None
    body: str | None = None
    camera_is_said: bool = False
    transforms: str | None = None
    extrinsics: Pose | None = None
    longest_gap_ns: int = _NANOSECONDS // 2


class GroundTruth:
    """The camera's pose at any time of a bag.

    Where nothing is said, TF's way to a map goes before odometry, which drifts and begins anew with every
    recording.

    Args:
        bag: an open bag.
        options: where its ground truth is.
        camera: the camera's optical frame.
        findings: gets the faults of the ground truth.

    Raises:
        HyperPoseError: the bag has no such ground truth (the message lists what it has), TF does not lead
            from it to the camera, or the bag is damaged.

    Attributes:
        world: the frame that poses are in.
        is_odometry: whether that frame lies elsewhere in every recording (REP-105).
    """

    def __init__(self, bag: Bag, options: GroundTruthOptions, camera: str, findings: Findings) -> None:
        self._options = options
        self._tree = TransformTree(bag, findings, options.transforms)
        self._camera = self._optical_frame(frame_name(camera), options, findings)
        self._track: Track | None = None
        topic = options.topic
        if topic is None and options.world is None:
            topic = self._usual_topic(bag)
        if topic is not None:
            said = read_pose_topic(bag, topic, findings)
            self._track = said.track
            self.world = said.world
            self._body = options.body or said.body or self._camera
        else:
            self.world = options.world or self._map_frame() or _USUAL_WORLD
            self._body = options.body or self._camera
        self.is_odometry = _begins_anew(self.world, bag.topics.get(topic or "", ""))
        self._check_connections(bag)

    def at(self, stamp_ns: int) -> Pose:
        """Return the pose of the camera's optical frame in `world` at a stamp.

        Raises:
            NoPoseError: the ground truth doesn't say it.
        """
        gap_ns = self._options.longest_gap_ns
        if self._track is not None:
            body = self._track.at(stamp_ns, gap_ns)
        else:
            body = self._tree.at(self.world, self._body, stamp_ns, gap_ns)
        if self._options.extrinsics is not None:
            return body @ self._options.extrinsics
        if self._body == self._camera:
            return body
        return body @ self._tree.at(self._body, self._camera, stamp_ns, gap_ns)

    def _optical_frame(self, camera: str, options: GroundTruthOptions, findings: Findings) -> str:
        """Return the camera's optical frame: where images name its body's, the one that TF has below it."""
        if options.extrinsics is not None or options.camera_is_said or "optical" in camera:
            return camera
        below = [name for name in self._tree.children(camera) if "optical" in name]
        if len(below) != 1:
            return camera
        findings.fault(
            "images stamped with a body's frame, its optical frame in TF taken", f"{camera}, {below[0]}"
        )
        return below[0]

    def _usual_topic(self, bag: Bag) -> str | None:
        """Return the bag's only pose topic; None where TF leads to a map and the rest is odometry."""
        kinds = {name: kind for name, kind in bag.topics.items() if kind in POSE_TYPES}
        worlds = {name: frame_name(header_of(next(bag.messages(name)))[1]) for name in kinds}
        if all(_begins_anew(worlds[name], kind) for name, kind in kinds.items()) and self._map_frame():
            return None
        return bag.only_topic(POSE_TYPES, "pose_topic, or world_frame for TF")

    def _map_frame(self) -> str | None:
        """Return the map's frame that TF connects with the camera."""
        named = sorted(name for name in self._tree.frames() if name.rpartition("/")[2] == _USUAL_WORLD)
        return next((name for name in named if self._tree.connects(name, self._camera)), None)

    def _check_connections(self, bag: Bag) -> None:
        if self._track is None and not self._tree.connects(self.world, self._body):
            raise NoGroundTruthError(
                f"{bag.path}: no pose topic, and TF does not connect {self.world!r} and {self._body!r}; give "
                "option pose_topic, world_frame, pose_frame or tf_topic. TF frames: "
                f"{self._tree.listing()}; topics: "
                f"{bag.listing()}"
            )
        if self._options.extrinsics is None and not self._tree.connects(self._body, self._camera):
            raise HyperPoseError(
                f"{bag.path}: the ground truth is of frame {self._body!r}, the camera's is {self._camera!r}, "
                "and TF does not connect them; give option extrinsics, camera_frame or pose_frame. "
                f"TF frames: {self._tree.listing()}"
            )


def read_pose_topic(bag: Bag, topic: str, findings: Findings) -> PoseTopic:
    """Read the poses of a PoseStamped, PoseWithCovarianceStamped or Odometry topic.

    Poses that are none, stamps that come twice or not in order are put right and counted.

    Raises:
        HyperPoseError: the topic is missing or of another type, has no usable pose, or the bag is damaged.
    """
    kind = bag.require(topic, POSE_TYPES)
    faults = Findings()
    samples: list[tuple[int, Pose]] = []
    world = body = ""
    for raw in bag.messages(topic):
        stamp_ns, world = header_of(raw)
        message = bag.decode(raw, kind)
        if not stamp_ns:
            faults.fault("no time stamp, recording time taken", f"{topic} at {raw.recorded_ns}")
            stamp_ns = raw.recorded_ns
        content = message.pose if kind == POSE_TYPES[0] else message.pose.pose
        body = getattr(message, "child_frame_id", "")
        pose = message_pose(content.position, content.orientation, f"{topic} at {stamp_ns}", faults)
        if pose is not None:
            samples.append((stamp_ns, pose))
    track = build_track(samples, faults, topic)
    findings.take_faults(faults, "ground truth")
    if not len(track.stamps_ns):
        raise HyperPoseError(f"{bag.path}: no usable pose on {topic}")
    return PoseTopic(track, frame_name(world), frame_name(body))


def _begins_anew(frame: str, kind: str) -> bool:
    """Tell by its name, and the type that says poses in it, whether a world begins anew with recordings."""
    name = frame.rpartition("/")[2]
    return "odom" in name or (kind == _ODOMETRY and name not in _LASTING_WORLDS)
