"""Options of adapters, which come as text from a command line or as values from Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel

CAMERA_ADVICE = "the dataset option camera=WIDTH,HEIGHT,FX,FY,CX,CY in pixels (RobotCar's is sdk=FOLDER)"
"""What to give where the camera's intrinsics are not known and are needed."""


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Read options as a command line gives them, each NAME=VALUE.

    Raises:
        HyperPoseError: a text is not of that form.
    """
    options = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.isidentifier():
            raise HyperPoseError(f"--data-option {text!r} is not of the form NAME=VALUE")
        options[name] = value
    return options


def parse_numbers(name: str, value: str | float | Sequence[float], count: int) -> list[float]:
    """Read so many finite numbers, separated by commas where they are text.

    Raises:
        HyperPoseError: the value is something else; the option's name is said.
    """
    parts: Sequence[str | float]
    if isinstance(value, str):
        parts = value.split(",")
    else:
        parts = [value] if isinstance(value, (int, float)) else value
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        wanted = "a number" if count == 1 else f"{count} numbers separated by commas"
        raise HyperPoseError(f"option {name} is {value!r}; give {wanted}")
    return numbers


def parse_number(name: str, value: str | float, above: float = -math.inf) -> float:
    """Read one finite number that is larger than `above`.

    Raises:
        HyperPoseError: the value is no such number.
    """
    number = parse_numbers(name, value, 1)[0]
    if number <= above:
        raise HyperPoseError(f"option {name} is {value!r}; give a number above {above:g}")
    return number


def parse_count(name: str, value: str | int, smallest: int = 1) -> int:
    """Read a whole number.

    Raises:
        HyperPoseError: the value is no whole number, or less than `smallest`.
    """
    number = parse_number(name, value)
    if number != int(number) or number < smallest:
        raise HyperPoseError(f"option {name} is {value!r}; give a whole number from {smallest} on")
    return int(number)


def parse_flag(name: str, value: str | bool) -> bool:
    """Read true or false.

    Raises:
        HyperPoseError: the value is something else.
    """
    text = str(value).strip().lower()
    if text not in ("true", "false"):
        raise HyperPoseError(f"option {name} is {value!r}; give true or false")
    return text == "true"


def parse_names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """Read names, separated by commas where they are text; None gives none."""
    parts = value.split(",") if isinstance(value, str) else value or ()
    return tuple(part.strip() for part in parts if part.strip())


def parse_camera(value: str | CameraModel | None) -> CameraModel | None:
    """Read a pinhole camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels; None stays None.

    Raises:
        HyperPoseError: the text is not of that form, or a size or a focal length is not positive.
    """
    if value is None or isinstance(value, CameraModel):
        return value
    try:
        width, height, fx, fy, cx, cy = parse_numbers("camera", value, 6)
    except HyperPoseError as error:
        raise HyperPoseError(
            f"camera {value!r} is not of the form WIDTH,HEIGHT,FX,FY,CX,CY (pixels)"
        ) from error
    if min(width, height, fx, fy) <= 0:
        raise HyperPoseError(f"camera {value!r}: width, height and focal lengths must be positive")
    return CameraModel(int(width), int(height), fx, fy, cx, cy)
