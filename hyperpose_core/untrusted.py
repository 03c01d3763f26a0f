"""What somebody else wrote: whatever reading it raises is one error that names it.

Readers do their work within `reading`; JSON and YAML are parsed here, without what could fill memory or what
other code trips over later: aliases that grow, nesting without end, halves of characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.limits import DEEPEST_DOCUMENT

_LONGEST_REASON = 200
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


@contextmanager
def reading(origin: object, what: str = "content") -> Iterator[None]:
    """Turn whatever goes wrong while something foreign is read into one error.

    Bytes that are no data of the expected kind can make parsers, and what is built from their output, raise
    nearly anything: wrong types, impossible values, numbers that overflow, more memory than there is.

    Args:
        origin: the file, topic or option that it comes from.
        what: what is read, for the error.

    Raises:
        HyperPoseError: as it was raised within, or made of any other exception.
    """
    try:
        yield
    except HyperPoseError:
        raise
    except RecursionError as error:
        raise HyperPoseError(f"{origin}: the {what} is nested too deeply") from error
    except MemoryError as error:
        raise HyperPoseError(f"{origin}: the {what} asks for more memory than there is") from error
    except Exception as error:
        raise HyperPoseError(f"{origin}: the {what} is damaged: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """Return what an exception says, in one line that is not too long."""
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]!r} is missing"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."


def parse_json(text: str | bytes, origin: object, what: str = "document") -> Any:
    """Parse JSON.

    Args:
        text: the document; bytes are UTF-8, a byte order mark is allowed.
        origin: the file that it comes from.
        what: what it is, for errors.

    Raises:
        HyperPoseError: it is no JSON, nested too deeply, or holds text that is none.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        content = json.loads(text)
        _check_depth(content)
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise HyperPoseError(f"{origin}: the {what} is not JSON: {_parse_reason(error)}") from error
    return content


def parse_yaml(text: str | bytes, origin: object, what: str = "document") -> Any:
    """Parse YAML of plain data, without aliases.

    Args:
        text: the document; bytes are UTF-8.
        origin: the file that it comes from.
        what: what it is, for errors.

    Raises:
        HyperPoseError: it is no YAML, uses aliases, is nested too deeply, or asks for other than plain data.
    """
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return yaml.load(text, _PlainLoader)  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise HyperPoseError(f"{origin}: the {what} is not YAML: {_parse_reason(error)}") from error


class _PlainLoader(yaml.SafeLoader):
    """YAML's plain data; a few aliases of aliases could stand for gigabytes, so there are none."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node; see PyYAML."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not read", problem_mark=mark)
        self._depth += 1
        if self._depth > DEEPEST_DOCUMENT:
            raise yaml.YAMLError(f"more than {DEEPEST_DOCUMENT} levels of nesting")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _check_depth(content: object) -> None:
    level = [content]
    for _ in range(DEEPEST_DOCUMENT):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise ValueError(f"more than {DEEPEST_DOCUMENT} levels of nesting")


def _parse_reason(error: BaseException) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else reason_of(error)
