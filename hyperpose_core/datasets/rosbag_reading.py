"""Reading bags of ROS 2 and ROS 1 with `rosbags`, without ROS: topics, messages, single images on demand."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from hyperpose_core.compressed_images import decode_compressed
from hyperpose_core.datasets.ros_images import RawImage
from hyperpose_core.datasets.rosbag_storage import check_count, check_storage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import RgbImage

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
ROS1_SUFFIX = ".bag"
STORAGE_SUFFIXES = (".mcap", ".db3", ROS1_SUFFIX)

_METADATA = "metadata.yaml"
_NANOSECONDS = 1_000_000_000
_HEADER_OFFSET = 4
# What ROS 1 called a type by another name, before tf2.
_RENAMED = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}


class Stamped(NamedTuple):
    """A message as the bag holds it.

    Attributes:
        recorded_ns: when it was recorded.
        data: the message, serialised as CDR.
    """

    recorded_ns: int
    data: bytes


def looks_like_rosbag(path: Path) -> bool:
    """Tell whether a path is a bag (rosbag2's folder or storage file, ROS 1's file), or a folder of bags."""
    return bool(bag_paths(path))


def bag_paths(path: Path) -> list[Path]:
    """Return the bags at a path: itself, or those in it."""
    if path.is_file():
        return [path] if path.suffix in STORAGE_SUFFIXES else []
    if (path / _METADATA).exists():
        return [path]
    folders = sorted(file.parent for file in path.glob(f"*/{_METADATA}"))
    files = sorted(file for suffix in STORAGE_SUFFIXES for file in path.glob(f"*{suffix}"))
    return folders or files


class Bag:
    """A bag opened for reading; a context manager.

    Raises:
        HyperPoseError: it is no bag, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_storage(path)
        with self._damage_named():
            self._is_ros1 = path.suffix == ROS1_SUFFIX
            self._reader = Ros1Reader(path) if self._is_ros1 else Reader(path)
            self._reader.open()
        # Images, poses and transforms are the same in every distribution.
        self._types = get_typestore(Stores.ROS2_HUMBLE)

    def __enter__(self) -> Bag:
        """Return itself: the bag is open from the start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self.close()

    def close(self) -> None:
        """Close the bag's files."""
        self._reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """The message type of each topic that has messages."""
        return {
            connection.topic: _RENAMED.get(connection.msgtype, connection.msgtype)
            for connection in self._reader.connections
            if connection.msgcount
        }

    def listing(self) -> str:
        """Return the topics and their types, for people."""
        return ", ".join(f"{name} ({kind})" for name, kind in sorted(self.topics.items())) or "no messages"

    def only_topic(self, kinds: Sequence[str], option: str) -> str | None:
        """Return the one topic of some types, None where there is none.

        Raises:
            HyperPoseError: there are several; the option that chooses is said.
        """
        names = sorted(name for name, kind in self.topics.items() if kind in kinds)
        if len(names) > 1:
            raise HyperPoseError(
                f"{self.path}: several topics would do: {', '.join(names)}; give option {option}"
            )
        return names[0] if names else None

    def require(self, name: str, kinds: Sequence[str]) -> str:
        """Return a topic's type.

        Raises:
            HyperPoseError: the bag has no such topic, or of another type.
        """
        kind = self.topics.get(name)
        if kind is None:
            raise HyperPoseError(f"{self.path}: no messages on {name}; it has: {self.listing()}")
        if kind not in kinds:
            raise HyperPoseError(f"{self.path}: {name} is {kind}, expected {' or '.join(kinds)}")
        return kind

    def messages(
        self, topic: str, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Stamped]:
        """Give a topic's messages in the order of their recording.

        Raises:
            HyperPoseError: the bag breaks off, or gives fewer messages than it says to hold.
        """
        connections = [connection for connection in self._reader.connections if connection.topic == topic]
        read = 0
        with self._damage_named():
            for connection, recorded_ns, data in self._reader.messages(connections, start_ns, stop_ns):
                read += 1
                yield Stamped(recorded_ns, self._as_cdr(data, connection.msgtype))
        if start_ns is None and stop_ns is None:
            check_count(f"{self.path}, {topic}", sum(item.msgcount for item in connections), read)

    def decode(self, message: Stamped, kind: str) -> Any:
        """Return a message with its fields.

        Raises:
            HyperPoseError: it is not of that type.
        """
        with self._damage_named():
            return self._types.deserialize_cdr(message.data, kind)

    def _as_cdr(self, data: bytes, kind: str) -> bytes:
        return bytes(self._types.ros1_to_cdr(data, _RENAMED.get(kind, kind)) if self._is_ros1 else data)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except HyperPoseError:
            raise
        # A damaged bag shows as whatever the parser trips over: YAML, struct, SQLite, zstd, assertions.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise HyperPoseError(f"{self.path}: not a readable bag: {reason}") from error


def header_of(message: Stamped) -> tuple[int, str]:
    """Return the header's stamp in nanoseconds and its frame, without decoding what follows.

    Raises:
        HyperPoseError: the message is too short to have a header.
    """
    try:
        order = "<" if message.data[1] & 1 else ">"
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", message.data, _HEADER_OFFSET)
        start = _HEADER_OFFSET + struct.calcsize("iII")
        frame = message.data[start : start + length].rstrip(b"\0").decode("utf-8", "replace")
    except (IndexError, struct.error) as error:
        raise HyperPoseError(f"a message of {len(message.data)} bytes has no header") from error
    return int(seconds) * _NANOSECONDS + int(nanoseconds), frame


class BagImages:
    """The images of one topic, each read from the bag when it is asked for.

    The bag is opened at the first image and stays open; a copy in another process (pickled or forked) opens
    it for itself.

    Args:
        path: the bag.
        topic: an image topic, raw or compressed.
        kind: the topic's type.
    """

    def __init__(self, path: Path, topic: str, kind: str) -> None:
        self._path = path
        self._topic = topic
        self._kind = kind
        self._bag: Bag | None = None
        self._process = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[BagImages], tuple[Path, str, str]]:
        """Say how another process makes it anew: the open bag stays here."""
        return BagImages, (self._path, self._topic, self._kind)

    def __repr__(self) -> str:
        """Name the bag and the topic."""
        return f"BagImages({str(self._path)!r}, {self._topic!r})"

    def read(self, recorded_ns: int, place: int) -> RgbImage:
        """Read an image as RGB uint8 [H, W, 3].

        Args:
            recorded_ns: when it was recorded.
            place: its place among the topic's messages of that time, from 0.

        Raises:
            HyperPoseError: the bag is gone or damaged, or the message is no image.
        """
        with self._lock:
            if self._bag is None or self._process != os.getpid():
                self._bag, self._process = Bag(self._path), os.getpid()
            found = list(self._bag.messages(self._topic, recorded_ns, recorded_ns + 1))
            origin = f"{self._path}, {self._topic} at {recorded_ns}"
            if place >= len(found):
                raise HyperPoseError(f"{origin}: no such message; the bag has changed")
            message = self._bag.decode(found[place], self._kind)
        if self._kind == COMPRESSED_IMAGE:
            return decode_compressed(bytes(message.data), message.format, origin)
        raw = RawImage(
            message.width,
            message.height,
            message.encoding,
            message.step,
            bool(message.is_bigendian),
            np.asarray(message.data, dtype=np.uint8),
        )
        return raw.to_rgb(origin)


@dataclass(frozen=True)
class BagImage:
    """Reads one image of a bag: the reader of its record.

    Attributes:
        source: the topic's images.
        recorded_ns: when it was recorded, nanoseconds.
        place: its place among the topic's messages of that time.
    """

    source: BagImages
    recorded_ns: int
    place: int = 0

    def __call__(self, path: Path) -> RgbImage:
        """Read the image; the path is the bag, which the source knows."""
        return self.source.read(self.recorded_ns, self.place)
