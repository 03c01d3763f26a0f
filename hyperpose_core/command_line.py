"""How every command ends: one line for what went wrong, an exit code, and nothing that harms a terminal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Any, TextIO, cast

from hyperpose_core.errors import HyperPoseError, printable

USER_MISTAKE = 2
INTERRUPTED = 130
NOBODY_READS = 141  # what a shell says of a program that a closed pipe ended


def run_command(name: str, body: Callable[[], int]) -> int:
    """Run a command's body and turn how it ended into an exit code.

    What it prints has its control characters escaped: names and texts come from files.

    Args:
        name: the command's name, for its error line.
        body: does the work and returns the exit code.

    Returns:
        what `body` returned; 2 after a mistake of the user's or of what the user's disk or memory cannot do,
        told in one line on standard error; 130 after Ctrl-C; 141 where nobody reads what is printed.
    """
    try:
        with redirect_stdout(cast(TextIO, _Printable(sys.stdout))):
            code = body()
            sys.stdout.flush()
        return code
    except HyperPoseError as error:
        return _fail(name, error)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Else the interpreter would try once more to write what is left, and tell of that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except OSError as error:
        origin = f"{error.filename}: " if error.filename else ""
        return _fail(name, HyperPoseError(f"{origin}{error.strerror or error}"))
    except MemoryError:
        return _fail(name, HyperPoseError("not enough memory"))


@contextmanager
def dying_of_interrupts(name: str) -> Iterator[None]:
    """End the process at once at Ctrl-C, with the line of `run_command`, while modules are imported.

    Code in the middle of an import makes other errors of an interrupt, or none at all.

    Args:
        name: the command's name.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(2, f"{name}: interrupted\n".encode())
        os._exit(INTERRUPTED)

    former = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _fail(name: str, reason: HyperPoseError) -> int:
    print(f"{name}: error: {reason}", file=sys.stderr)
    return USER_MISTAKE


class _Printable:
    """A text stream that escapes what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
