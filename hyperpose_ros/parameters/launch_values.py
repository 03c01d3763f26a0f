"""Parameters as arguments of a launch file, whose values are all text."""

from __future__ import annotations

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.parameters.declaration import Declaration

Given = bool | int | float | str | list[float] | list[str]


def value_from_text(declaration: Declaration, text: str) -> Given:
    """Return what a launch argument says of a parameter, as the parameter's type.

    Args:
        declaration: the parameter.
        text: as in `5`, `true`, `[front, rear]` or `[0.3, 0, 1.2, -1.57, 0, -1.57]`.

    Raises:
        HyperPoseError: the text is no value of this type.
    """
    default = declaration.default
    if isinstance(default, str):
        return text
    try:
        if isinstance(default, tuple):
            words = [word.strip(" '\"") for word in text.strip("[] ").split(",")]
            return words if declaration.names else [float(word) for word in words]
        return {"true": True, "false": False}[text] if isinstance(default, bool) else type(default)(text)
    except (KeyError, ValueError):
        raise HyperPoseError(f"{declaration.name}:={text}: {_wanted(declaration)}") from None


def _wanted(declaration: Declaration) -> str:
    if isinstance(declaration.default, tuple):
        return "write a list of numbers, as in '[0.3, 0, 1.2, -1.57, 0, -1.57]'"
    if isinstance(declaration.default, bool):
        return "write true or false"
    return f"write a number, {declaration.constraints}"
