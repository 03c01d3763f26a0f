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
_USUAL_WORLD = "map"
_NANOSECONDS = 1_000_000_000


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
        extrinsics: the camera's optical frame in `body`.
        longest_gap_ns: the longest time to interpolate over.
    """

    topic: str | None = None
    world: str | None = None
    body: str | None = None
    extrinsics: Pose | None = None
    longest_gap_ns: int = _NANOSECONDS // 2


class GroundTruth:
    """The camera's pose at any time of a bag.

    Args:
        bag: an open bag.
        options: where its ground truth is.
        camera: the camera's optical frame.
        findings: gets the faults of the ground truth.

    Raises:
        HyperPoseError: the bag has no such ground truth (the message lists what it has), TF does not lead
            from it to the camera, or the bag is damaged.
    """

    def __init__(self, bag: Bag, options: GroundTruthOptions, camera: str, findings: Findings) -> None:
        self._options = options
        self._camera = frame_name(camera)
        self._tree = TransformTree(bag, findings)
        self._track: Track | None = None
        topic = options.topic
        if topic is None and options.world is None:
            topic = bag.only_topic(POSE_TYPES, "pose_topic, or world_frame for TF")
        if topic is not None:
            said = read_pose_topic(bag, topic, findings)
            self._track = said.track
            self.world = said.world
            self._body = options.body or said.body or self._camera
        else:
            self.world = options.world or _USUAL_WORLD
            self._body = options.body or self._camera
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

    def _check_connections(self, bag: Bag) -> None:
        if self._track is None and not self._tree.connects(self.world, self._body):
            raise HyperPoseError(
                f"{bag.path}: no pose topic, and TF does not connect {self.world!r} and {self._body!r}; give "
                f"option pose_topic, world_frame or pose_frame. TF frames: {self._tree.listing()}; topics: "
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
