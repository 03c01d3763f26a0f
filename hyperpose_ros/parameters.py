"""Every parameter of the localizer, declared once: type, default, range, description, when it may change.

`LocalizerParameters` is the declaration and, filled in, the values; `node_parameters.py` ties it to a node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

Value = bool | int | float | str | tuple[float, ...]


class Change(Enum):
    """When a parameter may be set, in words for the person who tries."""

    ANY_TIME = "may change at any time, from the next image on"
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
    """

    name: str
    default: Value
    description: str
    change: Change
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()

    @property
    def type(self) -> Parameter.Type:
        """The parameter's ROS type."""
        if isinstance(self.default, tuple):
            return Parameter.Type.DOUBLE_ARRAY
        return Parameter.Type.from_parameter_value(self.default)

    @property
    def constraints(self) -> str:
        """What a value must be, in words; empty where any value of the type will do."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
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
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            return f"{self.name} must be finite, not {value}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be {self.constraints}, not {value!r}"
        if isinstance(value, (list, tuple)) and self.lengths and len(value) not in (0, *self.lengths):
            return f"{self.name} must be {self.constraints}; {len(value)} given"
        return None


def _parameter(default: Any, change: Change, description: str, **rules: Any) -> Any:
    """Declare a field of `LocalizerParameters`."""
    metadata = {"change": change, "description": description, "rules": rules}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class LocalizerParameters:
    """The localizer's parameters; an instance holds the values at one moment."""

    autostart: bool = _parameter(
        True,
        Change.START,
        "Configure and activate the node by itself; false leaves both to a lifecycle manager.",
    )
    checkpoint: str = _parameter(
        "", Change.UNCONFIGURED, "Path of the trained network, a .safetensors file. Required."
    )
    device: str = _parameter(
        "auto",
        Change.UNCONFIGURED,
        "Where the network runs: auto (a GPU where there is one), cpu, cuda or cuda:N.",
    )
    threads: int = _parameter(
        0,
        Change.UNCONFIGURED,
        "CPU threads of one inference; 0 leaves it to torch, which takes every core.",
        minimum=0,
        maximum=256,
    )
    image_transport: str = _parameter(
        "raw",
        Change.UNCONFIGURED,
        "raw subscribes to sensor_msgs/Image on `image`; compressed to sensor_msgs/CompressedImage (JPEG, "
        "PNG) on `image/compressed`, where `image` is the topic after remapping.",
        choices=("raw", "compressed"),
    )
    image_reliability: str = _parameter(
        "auto",
        Change.UNCONFIGURED,
        "Reliability that the image subscription asks for. auto takes what the publishers offer, reliable "
        "while there are none, and subscribes anew when the offers change. A qos_overrides parameter goes "
        "before it.",
        choices=("auto", "reliable", "best_effort"),
    )
    map_frame: str = _parameter(
        "map", Change.UNCONFIGURED, "Frame of the poses: the trained world, as a TF frame."
    )
    base_frame: str = _parameter(
        "base_link", Change.UNCONFIGURED, "The robot's body frame, TF's child where the extrinsics are known."
    )
    camera_extrinsics: tuple[float, ...] = _parameter(
        (),
        Change.UNCONFIGURED,
        "Pose of the camera's optical frame (x right, y down, z forward) in base_frame: "
        "[x, y, z, qx, qy, qz, qw], or [x, y, z, roll, pitch, yaw] with R = Rz(yaw) Ry(pitch) "
        "Rx(roll), metres and radians. A camera that looks ahead has roll -1.5708, pitch 0, yaw -1.5708. Not "
        "set: unknown.",
        lengths=(6, 7),
    )
    tf_mode: str = _parameter(
        "auto",
        Change.UNCONFIGURED,
        "Transform on /tf: map_base (map_frame to base_frame, needs camera_extrinsics), map_camera "
        "(map_frame to the image's frame, which nothing else may parent), none; auto is map_base where "
        "camera_extrinsics is set and map_camera where it is not.",
        choices=("auto", "map_base", "map_camera", "none"),
    )
    path_length: int = _parameter(
        1000,
        Change.ANY_TIME,
        "Number of latest poses that ~/path keeps; 0 publishes none.",
        minimum=0,
        maximum=100_000,
    )
    max_age: float = _parameter(
        0.0,
        Change.ANY_TIME,
        "Seconds between an image's stamp and now beyond which it is dropped; 0 sets no limit. Give a limit "
        "only where the stamps and this node share a clock (on a replay: use_sim_time with /clock).",
        minimum=0.0,
        maximum=3600.0,
    )
    image_timeout: float = _parameter(
        5.0,
        Change.ANY_TIME,
        "Seconds without an image after which /diagnostics warns.",
        minimum=0.1,
        maximum=3600.0,
    )


def declarations() -> tuple[Declaration, ...]:
    """Return every parameter of the localizer, in the order in which they are declared."""
    return tuple(
        Declaration(
            entry.name,
            entry.default,  # type: ignore[arg-type]
            entry.metadata["description"],
            entry.metadata["change"],
            **entry.metadata["rules"],
        )
        for entry in fields(LocalizerParameters)
    )
