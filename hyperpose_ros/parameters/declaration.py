"""Parameters as fields of a dataclass: type, default, range, description, when each may change."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, cast

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

Value = bool | int | float | str | tuple[float, ...] | tuple[str, ...]

_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")


class Change(Enum):
    """When a parameter may be set, in words for the person who tries."""

    ANY_TIME = "may change at any time, from the next image on"
    LOADING = "read when the node is configured and by ~/load_checkpoint"
    UNCONFIGURED = "read when the node is configured; set it before, or after a cleanup"
    START = "read once, when the node starts"


@dataclass(frozen=True)
class Declaration:
    """One parameter as it is declared to ROS.

    Attributes:
        name: the parameter's name.
        default: its default, which also says its type; an empty tuple stands for an array that is not set.
        description: what it does, with its unit.
        change: when it may be set.
        minimum: the smallest number allowed.
        maximum: the largest number allowed.
        choices: the only strings allowed, where not empty.
        lengths: the only numbers of elements allowed in an array that is set.
        names: whether an array holds names, fit for topics and all distinct, instead of numbers.
    """

    name: str
    default: Value
    description: str
    change: Change
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    names: bool = False

    @property
    def type(self) -> Parameter.Type:
        """The parameter's ROS type."""
        if isinstance(self.default, tuple):
            return Parameter.Type.STRING_ARRAY if self.names else Parameter.Type.DOUBLE_ARRAY
        return Parameter.Type.from_parameter_value(self.default)

    @property
    def constraints(self) -> str:
        """What a value must be, in words; empty where any value of the type will do."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.names:
            return "different names, each of letters, digits and single underscores, a letter first"
        if self.lengths:
            return f"{' or '.join(str(length) for length in self.lengths)} numbers, or not set"
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        return ""

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        rules = f"{self.constraints}; {self.change.value}" if self.constraints else self.change.value
        descriptor = ParameterDescriptor(
            name=self.name,
            type=self.type.value,
            description=self.description,
            additional_constraints=rules,
            read_only=self.change is Change.START,
        )
        if self.minimum is None or self.maximum is None:
            return descriptor
        if self.type is Parameter.Type.INTEGER:
            bounds = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
            descriptor.integer_range = [bounds]
        elif self.type is Parameter.Type.DOUBLE:
            limits = FloatingPointRange(from_value=float(self.minimum), to_value=float(self.maximum))
            descriptor.floating_point_range = [limits]
        return descriptor

    def problem(self, value: object) -> str | None:
        """Say why a value of the right type is impossible; None where it is fine."""
        elements = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(element, float) and not math.isfinite(element) for element in elements):
            return f"{self.name} must be finite, not {value}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be {self.constraints}, not {value!r}"
        if self.names and value is not None and not _are_names(elements):
            return f"{self.name} must be {self.constraints}, not {value}"
        if isinstance(value, (list, tuple)) and self.lengths and len(value) not in (0, *self.lengths):
            return f"{self.name} must be {self.constraints}; {len(value)} given"
        return None


def parameter(default: Any, change: Change, description: str, **rules: Any) -> Any:
    """Declare a field of a dataclass whose fields are parameters.

    Args:
        default: the default, which also gives the type.
        change: when it may be set.
        description: what it does, with its unit.
        rules: further fields of `Declaration`.
    """
    metadata = {"change": change, "description": description, "rules": rules}
    return field(default=default, metadata=metadata)


def declarations(kind: type[Any]) -> tuple[Declaration, ...]:
    """Return every parameter of a node, in the order in which they are declared.

    Args:
        kind: the node's dataclass of parameters, whose fields `parameter` made.
    """
    return tuple(
        Declaration(
            entry.name,
            cast(Value, entry.default),
            entry.metadata["description"],
            entry.metadata["change"],
            **entry.metadata["rules"],
        )
        for entry in fields(kind)
    )


def _are_names(elements: Sequence[object]) -> bool:
    fit = all(isinstance(element, str) and _NAME.fullmatch(element) for element in elements)
    return fit and len(set(elements)) == len(elements)
