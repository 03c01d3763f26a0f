"""Messages whose fields hold what nobody expects."""

from __future__ import annotations

import array
import importlib
from typing import Any

import numpy as np

_STRANGE_NUMBERS = (0.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
_STRANGE_TEXTS = (
    "", "map", "odom", "base_link", "/a//b", "x" * 3000, "\u202e", "\x1b[31m", "camera_frame", "..",
    "plumb_bob",
)  # fmt: skip
STRANGE_VALUES: tuple[Any, ...] = (
    *_STRANGE_NUMBERS, *_STRANGE_TEXTS, True, 2**62, -(2**63), "/dev/zero", [1.0] * 5, [0.0] * 7, ["a", "a"],
)  # fmt: skip
_SHARE_OF_FIELDS = 0.4
_MOST_ITEMS = 4


def strange(message: Any, generator: np.random.Generator) -> Any:
    """Fill some fields of a message, and of those in it, with what nobody expects."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if hasattr(value, "get_fields_and_field_types"):
            strange(value, generator)
        elif kind.startswith("sequence<") and "/" in kind:
            count = int(generator.integers(0, _MOST_ITEMS))
            setattr(message, name, [strange(_message(kind[9:-1]), generator) for _ in range(count)])
        elif generator.random() < _SHARE_OF_FIELDS:
            _set(message, name, kind, generator)
    return message


def _message(kind: str) -> Any:
    package, _, name = kind.partition("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)()


def _set(message: Any, name: str, kind: str, generator: np.random.Generator) -> None:
    if kind in ("double", "float"):
        setattr(message, name, float(generator.choice([*_STRANGE_NUMBERS[:2], 0.5, np.nan, np.inf])))
    elif kind == "string":
        setattr(message, name, _STRANGE_TEXTS[generator.integers(len(_STRANGE_TEXTS))])
    elif kind == "octet":
        setattr(message, name, generator.bytes(1))
    elif kind.startswith(("int", "uint")) and "[" not in kind:
        largest = 2 ** (int("".join(filter(str.isdigit, kind))) - (not kind.startswith("u"))) - 1
        setattr(message, name, int(generator.choice([0, 1, largest])))
    elif kind.startswith("double["):
        size = int(kind[7:-1])
        setattr(message, name, generator.choice(_STRANGE_NUMBERS, size))
    elif kind == "sequence<double>":
        setattr(message, name, array.array("d", generator.choice(_STRANGE_NUMBERS, generator.integers(9))))
