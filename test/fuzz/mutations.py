"""Ways to damage bytes, text and JSON; everything follows from a random generator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np

TOKENS = (
    b"-1", b"0", b"1e400", b"nan", b"Infinity", b"9" * 400, b"9" * 6000, b"\x00", b"\xff\xfe", b"\\ud800",
    b"[" * 3000, b"{" * 300, b"&a [*a]", b"../../../etc/passwd", b"/dev/zero", b"\x1b[31m", b"\n", b",",
    b'"', b"%s", b"2024-13-45", b"!!binary x", b"1_000", b"0x7fffffff", b"\xe2\x80\xae", b"true",
)  # fmt: skip
VALUES = (
    None, True, -1, 0, 2**31, 2**63, 10**400, 1e308, -1e-308, float("nan"), float("inf"), "", "x" * 3000,
    "\ud800", "\x00", "../..", [], {}, [[]], [None] * 3, {"a": 1}, [1e400, 0, 0], "1", [0] * 1000, "\x1b[2J",
)  # fmt: skip
_LONGEST_INSERT = 64


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """Damage bytes one to four times, as text or JSON where they are that."""
    for _ in range(int(generator.integers(1, 5))):
        data = _MUTATIONS[generator.integers(len(_MUTATIONS))](data, generator)
    return data


def mutated_json(text: str, generator: np.random.Generator) -> str:
    """Put other values into the places of a document, which stays JSON but for numbers that are none."""
    document = json.loads(text)
    for _ in range(int(generator.integers(1, 4))):
        _replace_somewhere(document, generator)
    return json.dumps(document)


def _replace_somewhere(document: Any, generator: np.random.Generator) -> None:
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        item = waiting.pop()
        children = item.items() if isinstance(item, dict) else enumerate(item)
        for key, value in children:
            places.append((item, key))
            if isinstance(value, (dict, list)):
                waiting.append(value)
    if not places:
        return
    owner, key = places[generator.integers(len(places))]
    if isinstance(owner, dict) and generator.random() < 0.2:
        del owner[key]
    else:
        owner[key] = copy.deepcopy(VALUES[generator.integers(len(VALUES))])


def _flip(data: bytes, generator: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 9)) if data else 0):
        changed[generator.integers(len(changed))] = generator.integers(256)
    return bytes(changed)


def _flip_early(data: bytes, generator: np.random.Generator) -> bytes:
    """Headers stand at the beginning."""
    return _flip(data[:200], generator) + data[200:]


def _cut(data: bytes, generator: np.random.Generator) -> bytes:
    return data[: generator.integers(len(data) + 1)]


def _insert(data: bytes, generator: np.random.Generator) -> bytes:
    place = int(generator.integers(len(data) + 1))
    more = generator.bytes(int(generator.integers(1, _LONGEST_INSERT)))
    return data[:place] + more + data[place:]


def _remove(data: bytes, generator: np.random.Generator) -> bytes:
    begin, length = generator.integers(len(data) + 1), int(generator.integers(1, _LONGEST_INSERT))
    return data[:begin] + data[begin + length :]


def _repeat(data: bytes, generator: np.random.Generator) -> bytes:
    begin, end = sorted(generator.integers(0, len(data) + 1, 2))
    return data[:end] + data[begin:end] * int(generator.integers(1, 4)) + data[end:]


def _swap_in(data: bytes, generator: np.random.Generator) -> bytes:
    """Put a token in the place of a word of text, or in the middle of bytes."""
    token = TOKENS[generator.integers(len(TOKENS))]
    words = data[:100_000].split(b" ")
    if len(words) > 3:
        words[generator.integers(len(words))] = token
        return b" ".join(words) + data[100_000:]
    place = int(generator.integers(len(data) + 1))
    return data[:place] + token + data[place + len(token) :]


def _in_field(data: bytes, generator: np.random.Generator) -> bytes:
    """Put a token in the place of what stands between two commas."""
    fields = data[:100_000].split(b",")
    fields[generator.integers(len(fields))] = TOKENS[generator.integers(len(TOKENS))]
    return b",".join(fields) + data[100_000:]


def _as_json(data: bytes, generator: np.random.Generator) -> bytes:
    try:
        return mutated_json(data.decode(), generator).encode(errors="surrogatepass")
    except (ValueError, TypeError, RecursionError):
        return _swap_in(data, generator)


_MUTATIONS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    _flip, _flip_early, _cut, _insert, _remove, _repeat, _swap_in, _in_field, _as_json, _as_json,
)  # fmt: skip
