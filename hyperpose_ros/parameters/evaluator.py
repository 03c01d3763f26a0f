"""The evaluator's parameters, declared once: name, default, range, description."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, cast

from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.parameters.declaration import (
    Change,
    Declaration,
    Value,
)


def _parameter(default: Any, description: str, **rules: Any) -> Any:
    """Declare a field of `EvaluatorParameters`."""
    return field(default=default, metadata={"description": description, "rules": rules})


@dataclass(frozen=True)
class EvaluatorParameters:
    """The evaluator's parameters, read once, when it starts."""

    output_directory: str = _parameter("evaluation", "Folder of the report; made where it is missing.")
    title: str = _parameter("Localizer against ground truth", "Heading of the report.")
    match_tolerance: float = _parameter(
        0.0,
        "Seconds by which the stamps of an estimate and its true pose may differ; 0 wants them equal.",
        minimum=0.0,
        maximum=10.0,
    )
    ground_truth_type: str = _parameter(
        "pose",
        "Type of the ground truth: pose (geometry_msgs/PoseStamped) or odometry (nav_msgs/Odometry); "
        "either is the pose of the camera's optical frame in the map.",
        choices=("pose", "odometry"),
    )
    count_unanswered: bool = _parameter(
        False,
        "Score true poses that got no estimate as unanswered frames, instead of only counting them.",
    )
    idle_timeout: float = _parameter(
        5.0,
        "Seconds without a pose, after the first true pose, that end the run.",
        minimum=0.1,
        maximum=86400.0,
    )
    start_timeout: float = _parameter(
        0.0,
        "Seconds to wait for the first true pose; 0 waits for ever.",
        minimum=0.0,
        maximum=86400.0,
    )
    expected_frames: int = _parameter(
        0,
        "End as soon as so many frames are matched; 0 for no such number.",
        minimum=0,
        maximum=2**31,
    )


def declarations() -> tuple[Declaration, ...]:
    """Return every parameter of the evaluator, in the order in which they are declared."""
    return tuple(
        Declaration(
            entry.name,
            cast(Value, entry.default),
            entry.metadata["description"],
            Change.START,
            **entry.metadata["rules"],
        )
        for entry in fields(EvaluatorParameters)
    )


def read_parameters(node: Node) -> EvaluatorParameters:
    """Declare the parameters on a node and return their values.

    Raises:
        HyperPoseError: a value is of the wrong type or impossible.
    """
    values = {}
    for declaration in declarations():
        try:
            value: Any = node.declare_parameter(
                declaration.name, declaration.default, declaration.descriptor()
            ).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise HyperPoseError(f"parameter {declaration.name}: {error}") from error
        problem = declaration.problem(value)
        if problem:
            raise HyperPoseError(f"parameter {problem}")
        values[declaration.name] = value
    return EvaluatorParameters(**values)
