"""What a compression did, part by part, and what it changed on a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hyperpose_core.evaluation.documents import markdown_table


@dataclass(frozen=True)
class LayerReport:
    """What was done to a layer.

    Attributes:
        part: the part of the network that it belongs to.
        method: how it is held now.
        relative_error: |W - W'| / |W| of its weight, Frobenius norms.
    """

    part: str
    method: str
    relative_error: float


@dataclass(frozen=True)
class PartReport:
    """What was done to a part of the network.

    Attributes:
        name: one of `models.base.PARTS`.
        methods: the ways in which its layers are held now, with how many layers each.
        bytes_before: of all its tensors.
        bytes_after: the same now.
        largest_relative_error: of its layers; 0 where none changed.
    """

    name: str
    methods: Mapping[str, int]
    bytes_before: int
    bytes_after: int
    largest_relative_error: float

    @classmethod
    def of(cls, name: str, bytes_before: int, bytes_after: int, layers: Sequence[LayerReport]) -> PartReport:
        """Sum up a part's layers."""
        methods = [layer.method for layer in layers if layer.method != "float32"]
        counts = {method: methods.count(method) for method in dict.fromkeys(methods)}
        errors = [layer.relative_error for layer in layers]
        return cls(name, counts, bytes_before, bytes_after, max(errors, default=0.0))

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain JSON data."""
        data = asdict(self)
        del data["name"]
        return data


def compression_table(compression: Mapping[str, Any]) -> str:
    """Give a checkpoint's compression as a table, a row a part."""
    rows = [["part", "layers", "bytes before", "bytes after", "largest weight error"]]
    for name, part in compression["parts"].items():
        methods = ", ".join(f"{count} {method}" for method, count in part["methods"].items())
        rows.append(
            [
                name,
                methods or "as trained",
                f"{part['bytes_before']:,}",
                f"{part['bytes_after']:,}",
                f"{part['largest_relative_error']:.2%}",
            ]
        )
    rows.append(["all", "", f"{compression['bytes_before']:,}", f"{compression['bytes_after']:,}", ""])
    return markdown_table(rows)


def accuracy_lines(compression: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the change on a dataset as names and texts; nothing where none was asked about."""
    accuracy = compression.get("accuracy")
    if accuracy is None:
        return
    split = f", {accuracy['split']}" if accuracy["split"] else ""
    yield "data", f"{accuracy['data']}{split}, {accuracy['frames']} frames"
    for name, unit in (("position", "m"), ("orientation", "deg")):
        error = accuracy[f"{name}_error_median_{unit}"]
        yield f"median {name} error", _change(error, unit)


def _change(error: Mapping[str, Any], unit: str) -> str:
    before, after, change = (error[key] for key in ("before", "after", "change_percent"))
    if before is None or after is None:
        return "not known: some frames have no estimate"
    percent = "" if change is None else f" ({change:+.2f} %)"
    return f"{before:.4g} {unit} before, {after:.4g} {unit} after{percent}"
