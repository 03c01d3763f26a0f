"""The tree of frames in a rosbag2 file, at any time of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.rosbag_reading import Bag
from hyperpose_core.datasets.rosbag_tracks import Track, build_track, message_pose
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.frame_chains import connects, frame_name, pose_in
from hyperpose_core.geometry.poses import Pose

_TF_TYPE = "tf2_msgs/msg/TFMessage"
_TF_TOPIC = "/tf"
_STATIC = "_static"
_NANOSECONDS = 1_000_000_000


def _usual_topic(bag: Bag) -> str:
    """Return `/tf`, or where the bag has none the only such topic of a robot's own namespace."""
    names = {name.removesuffix(_STATIC) for name, kind in bag.topics.items() if kind == _TF_TYPE}
    namespaced = sorted(name for name in names if name.endswith(_TF_TOPIC))
    return namespaced[0] if len(namespaced) == 1 and _TF_TOPIC not in names else _TF_TOPIC


class TransformTree:
    """The frames of a bag's `/tf` and `/tf_static`, or of topics of a robot's own.

    Args:
        bag: an open bag.
        findings: gets the faults of the transforms.
        topic: the moving transforms; those that stand still are on the topic of that name with "_static".
            By default `/tf`, or the bag's only topic whose name ends so.

    Raises:
        HyperPoseError: the bag is damaged, has no such topic, or it is of another type.
    """

    def __init__(self, bag: Bag, findings: Findings, topic: str | None = None) -> None:
        self._bag = bag.path
        self._parents: dict[str, str] = {}
        self._static: dict[str, Pose] = {}
        self._moving: dict[str, Track] = defaultdict(lambda: build_track([]))
        moving: dict[str, list[tuple[int, Pose]]] = {}
        faults = Findings()
        if topic is not None and not {topic, topic + _STATIC} & set(bag.topics):
            bag.require(topic, (_TF_TYPE,))
        moving_topic = topic or _usual_topic(bag)
        for name in (moving_topic + _STATIC, moving_topic):
            for child, stamp_ns, pose in self._transforms(bag, name, faults):
                if name.endswith(_STATIC):
                    self._static[child] = pose
                else:
                    moving.setdefault(child, []).append((stamp_ns, pose))
        for child, samples in moving.items():
            self._moving[child] = build_track(samples)
        findings.take_faults(faults, "transforms")

    def listing(self) -> str:
        """Return the names of all frames, for people."""
        return ", ".join(sorted(self.frames())) or "none"

    def frames(self) -> set[str]:
        """Return the names of all frames."""
        return {*self._parents, *self._parents.values()}

    def children(self, parent: str) -> list[str]:
        """Return the names of the frames right below one."""
        return sorted(child for child, above in self._parents.items() if above == parent)

    def connects(self, parent: str, child: str) -> bool:
        """Tell whether both frames belong to one tree."""
        return connects(self._parents, parent, child)

    def at(self, parent: str, child: str, stamp_ns: int, longest_gap_ns: int) -> Pose:
        """Return the pose of one frame in another at a time.

        Raises:
            HyperPoseError: the tree does not connect them.
            NoPoseError: a transform between them is not known at that time.
        """

        def placement(frame: str) -> Pose:
            return self._static.get(frame) or self._moving[frame].at(stamp_ns, longest_gap_ns)

        pose = pose_in(self._parents, parent, child, placement)
        if pose is None:
            raise HyperPoseError(
                f"{self._bag}: TF does not connect {parent!r} and {child!r}; its frames: {self.listing()}"
            )
        return pose

    def _transforms(self, bag: Bag, topic: str, faults: Findings) -> Iterator[tuple[str, int, Pose]]:
        if topic not in bag.topics:
            return
        kind = bag.require(topic, (_TF_TYPE,))
        for raw in bag.messages(topic):
            for transform in bag.decode(raw, kind).transforms:
                stamp = transform.header.stamp
                stamp_ns = stamp.sec * _NANOSECONDS + stamp.nanosec
                child = frame_name(transform.child_frame_id)
                content = transform.transform
                pose = message_pose(content.translation, content.rotation, child, faults)
                # Where recordings give a frame two parents, the first one counts, as it does for tf2.
                parent = self._parents.setdefault(child, frame_name(transform.header.frame_id))
                if pose is not None and parent == frame_name(transform.header.frame_id):
                    yield child, stamp_ns, pose
