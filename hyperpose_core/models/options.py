"""Options of an architecture: plain JSON data, checked against a dataclass before a network is built."""

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.backbones import BACKBONE_NAMES
from hyperpose_core.models.hypernetwork import INITIALISATIONS


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """What every architecture can be asked for.

    Attributes:
        backbone: one of `BACKBONE_NAMES`.
        dropout: probability of dropout in training, from 0 up to but not including 1.
        stochastic_depth: EfficientNet's probability of dropping its last residual branch in training.
    """

    backbone: str = "efficientnet_b0"
    dropout: float = 0.1
    stochastic_depth: float = 0.2

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HyperPoseError: an impossible value; names the option.
        """
        require_choice("backbone", self.backbone, BACKBONE_NAMES)
        require(0 <= self.dropout < 1, "dropout", self.dropout, "at least 0 and less than 1")
        require(
            0 <= self.stochastic_depth < 1,
            "stochastic_depth",
            self.stochastic_depth,
            "at least 0 and less than 1",
        )


@dataclasses.dataclass(frozen=True)
class HypernetworkOptions:
    """What every architecture with a hypernetwork can be asked for, beside its other options.

    Attributes:
        hypernetwork_initialisation: "zero" (generated heads add nothing at first) or "released".
        generator_width: width of the hypernetworks' hidden layers; 0 is the paper's.
    """

    hypernetwork_initialisation: str = "zero"
    generator_width: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HyperPoseError: an impossible value; names the option.
        """
        require_choice("hypernetwork_initialisation", self.hypernetwork_initialisation, INITIALISATIONS)
        require(self.generator_width >= 0, "generator_width", self.generator_width, "0 (the paper's) or more")
        super().__post_init__()  # type: ignore[misc]


Options = TypeVar("Options", bound=ModelOptions)


def parse_options(kind: type[Options], model: str, values: Mapping[str, object]) -> Options:
    """Make the options of a model from plain data.

    Args:
        kind: the model's dataclass of options; what is left out keeps its default.
        model: the model's name, for errors.
        values: options by name, as JSON or YAML gives them (lists for tuples).

    Raises:
        HyperPoseError: an unknown option, a wrong type or an impossible value; names it and what is right.
    """
    expected = typing.get_type_hints(kind)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in expected:
            raise HyperPoseError(
                f"model {model} has no option {name!r}: its options are {', '.join(sorted(expected))}"
            )
        if isinstance(value, list):
            value = tuple(value)
        if not _is_of(value, expected[name]):
            raise HyperPoseError(
                f"option {name} of model {model} is {value!r}: expected {_describe(expected[name])}"
            )
        checked[name] = float(value) if expected[name] is float else value  # type: ignore[arg-type]
    try:
        return kind(**checked)
    except HyperPoseError as error:
        raise HyperPoseError(f"model {model}: {error}") from None


def options_as_data(options: ModelOptions) -> dict[str, object]:
    """Give options as plain JSON data, from which `parse_options` makes them again."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(options).items()
    }


def require(condition: bool, name: str, value: object, right: str) -> None:
    """Raise a HyperPoseError that names the option unless the condition holds."""
    if not condition:
        raise HyperPoseError(f"option {name} is {value!r}: expected {right}")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a HyperPoseError that names the option unless the value is one of the choices."""
    require(value in choices, name, value, f"one of {', '.join(choices)}")


def _is_of(value: object, kind: Any) -> bool:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return any(_is_of(value, choice) for choice in typing.get_args(kind))
    if origin is tuple:
        kinds = typing.get_args(kind)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, kind)


def _describe(kind: Any) -> str:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_describe(choice) for choice in typing.get_args(kind))
    if origin is tuple:
        return f"[{', '.join(_describe(part) for part in typing.get_args(kind))}]"
    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        type(None): "nothing",
    }
    return names[kind]
