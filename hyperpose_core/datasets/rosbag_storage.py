"""What a bag's files hold that its reader would pass over in silence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hyperpose_core.errors import HyperPoseError

_WRITE_AHEAD_LOG = "-wal"
_COMPRESSED = {
    ".zstd": "a compressed bag file; decompress it (unzstd {name}), or give the folder of metadata.yaml",
    ".zst": "a compressed bag file; decompress it (unzstd {name}), or give the folder of metadata.yaml",
}


def check_storage(path: Path) -> None:
    """Refuse a bag with messages that its storage holds apart.

    Args:
        path: the bag's folder or its storage file.

    Raises:
        HyperPoseError: a recorder that crashed has left a write-ahead log, which only SQLite itself reads.
    """
    logs = path.glob(f"*.db3{_WRITE_AHEAD_LOG}") if path.is_dir() else [Path(f"{path}{_WRITE_AHEAD_LOG}")]
    for log in logs:
        if log.is_file() and log.stat().st_size:
            file = log.with_name(log.name.removesuffix(_WRITE_AHEAD_LOG))
            raise HyperPoseError(
                f"{file}: a crash has left messages in {log.name}, which would be missing; let SQLite put "
                f"them in: sqlite3 {file.name} 'PRAGMA wal_checkpoint(TRUNCATE)'"
            )


def check_recordings(bags: Sequence[Path]) -> None:
    """Refuse files of one recording that nothing holds together.

    Raises:
        HyperPoseError: storage files of a folder without metadata.yaml are numbered parts of one recording.
    """
    parts = Counter(
        (bag.parent, match[1])
        for bag in bags
        # Each part of a ROS 1 recording is a whole bag.
        if bag.is_file() and bag.suffix != ".bag" and (match := re.match(r"(.+)_\d+$", bag.stem))
    )
    for (folder, name), count in parts.items():
        if count > 1:
            raise HyperPoseError(
                f"{folder}: {count} files of one recording, {name}_N, without metadata.yaml, which says that "
                "they belong together: ros2 bag reindex writes it"
            )


def check_suffix(path: Path) -> None:
    """Refuse bag files that have to be decompressed first.

    Raises:
        HyperPoseError: it is one.
    """
    reason = _COMPRESSED.get(path.suffix.lower())
    if reason is not None and path.is_file():
        raise HyperPoseError(f"{path}: {reason.format(name=path.name)}")


def check_count(where: str, expected: int, read: int) -> None:
    """Refuse a bag of which less was read than it says to hold.

    Args:
        where: the bag and the topic.
        expected: messages by its metadata.
        read: messages that its storage gave.

    Raises:
        HyperPoseError: some are missing.
    """
    if read < expected:
        raise HyperPoseError(
            f"{where}: {expected} messages by its metadata, of which {read} can be read: the metadata is not "
            "that of the storage (QoS or counts edited, a file lost?); ros2 bag reindex writes it anew"
        )
