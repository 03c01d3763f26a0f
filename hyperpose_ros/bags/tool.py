"""What the command-line tools of this package share: how they read their arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

# Thirty years in seconds: as nanoseconds, still far within 64 bits.
_LARGEST_NUMBER = 1e9


def split_ros_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into a tool's own arguments and those from each `--ros-args` to the next `--`.

    rclpy's `remove_ros_args` would also take every `old:=new` out, which is a tool's own argument here.
    """
    own: list[str] = []
    ros: list[str] = []
    part = own
    for argument in arguments:
        if argument == "--ros-args":
            part = ros
        part.append(argument)
        if argument == "--" and part is ros:
            part = own
    return own, ros


def positive_number(text: str) -> float:
    """Read a finite number above 0, for argparse."""
    return _number(text, "above 0", lambda value: value > 0)


def number_from_zero(text: str) -> float:
    """Read a finite number of 0 or more, for argparse."""
    return _number(text, "of 0 or more", lambda value: value >= 0)


def positive_count(text: str) -> int:
    """Read a whole number of 1 or more, for argparse."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _number(text: str, wanted: str, is_good: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (abs(value) <= _LARGEST_NUMBER and is_good(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}, at most {_LARGEST_NUMBER:g}")
    return value
