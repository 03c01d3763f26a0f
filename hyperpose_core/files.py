"""Files of a user's: read within limits into memory of one's own, and written whole or not at all.

What is read does not depend on its file any more, and a name never leads to a pipe that nobody writes or to a
device without end. What is written takes its place in one step: a full disk or a kill leaves what was there.
Two processes that write the same file, or work in the same folder, do not mix: the second one is refused.
"""

from __future__ import annotations

import fcntl
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.limits import LARGEST_TABLE_BYTES

LOCK_FILE = ".lock"
"""In a folder that one process at a time works in, see `lock_folder`."""

_PARTIAL_SUFFIX = ".partial"
_PIECE_BYTES = 1 << 22


@contextmanager
def opened(path: Path, what: str = "file", largest: int | None = None) -> Iterator[BinaryIO]:
    """Open a file for reading; what goes wrong while it is read is one error that names it.

    Args:
        path: a regular file, or a link to one.
        what: what it should be, for the errors.
        largest: the most bytes it may have; None for any number.

    Raises:
        HyperPoseError: there is no such file, it is something else than a file, too large, or unreadable.
    """
    try:
        with open(_descriptor(path, what), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise HyperPoseError(f"{path}: no regular file, and so no {what}")
            if largest is not None and status.st_size > largest:
                raise HyperPoseError(
                    f"{path}: {status.st_size:,} bytes; a {what} of more than {largest:,} is not read"
                )
            yield stream
    except OSError as error:
        raise HyperPoseError(f"{path}: cannot read the {what}: {error.strerror or error}") from error


def read_bytes(path: Path, what: str = "file", largest: int | None = None) -> bytes:
    """Read a whole file.

    Args:
        path: a regular file.
        what: what it should be, for the errors.
        largest: the most bytes it may have; None for any number.

    Raises:
        HyperPoseError: it cannot be read, see `opened`, or grew beyond `largest` meanwhile.
    """
    with opened(path, what, largest) as stream:
        data = stream.read() if largest is None else stream.read(largest + 1)
    if largest is not None and len(data) > largest:
        raise HyperPoseError(f"{path}: a {what} of more than {largest:,} bytes is not read")
    return data


def read_text(
    path: Path, what: str = "file", largest: int = LARGEST_TABLE_BYTES, errors: str = "strict"
) -> str:
    """Read a whole text file in UTF-8, with or without a byte order mark.

    Args:
        path: a regular file.
        what: what it should be, for the errors.
        largest: the most bytes it may have.
        errors: what to do with bytes that are no text, as `bytes.decode` has it.

    Raises:
        HyperPoseError: it cannot be read, see `opened`, is too large, or no text.
    """
    try:
        return read_bytes(path, what, largest).decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise HyperPoseError(f"{path}: cannot read the {what}: it is no text in UTF-8") from error


@contextmanager
def replacing(path: Path, what: str = "file") -> Iterator[BinaryIO]:
    """Give a stream whose content takes the place of a file once it is whole and on the disk.

    Until then, and where anything goes wrong, the file stays what it was. Missing folders are made.

    Args:
        path: the file. A link is replaced, not followed.
        what: what is written, for the errors.

    Raises:
        HyperPoseError: it cannot be written, its name is none, or another process is writing it.
    """
    path = Path(path)
    _check_name(path, what)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (path.is_file() or path.is_dir()):
            # A device or a pipe, such as /dev/stdout: nothing that could be lost, nor replaced.
            with path.open("wb") as stream:
                yield stream
        else:
            with _beside(path) as stream:
                yield stream
    except OSError as error:
        raise HyperPoseError(f"{path}: cannot write the {what}: {error.strerror or error}") from error


def replace_bytes(path: Path, content: bytes, what: str = "file") -> None:
    """Write a whole file in one step, see `replacing`.

    Raises:
        HyperPoseError: it cannot be written.
    """
    with replacing(path, what) as stream:
        stream.write(content)


def replace_text(path: Path, content: str, what: str = "file") -> None:
    """Write a whole text file (UTF-8) in one step, see `replacing`.

    Raises:
        HyperPoseError: it cannot be written.
    """
    replace_bytes(path, content.encode(), what)


def lock_folder(path: Path, work: str) -> int:
    """Make a folder and keep other processes out of it that would do the same work there.

    Args:
        path: the folder.
        work: what is done there, for the error.

    Returns:
        a descriptor: who closes it lets the others in, and so does the end of the process.

    Raises:
        HyperPoseError: another process is at work there, or the folder cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise HyperPoseError(f"{path}: cannot write there: {reason}") from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise HyperPoseError(
            f"{path}: another {work} is at work there; wait for its end or use another folder"
            if isinstance(error, BlockingIOError)
            else f"{path}: cannot be locked: {error.strerror}"
        ) from error
    return descriptor


@contextmanager
def locked_folder(path: Path, work: str) -> Iterator[None]:
    """Make a folder and keep other processes out of it meanwhile, see `lock_folder`.

    Raises:
        HyperPoseError: another process is at work there, or the folder cannot be written to.
    """
    descriptor = lock_folder(path, work)
    try:
        yield
    finally:
        os.close(descriptor)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file, read piece by piece.

    Raises:
        HyperPoseError: it cannot be read, see `opened`.
    """
    value = 0
    with opened(path) as stream:
        while piece := stream.read(_PIECE_BYTES):
            value = zlib.crc32(piece, value)
    return value


def _check_name(path: Path, what: str) -> None:
    try:
        is_name = path.name not in ("", "..") and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise HyperPoseError(f"{str(path)!r}: cannot be the name of a {what}")


def _descriptor(path: Path, what: str) -> int:
    try:
        # Opening a pipe would wait for somebody to write into it.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise HyperPoseError(f"{path}: no such {what}") from error
    except ValueError as error:
        raise HyperPoseError(f"{path}: cannot be the name of a {what}: {error}") from error


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """Give a stream to a file beside another one, whose place it takes at the end."""
    partial = path.with_name(path.name + _PARTIAL_SUFFIX)
    _remove_abandoned(partial, path)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as stream:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield stream
            stream.flush()
            os.fsync(descriptor)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _remove_abandoned(partial: Path, path: Path) -> None:
    """Remove what a killed process left, or whatever else has the name: it is not written through.

    Raises:
        HyperPoseError: a process is still writing it.
    """
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # not there, a link, a pipe, a folder
        partial.unlink(missing_ok=True)
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise HyperPoseError(f"{path}: another process is writing it just now") from error
    except OSError:  # some network file systems have no locks
        pass
    finally:
        os.close(descriptor)
    partial.unlink(missing_ok=True)
