"""A node's parameters: declared from a dataclass, checked on every change, readable as one snapshot."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.parameters.declaration import Change, Declaration, declarations

QOS_OVERRIDE_PREFIX = "qos_overrides."
_OFF = "off"

Values = TypeVar("Values")
"""A node's dataclass of parameters."""


class NodeParameters(Generic[Values]):
    """The parameters of a dataclass on a node: declared, checked on every change, readable as one snapshot.

    Attributes:
        values: the values now; replaced as a whole on a change, so that any thread may read it.
    """

    values: Values

    def __init__(
        self, node: Node, kind: type[Values], is_configured: Callable[[], bool] = lambda: False
    ) -> None:
        """Declare every parameter on a node.

        Args:
            node: the node, whose overrides (command line, YAML) are applied.
            kind: the dataclass, whose fields `declaration.parameter` made.
            is_configured: tells whether what is read at configuration is in use now.

        Raises:
            HyperPoseError: an override has the wrong type or an impossible value.
        """
        self._node = node
        self._kind = kind
        self._is_configured = is_configured
        self._declared: dict[str, Declaration] = {}
        self._fields = declarations(kind)
        node.add_on_set_parameters_callback(self._check)
        self.declare(self._fields)
        node.add_post_set_parameters_callback(self._refresh)
        self._refresh([])

    def declare(self, further: Iterable[Declaration]) -> None:
        """Declare parameters that are no fields of the dataclass; those that are declared already stay.

        Raises:
            HyperPoseError: an override has the wrong type or an impossible value.
        """
        for declaration in further:
            if declaration.name not in self._declared:
                self._declared[declaration.name] = declaration
                _declare(self._node, declaration)

    def value(self, name: str) -> Any:
        """Return the value now of a parameter that was declared; an empty tuple where an array is not set."""
        # get_parameter refuses to speak of a parameter that is declared and not set.
        value = self._node.get_parameter_or(name, Parameter(name)).value
        return tuple(value or ()) if isinstance(self._declared[name].default, tuple) else value

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            declaration = self._declared.get(parameter.name)
            if declaration is None:
                continue
            problem = declaration.problem(parameter.value)
            if problem is None and declaration.change is Change.UNCONFIGURED and self._is_configured():
                problem = f"{declaration.name} is {declaration.change.value}"
            if problem is not None:
                return SetParametersResult(successful=False, reason=problem)
        return SetParametersResult(successful=True)

    def _refresh(self, _changed: list[Parameter]) -> None:
        values: dict[str, Any] = {entry.name: self.value(entry.name) for entry in self._fields}
        self.values = self._kind(**values)


def unused_overrides(node: Node) -> dict[str, str]:
    """Return the parameters that were given to a node but that nothing declared, each with a sentence.

    Overrides of a topic's QoS are declared together with the topic: ask again once all topics are there.
    """
    known = list(node.get_parameters_by_prefix(""))
    sentences = {}
    for name in sorted(_overrides(node)):
        if node.has_parameter(name):
            continue
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        sentences[name] = f"parameter {name} is none of this node's and is ignored{hint}"
    return sentences


def has_override(node: Node, name: str) -> bool:
    """Tell whether a parameter was given to a node on the command line, in YAML or by its creator."""
    return name in _overrides(node)


def _declare(node: Node, declaration: Declaration) -> None:
    given = _overrides(node).get(declaration.name)
    if given is not None and given.value is False and _OFF in declaration.choices:
        # Both YAML and the command line take off for false.
        _overrides(node)[declaration.name] = Parameter(declaration.name, value=_OFF)
    try:
        if isinstance(declaration.default, tuple):
            # rclpy takes an empty list for an array of bytes, unless it is told the type.
            node.declare_parameter(declaration.name, declaration.type, declaration.descriptor())
            if declaration.name not in _overrides(node):
                # One parameter without a value would empty the answer for all, as `ros2 param dump` asks.
                node.set_parameters([Parameter(declaration.name, declaration.type, [])])
        else:
            node.declare_parameter(declaration.name, declaration.default, declaration.descriptor())
    except InvalidParameterTypeException as error:
        given = _overrides(node)[declaration.name]
        hint = " (write 1.0, not 1)" if "DOUBLE" in declaration.type.name else ""
        raise HyperPoseError(
            f"parameter {declaration.name} is {given.value!r}, of type {given.type_.name.lower()}; "
            f"it must be of type {declaration.type.name.lower()}{hint}"
        ) from error
    except InvalidParameterValueException as error:
        given = _overrides(node)[declaration.name]
        raise HyperPoseError(
            f"parameter {declaration.name} is {given.value!r}; it must be {declaration.constraints}"
        ) from error


def _overrides(node: Node) -> dict[str, Parameter]:
    # rclpy has no public way to ask for what was given but not declared.
    return getattr(node, "_parameter_overrides", {})
