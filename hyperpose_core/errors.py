"""The one exception that stands for a user's mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST_LINE = 1200

# C0 and C1 but for tabs and line ends, and what turns the direction of text.
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(32), *range(127, 160), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\t\n"
}


class HyperPoseError(Exception):
    """A mistake in what the user gave: one line that names what is wrong, where, and what would be right.

    Command-line tools print it as it is and exit with code 2; nodes log it and go on. What it quotes comes
    from files: it is shortened where it is long, and its control characters are escaped.
    """

    def __str__(self) -> str:
        """Return the line."""
        return one_line(super().__str__())


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


def one_line(text: str) -> str:
    """Return a text that quotes others in one line that is not too long, without control characters."""
    text = printable(text).replace("\n", "\\n")
    if len(text) <= _LONGEST_LINE:
        return text
    return f"{text[: _LONGEST_LINE - _LONGEST_LINE // 4]} ... {text[-_LONGEST_LINE // 4 :]}"


def printable(text: str) -> str:
    """Escape control characters, and halves of characters that no terminal could print."""
    return text.translate(_CONTROLS).encode(errors="backslashreplace").decode()
