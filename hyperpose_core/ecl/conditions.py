"""Which conditions are made, and the prompts for them: YAML in, checked when read."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hyperpose_core.datasets.cambridge import ORIGINAL
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES
from hyperpose_core.untrusted import parse_yaml, reading

_STRICT = ConfigDict(extra="forbid", strict=True)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, config=_STRICT)
class PipelineSettings:
    """How InstructPix2Pix (Brooks, Holynski and Efros, CVPR 2023) is run.

    Attributes:
        steps: denoising steps an image.
        guidance_scale: weight of the prompt.
        image_guidance_scale: weight of the source image.
        resolution: longer side that the network works at, pixels.
    """

    steps: int = Field(default=50, ge=1)
    guidance_scale: float = Field(default=7.5, ge=0)
    image_guidance_scale: float = Field(default=1.5, ge=1)
    resolution: int = Field(default=512, ge=64)


@dataclass(frozen=True, config=_STRICT)
class Conditions:
    """What to make of every frame.

    Attributes:
        conditions: name of a condition -> InstructPix2Pix's prompt for it.
        pipeline: how InstructPix2Pix is run.
    """

    conditions: dict[str, str] = Field(min_length=1)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings)

    def chosen(self, names: Sequence[str] | None) -> Conditions:
        """Return these conditions only, in this order; all where `names` is None.

        Raises:
            HyperPoseError: a name is not among them.
        """
        for name in names or ():
            if name not in self.conditions:
                raise HyperPoseError(
                    f"condition {name!r} has no prompt; there are: {', '.join(self.conditions)}"
                )
        wanted = dict.fromkeys(self.conditions if names is None else names)
        return replace(self, conditions={name: self.conditions[name] for name in wanted})


_CONDITIONS: TypeAdapter[Conditions] = TypeAdapter(Conditions)


def load_conditions(path: Path | None = None) -> Conditions:
    """Read a file like the shipped `conditions.yaml`; None reads that one.

    Raises:
        HyperPoseError: the file cannot be read, a key is unknown, or a value is wrong; the key is named.
    """
    source = files("hyperpose_core.ecl").joinpath("conditions.yaml") if path is None else path
    text = (
        source.read_bytes() if path is None else read_bytes(path, "file of prompts", LARGEST_DOCUMENT_BYTES)
    )
    data = parse_yaml(text, source, "file of prompts")
    conditions = _checked(data, str(source))
    for name, prompt in conditions.conditions.items():
        if not _NAME.fullmatch(name) or name == ORIGINAL:
            raise HyperPoseError(
                f"{source}: condition {name!r} cannot be a folder's name; use letters, digits, - and _, and "
                f"not {ORIGINAL!r}"
            )
        if not prompt.strip():
            raise HyperPoseError(f"{source}: conditions.{name}: the prompt is empty")
    return conditions


def _checked(data: Mapping[str, object], origin: str) -> Conditions:
    try:
        with reading(origin, "file of prompts"):
            document = json.dumps(data, default=str)
        # Strict checking takes mappings for dataclasses in JSON only.
        return _CONDITIONS.validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise HyperPoseError(
            f"{origin}: {key}: {first['msg']} (got {reprlib.repr(first['input'])})"
        ) from error
