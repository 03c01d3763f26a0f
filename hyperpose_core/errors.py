"""The one exception that stands for a user's mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class HyperPoseError(Exception):
    """A mistake in what the user gave: one line that names what is wrong, where, and what would be right.

    Command-line tools print it as it is and exit with code 2; nodes log it and go on.
    """


@contextmanager
def named(origin: object) -> Iterator[None]:
    """Put the name of what is worked on before an error that does not say it.

    Raises:
        HyperPoseError: as it was raised within, with the name.
    """
    try:
        yield
    except HyperPoseError as error:
        message = str(error)
        if str(origin) in message:
            raise
        raise HyperPoseError(f"{origin}: {message}") from error
