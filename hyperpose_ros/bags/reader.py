"""Reading rosbag2 bags (sqlite3 or MCAP), with errors a user can act on.

Messages stay serialised (CDR bytes) until someone asks for them: a replay passes them on as they are.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rclpy.serialization import deserialize_message
from rosbags.interfaces import Connection, ConnectionExtRosbag2, Qos
from rosbags.rosbag2 import Reader

from hyperpose_core.datasets.rosbag_reading import ROS1_SUFFIX
from hyperpose_core.datasets.rosbag_storage import check_count, check_storage, check_suffix
from hyperpose_core.errors import HyperPoseError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag.

    Attributes:
        name: the topic's name, as recorded.
        type_name: its message type, as "sensor_msgs/msg/Image".
        message_count: how many messages the bag holds.
        offered_qos: what the recorded publishers offered; empty where the bag doesn't say.
    """

    name: str
    type_name: str
    message_count: int
    offered_qos: tuple[Qos, ...] = ()


class BagMessage(NamedTuple):
    """A message as the bag holds it.

    Attributes:
        topic: the topic's name.
        stamp_ns: when it was recorded, nanoseconds. The header's stamp is `header_stamp_ns(data)`.
        data: the message, serialised as CDR.
    """

    topic: str
    stamp_ns: int
    data: bytes


class BagReader:
    """A bag opened for reading; a context manager.

    Args:
        path: the bag's folder, or a single `.mcap` or `.db3` file.

    Raises:
        HyperPoseError: there is no bag there, or it cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._reader = _open(self.path)
        self.topics = {
            name: _topic(name, self._reader.connections) for name in _names(self._reader.connections)
        }

    def __enter__(self) -> BagReader:
        """Return itself: the bag is open from the start."""
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def start_ns(self) -> int:
        """Recording time of the first message, nanoseconds; 0 for an empty bag."""
        return self._reader.start_time if self._reader.message_count else 0

    @property
    def end_ns(self) -> int:
        """Recording time of the last message, nanoseconds; 0 for an empty bag."""
        return self._reader.end_time - 1 if self._reader.message_count else 0

    def require(self, name: str, type_names: Sequence[str] = ()) -> BagTopic:
        """Return a topic of the bag.

        Args:
            name: the topic's name.
            type_names: the message types that will do; empty for any.

        Raises:
            HyperPoseError: the bag has no such topic (the message lists what it has), or of another type.
        """
        topic = self.topics.get(name)
        if topic is None:
            raise HyperPoseError(f"{self.path}: no topic {name}; it has: {self._listing()}")
        if type_names and topic.type_name not in type_names:
            raise HyperPoseError(
                f"{self.path}: {name} is {topic.type_name}, expected {' or '.join(type_names)}"
            )
        return topic

    def raw_messages(
        self, topics: Sequence[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Give the messages in the order of their recording, one at a time.

        Args:
            topics: which topics; None for all.
            start_ns: leave out what was recorded before this time.
            stop_ns: leave out what was recorded at or after this time.

        Raises:
            HyperPoseError: a topic isn't in the bag, the bag breaks off, or it gives fewer messages than it
                says to hold.
        """
        names = set(self.topics) if topics is None else {self.require(name).name for name in topics}
        connections = [connection for connection in self._reader.connections if connection.topic in names]
        if not connections:
            return
        read = 0
        try:
            for connection, stamp_ns, data in self._reader.messages(connections, start_ns, stop_ns):
                read += 1
                yield BagMessage(connection.topic, stamp_ns, bytes(data))
        # A damaged file shows as whatever the parser trips over: struct, zstd, SQLite, assertions.
        except Exception as error:
            raise HyperPoseError(f"{self.path}: the bag is damaged: {_one_line(error)}") from error
        if start_ns is None and stop_ns is None:
            expected = sum(connection.msgcount for connection in connections)
            check_count(f"{self.path}, {', '.join(sorted(names))}", expected, read)

    def messages(
        self, topics: Sequence[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """Give (topic, recording time in ns, ROS message), in the order of their recording.

        Takes and raises what `raw_messages` does.

        Raises:
            HyperPoseError: a message type isn't installed, or a message is not of its type.
        """
        for topic, stamp_ns, data in self.raw_messages(topics, start_ns, stop_ns):
            message_type = message_class(self.topics[topic].type_name)
            try:
                message = deserialize_message(data, message_type)
            except Exception as error:
                raise HyperPoseError(
                    f"{self.path}: a message of {topic} is damaged: {_one_line(error)}"
                ) from error
            yield topic, stamp_ns, message

    def _listing(self) -> str:
        return (
            ", ".join(f"{topic.name} ({topic.type_name})" for topic in self.topics.values())
            or "no topic at all"
        )


def message_class(type_name: str) -> Any:
    """Return the Python class of a message type.

    Args:
        type_name: "package/msg/Name".

    Raises:
        HyperPoseError: the package that defines it is not installed.
    """
    package, _, name = type_name.partition("/msg/")
    try:
        if not (package.isidentifier() and name.isidentifier()):
            raise ValueError("no name of a message type")
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise HyperPoseError(
            f"message type {type_name!r} is not installed; it is in the package {package!r}"
        ) from error


def header_stamp_ns(data: bytes) -> int:
    """Return the header's stamp, in nanoseconds, of a serialised message that begins with a header."""
    byte_order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(f"{byte_order}iI", data, 4)
    return int(seconds) * _NANOSECONDS + int(nanoseconds)


def _open(path: Path) -> Reader:
    if not path.exists():
        raise HyperPoseError(f"{path}: no such bag")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        raise HyperPoseError(f"{path}: no rosbag2 bag: it has no metadata.yaml")
    check_suffix(path)
    if path.suffix == ROS1_SUFFIX:
        raise HyperPoseError(
            f"{path}: a ROS 1 bag, which cannot be replayed; convert it first: "
            f"rosbags-convert --src {path.name} --dst FOLDER"
        )
    check_storage(path)
    try:
        reader = Reader(path)
        reader.open()
    # A damaged file shows as whatever the parser trips over: YAML, struct, SQLite, assertions.
    except Exception as error:
        raise HyperPoseError(f"{path}: not a readable rosbag2 bag: {_one_line(error)}") from error
    return reader


def _names(connections: Sequence[Connection]) -> list[str]:
    return sorted({connection.topic for connection in connections})


def _topic(name: str, connections: Sequence[Connection]) -> BagTopic:
    of_topic = [connection for connection in connections if connection.topic == name]
    offered = [
        profile
        for connection in of_topic
        if isinstance(connection.ext, ConnectionExtRosbag2)
        for profile in connection.ext.offered_qos_profiles
    ]
    count = sum(connection.msgcount for connection in of_topic)
    return BagTopic(name, of_topic[0].msgtype, count, tuple(offered))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
