"""Writing rosbag2 bags (sqlite3 or MCAP) message by message."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from rclpy.serialization import serialize_message
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import lock_folder
from hyperpose_core.untrusted import reason_of

STORAGES = ("mcap", "sqlite3")

# The first distribution that wrote version 9 is the oldest that is supported; later ones read it.
_BAG_VERSION: Final = 9
_UNLIMITED = QosTime(9_223_372_036, 854_775_807)


class BagWriter:
    """A bag being written; a context manager.

    The bag appears under its name only when it is complete: until then it grows in a hidden folder beside it,
    which is removed when writing fails.

    Args:
        path: folder of the new bag.
        storage: "mcap" or "sqlite3".
        overwrite: replace a bag that is already there.

    Raises:
        HyperPoseError: something is already at `path` (and isn't a bag, or `overwrite` is not given), the
            folder cannot be written, another process writes this bag, or the storage is unknown.
    """

    def __init__(self, path: Path | str, storage: str = "mcap", overwrite: bool = False) -> None:
        if storage not in STORAGES:
            raise HyperPoseError(f"storage {storage!r} is unknown; use {' or '.join(STORAGES)}")
        self.path = Path(path)
        _check_target(self.path, overwrite)
        self._work_folder = self.path.parent / f".{self.path.name}.partial"
        self._connections: dict[str, Connection] = {}
        self._typestore = get_typestore(Stores.ROS2_KILTED)
        self._lock = lock_folder(self._work_folder, "writing of this bag")
        try:
            with self._writing():
                shutil.rmtree(self._work_folder / self.path.name, ignore_errors=True)
                self._writer = Writer(
                    self._work_folder / self.path.name,
                    version=_BAG_VERSION,
                    storage_plugin=StoragePlugin[storage.upper()],
                )
                self._writer.open()
        except HyperPoseError:
            self._remove_work()
            raise

    def __enter__(self) -> BagWriter:
        """Return itself: the bag is open from the start."""
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the finished bag under its name, or remove what was written if an error came in between.

        Raises:
            HyperPoseError: no message was written.
        """
        try:
            if exception_type is not None:
                self._abort()
                return
            if not any(self._writer.counts.values()):
                self._abort()
                raise HyperPoseError(f"{self.path}: no message to write, so no bag was made")
            with self._writing():
                self._writer.close()
                if self.path.exists():
                    shutil.rmtree(self.path)
                (self._work_folder / self.path.name).rename(self.path)
        finally:
            self._remove_work()

    def write(self, topic: str, message: Any, stamp_ns: int) -> None:
        """Write one message.

        Args:
            topic: its topic; `/tf_static` is marked as latched (transient local).
            message: a ROS message; the first one decides the topic's type.
            stamp_ns: recording time, nanoseconds.

        Raises:
            HyperPoseError: the topic holds messages of another type, or the disk is full.
        """
        type_name = _type_name(message)
        connection = self._connections.get(topic)
        if connection is None:
            with self._writing():
                connection = self._writer.add_connection(
                    topic, type_name, typestore=self._typestore, offered_qos_profiles=_offered_qos(topic)
                )
            self._connections[topic] = connection
        elif connection.msgtype != type_name:
            raise HyperPoseError(
                f"{topic} holds {connection.msgtype}, so {type_name} cannot be written to it"
            )
        with self._writing():
            self._writer.write(connection, stamp_ns, serialize_message(message))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise HyperPoseError(f"{self.path}: cannot write the bag: {reason_of(error)}") from error

    def _remove_work(self) -> None:
        shutil.rmtree(self._work_folder, ignore_errors=True)
        os.close(self._lock)

    def _abort(self) -> None:
        # What could not be written cannot be finished either, and is removed.
        with suppress(OSError, sqlite3.Error):
            self._writer.abort()


def _check_target(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise HyperPoseError(f"{path}: exists already; choose another name or give --overwrite")
    if not (path / "metadata.yaml").exists():
        raise HyperPoseError(f"{path}: exists already and is no bag, so it is not overwritten")


def _type_name(message: Any) -> str:
    package, _, _ = type(message).__module__.partition(".")
    return f"{package}/msg/{type(message).__name__}"


def _offered_qos(topic: str) -> Sequence[Qos]:
    latched = topic == "/tf_static"
    return [
        Qos(
            history=QosHistory.KEEP_LAST,
            depth=10,
            reliability=QosReliability.RELIABLE,
            durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            deadline=_UNLIMITED,
            lifespan=_UNLIMITED,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_UNLIMITED,
            avoid_ros_namespace_conventions=False,
        )
    ]
