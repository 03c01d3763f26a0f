"""Miniatures of datasets' official layouts, all showing the same known cameras in the same world.

The world has z up. Camera i stands at (1 + 0.5 i, 2, 3), upright, and looks along +y, turned by 0.1 i to the
left. What each format makes of that is written down here from its documentation, not with the project's code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from conftest import draw_image
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from transforms3d.quaternions import mat2quat

FOCAL = 100.0
WIDTH, HEIGHT = 128, 96
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000


@dataclass(frozen=True)
class Shot:
    """One frame: where its camera stands, and how far its quaternion is from unit norm."""

    index: int
    position: np.ndarray
    stamp_ns: int
    norm: float = 1.0

    @property
    def right(self) -> np.ndarray:
        return np.array([np.cos(0.1 * self.index), np.sin(0.1 * self.index), 0.0])

    @property
    def forward(self) -> np.ndarray:
        return np.array([-np.sin(0.1 * self.index), np.cos(0.1 * self.index), 0.0])

    @property
    def down(self) -> np.ndarray:
        return np.array([0.0, 0.0, -1.0])

    @property
    def camera_to_world(self) -> np.ndarray:
        return np.stack([self.right, self.down, self.forward], axis=1)

    def quaternion(self, rotation: np.ndarray) -> np.ndarray:
        return self.norm * mat2quat(rotation)

    def image(self) -> np.ndarray:
        return draw_image(self.index, HEIGHT, WIDTH)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(self.image(), cv2.COLOR_RGB2BGR))


def shots(count: int = 10, start: int = 0) -> list[Shot]:
    return [
        Shot(index, np.array([1.0 + 0.5 * index, 2.0, 3.0]), START_NS + index * PERIOD_NS)
        for index in range(start, start + count)
    ]


def changed(frames: Sequence[Shot], index: int, **changes: Any) -> list[Shot]:
    return [replace(frame, **changes) if frame.index == index else frame for frame in frames]


def write_csv(folder: Path, frames: Iterable[Shot]) -> Path:
    lines = ["scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4,stamp_ns"]
    for frame in frames:
        name = f"toytown/seq1/{frame.index:05d}.png"
        frame.save(folder / name)
        split = "test" if frame.index >= 8 else "train"
        numbers = [*frame.position, *frame.quaternion(frame.camera_to_world)]
        lines.append(f"toytown,{split},seq1,{name},{','.join(map(repr_of, numbers))},{frame.stamp_ns}")
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_seven_scenes(folder: Path, frames: Iterable[Shot]) -> Path:
    for frame in frames:
        sequence = folder / ("seq-02" if frame.index >= 8 else "seq-01")
        frame.save(sequence / f"frame-{frame.index:06d}.color.png")
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = frame.camera_to_world, frame.position
        np.savetxt(sequence / f"frame-{frame.index:06d}.pose.txt", matrix)
    (folder / "TrainSplit.txt").write_text("sequence1\n")
    (folder / "TestSplit.txt").write_text("sequence2\n")
    return folder


def write_cambridge(folder: Path, frames: Iterable[Shot]) -> Path:
    head = ["Visual Landmark Dataset V1", "ImageFile, Camera Position [X Y Z W P Q R]", ""]
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for frame in frames:
        split = "test" if frame.index >= 8 else "train"
        name = f"{'seq2' if split == 'test' else 'seq1'}/frame{frame.index:05d}.png"
        frame.save(folder / name)
        world_to_camera = frame.quaternion(frame.camera_to_world.T)
        rows[split].append(" ".join([name, *map(repr_of, [*frame.position, *world_to_camera])]))
    for split, lines in rows.items():
        (folder / f"dataset_{split}.txt").write_text("\n".join(head + lines) + "\n")
    return folder


def write_colmap_text(folder: Path, frames: Sequence[Shot]) -> Path:
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    camera = f"1 SIMPLE_RADIAL {WIDTH} {HEIGHT} {FOCAL} {WIDTH / 2} {HEIGHT / 2} 0.1"
    (model / "cameras.txt").write_text(f"# Camera list\n{camera}\n")
    lines = ["# Image list with two lines of data per image:"]
    # COLMAP numbers images in whatever order they were registered.
    for frame in reversed(frames):
        name, quaternion, translation = _colmap_image(folder, frame)
        numbers = " ".join(map(repr_of, [*quaternion, *translation]))
        points = "10.5 20.5 -1 30.5 40.5 7" if frame.index % 2 else ""
        lines += [f"{frame.index + 1} {numbers} 1 {name}", points]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_colmap_binary(folder: Path, frames: Sequence[Shot]) -> Path:
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    camera = struct.pack("<IiQQ4d", 1, 2, WIDTH, HEIGHT, FOCAL, WIDTH / 2, HEIGHT / 2, 0.1)
    (model / "cameras.bin").write_bytes(struct.pack("<Q", 1) + camera)
    data = struct.pack("<Q", len(frames))
    for frame in reversed(frames):
        name, quaternion, translation = _colmap_image(folder, frame)
        data += struct.pack("<I7dI", frame.index + 1, *quaternion, *translation, 1)
        data += (
            name.encode()
            + b"\0"
            + struct.pack("<Q", frame.index)
            + frame.index * struct.pack("<ddq", 1, 2, -1)
        )
    (model / "images.bin").write_bytes(data)
    return folder


def _colmap_image(folder: Path, frame: Shot) -> tuple[str, np.ndarray, np.ndarray]:
    name = f"my photos/IMG_{frame.index}.png"
    frame.save(folder / "images" / name)
    world_to_camera = frame.camera_to_world.T
    return name, frame.quaternion(world_to_camera), -world_to_camera @ frame.position


def write_transforms(folder: Path, frames: Iterable[Shot], lists: bool = False) -> Path:
    entries = []
    for frame in frames:
        name = f"images/frame_{frame.index}.png"
        frame.save(folder / name)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([frame.right, -frame.down, -frame.forward], axis=1)
        matrix[:3, 3] = frame.position
        entries.append({"file_path": name, "transform_matrix": matrix.tolist()})
    content: dict[str, Any] = {
        "camera_model": "OPENCV",
        "fl_x": FOCAL,
        "fl_y": FOCAL,
        "cx": WIDTH / 2,
        "cy": HEIGHT / 2,
        "w": WIDTH,
        "h": HEIGHT,
        "k1": 0.1,
        "frames": entries,
    }
    if lists:
        content["train_filenames"] = [entry["file_path"] for entry in entries[:8]]
        content["test_filenames"] = [entry["file_path"] for entry in entries[8:]]
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


@dataclass(frozen=True)
class BagContent:
    """What a bag is to hold.

    How images are stored, what says the ground truth and when, which place in the order of recording a frame
    has, whether two frames each are recorded at one time, and what frame images are stamped with.
    """

    storage: str = "mcap"
    compressed: bool = False
    truth: str = "pose"
    truth_stamps_ns: Sequence[int] | None = None
    extra_images: bool = False
    distortion: Sequence[float] = (0.1, 0.0, 0.0, 0.0, 0.0)
    order: Mapping[int, int] = field(default_factory=dict)
    pairs: bool = False
    image_frame: str = "camera_optical"


# The camera sits 0.2 m ahead of base_link and 0.5 m above it, and looks the way the robot goes.
EXTRINSICS = ((0.2, 0.0, 0.5), mat2quat(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])))


def base_link(frame: Shot) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation and the position of base_link as a frame is taken."""
    base = np.stack([frame.forward, -frame.right, -frame.down], axis=1)
    return base, frame.position - base @ np.array(EXTRINSICS[0])


def write_bag(folder: Path, frames: Sequence[Shot], content: BagContent = BagContent()) -> Path:  # noqa: B008
    types = get_typestore(Stores.ROS2_HUMBLE).types
    writer = BagWriter(folder, content.storage, types)
    if content.truth in ("odometry", "tf"):
        static = writer.transform("base_link", "camera_optical", *EXTRINSICS, 0)
        writer.add("/tf_static", "tf2_msgs/msg/TFMessage", frames[0].stamp_ns, transforms=[static])
    recorded = sorted(frames, key=lambda frame: content.order.get(frame.index, frame.index))
    for place, frame in enumerate(recorded):
        recorded_ns = START_NS + (place - place % 2 if content.pairs else place) * PERIOD_NS + 5_000_000
        writer.image(frame, recorded_ns, content)
        if content.truth_stamps_ns is None:
            writer.truth(frame, recorded_ns, frame.stamp_ns, content.truth)
    for stamp_ns in content.truth_stamps_ns or ():
        index = round((stamp_ns - START_NS) / PERIOD_NS)
        writer.truth(shots(1, index)[0], stamp_ns, stamp_ns, content.truth)
    writer.close()
    return folder


class BagWriter:
    def __init__(self, folder: Path, storage: str, types: Mapping[str, Any]) -> None:
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
        self._writer.open()
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        self._types = types
        self._connections: dict[str, Any] = {}

    def close(self) -> None:
        self._writer.close()

    def make(self, kind: str, **fields: Any) -> Any:
        return self._types[kind](**fields)

    def header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self.make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def vector(self, kind: str, values: Iterable[float]) -> Any:
        return self.make(f"geometry_msgs/msg/{kind}", **dict(zip("xyz", map(float, values), strict=True)))

    def rotation(self, wxyz: Sequence[float]) -> Any:
        w, x, y, z = map(float, wxyz)
        return self.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def transform(self, parent: str, child: str, position: Any, wxyz: Any, stamp_ns: int) -> Any:
        transform = self.make(
            "geometry_msgs/msg/Transform",
            translation=self.vector("Vector3", position),
            rotation=self.rotation(wxyz),
        )
        header = self.header(stamp_ns, parent)
        kind = "geometry_msgs/msg/TransformStamped"
        return self.make(kind, header=header, child_frame_id=child, transform=transform)

    def add(self, topic: str, kind: str, recorded_ns: int, **fields: Any) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._store)
        data = self._store.serialize_cdr(self.make(kind, **fields), kind)
        self._writer.write(self._connections[topic], recorded_ns, data)

    def image(self, frame: Shot, recorded_ns: int, content: BagContent) -> None:
        header = self.header(frame.stamp_ns, content.image_frame)
        zero = [0.0] * 9
        k = [FOCAL, 0.0, 63.5, 0.0, FOCAL, 47.5, 0.0, 0.0, 1.0]
        self.add(
            "/camera/camera_info",
            "sensor_msgs/msg/CameraInfo",
            recorded_ns,
            header=header,
            height=HEIGHT,
            width=WIDTH,
            distortion_model="plumb_bob",
            d=np.array(content.distortion),
            k=np.array(k),
            r=np.array(zero),
            p=np.array([*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]),
            binning_x=0,
            binning_y=0,
            roi=self.make(
                "sensor_msgs/msg/RegionOfInterest",
                x_offset=0,
                y_offset=0,
                height=0,
                width=0,
                do_rectify=False,
            ),
        )
        bgr = cv2.cvtColor(frame.image(), cv2.COLOR_RGB2BGR)
        if content.compressed:
            data = cv2.imencode(".png", bgr)[1].ravel()
            kind = "sensor_msgs/msg/CompressedImage"
            topic = "/camera/image_raw/compressed"
            self.add(topic, kind, recorded_ns, header=header, format="png", data=data)
            return
        # Rows end with padding, as some drivers' do.
        padded = np.pad(bgr.reshape(HEIGHT, -1), ((0, 0), (0, 16)))
        for topic in ("/camera/image_raw", *(["/depth/image_raw"] if content.extra_images else [])):
            self.add(
                topic,
                "sensor_msgs/msg/Image",
                recorded_ns,
                header=header,
                height=HEIGHT,
                width=WIDTH,
                encoding="bgr8",
                is_bigendian=0,
                step=padded.shape[1],
                data=padded.ravel(),
            )

    def truth(self, frame: Shot, recorded_ns: int, stamp_ns: int, kind: str) -> None:
        """Write the camera's pose, or base_link's, which looks along its x axis."""
        if kind == "none":
            return
        if kind == "pose":
            pose = self.pose(frame.position, frame.quaternion(frame.camera_to_world))
            header = self.header(stamp_ns, "map")
            self.add("/truth", "geometry_msgs/msg/PoseStamped", recorded_ns, header=header, pose=pose)
            return
        base, position = base_link(frame)
        wxyz = frame.quaternion(base)
        if kind == "tf":
            # map -> odom stands still, odom -> base_link moves.
            moved = self.transform("odom", "base_link", position - np.array([10.0, 0.0, 0.0]), wxyz, stamp_ns)
            corrected = self.transform("map", "odom", (10.0, 0.0, 0.0), (1, 0, 0, 0), stamp_ns)
            self.add("/tf", "tf2_msgs/msg/TFMessage", recorded_ns, transforms=[moved, corrected])
            return
        self.odometry("map", position, wxyz, stamp_ns, recorded_ns)

    def odometry(self, frame: str, position: Any, wxyz: Any, stamp_ns: int, recorded_ns: int) -> None:
        covariance = np.zeros(36)
        stamped = self.make(
            "geometry_msgs/msg/PoseWithCovariance", pose=self.pose(position, wxyz), covariance=covariance
        )
        still = self.vector("Vector3", (0, 0, 0))
        twist = self.make("geometry_msgs/msg/Twist", linear=still, angular=still)
        self.add(
            "/odom",
            "nav_msgs/msg/Odometry",
            recorded_ns,
            header=self.header(stamp_ns, frame),
            child_frame_id="base_link",
            pose=stamped,
            twist=self.make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=covariance),
        )

    def pose_stamped(self, position: Any, wxyz: Any, stamp_ns: int) -> None:
        header, pose = self.header(stamp_ns, "map"), self.pose(position, wxyz)
        self.add("/amcl/pose", "geometry_msgs/msg/PoseStamped", stamp_ns, header=header, pose=pose)

    def transforms(self, stamp_ns: int, *transforms: Any, topic: str = "/tf") -> None:
        self.add(topic, "tf2_msgs/msg/TFMessage", stamp_ns, transforms=list(transforms))

    def pose(self, position: Any, wxyz: Any) -> Any:
        return self.make(
            "geometry_msgs/msg/Pose", position=self.vector("Point", position), orientation=self.rotation(wxyz)
        )


def repr_of(value: float) -> str:
    return repr(float(value))


# How each format is written, its name, and the file that holds the labels (of frame 3).
LAYOUTS: Mapping[str, tuple[Callable[[Path, Sequence[Shot]], Path], str, str]] = {
    "csv": (write_csv, "csv", "labels.csv"),
    "7scenes": (write_seven_scenes, "7scenes", "seq-01/frame-000003.pose.txt"),
    "cambridge": (write_cambridge, "cambridge", "dataset_train.txt"),
    "colmap text": (write_colmap_text, "colmap", "sparse/0/images.txt"),
    "colmap binary": (write_colmap_binary, "colmap", "sparse/0/images.bin"),
    "transforms": (write_transforms, "transforms", "transforms.json"),
    "rosbag": (write_bag, "rosbag", "metadata.yaml"),
}
