"""What an exported file says of itself: all of a checkpoint but its tensors, as text in the ONNX metadata.

Everything is JSON; arrays are base64 in it. Nothing is unpickled. A checksum of all that comes before it
ends the file.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hyperpose_core.checkpoint.file import (
    Checkpoint,
    checkpoint_description,
    checkpoint_from_description,
)
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.untrusted import parse_json, reading

_ARRAYS_KEY = "hyperpose_arrays"
_EXPORT_KEY = "hyperpose_export"
_CHECKSUM_KEY = b"hyperpose_crc32"
_CHECKSUM_DIGITS = 8
_ARRAY_TYPES = ("float16", "float32", "float64", "int32", "int64")


def metadata_of(checkpoint: Checkpoint, export: Mapping[str, object]) -> dict[str, str]:
    """Return the metadata of an exported file, text by name.

    Args:
        checkpoint: what was exported; its network's tensors are left out.
        export: how it was exported and what the check found, as JSON data, for people.
    """
    arrays, metadata = checkpoint_description(checkpoint)
    metadata[_ARRAYS_KEY] = json.dumps({name: _as_text(array) for name, array in arrays.items()})
    metadata[_EXPORT_KEY] = json.dumps(dict(export))
    return metadata


def checkpoint_from_metadata(path: Path, metadata: Mapping[str, str]) -> Checkpoint:
    """Build the checkpoint, without its network's tensors, from what `metadata_of` gave.

    Raises:
        HyperPoseError: the file was not made by `hyperpose export`, or the description is damaged.
    """
    if _ARRAYS_KEY not in metadata:
        raise HyperPoseError(f"{path}: not a file that `hyperpose export` wrote: it does not describe itself")
    with reading(path, "file's description"):
        described = parse_json(metadata[_ARRAYS_KEY], path)
        arrays = {str(name): _from_text(**fields) for name, fields in described.items()}
    return checkpoint_from_description(path, arrays, metadata)


def export_from_metadata(metadata: Mapping[str, str]) -> dict[str, object]:
    """Return how a file was exported; nothing where that is not told."""
    try:
        export = parse_json(metadata.get(_EXPORT_KEY, "{}"), "the file")
    except HyperPoseError:
        return {}
    return export if isinstance(export, dict) else {}


def with_checksum(model: bytes) -> bytes:
    """Add a last entry to an ONNX model's metadata: a checksum of all the bytes before it."""
    return model + _checksum_entry(model)


def check_checksum(path: Path, data: bytes) -> None:
    """Check the bytes of an exported file against the checksum that ends it; older files have none.

    Raises:
        HyperPoseError: they do not fit it.
    """
    size = len(_checksum_entry(b""))
    if _CHECKSUM_KEY in data and data[-size:] != _checksum_entry(memoryview(data)[:-size]):
        raise HyperPoseError(
            f"{path}: the content does not fit its checksum: damaged, or being written just now"
        )


def _checksum_entry(data: bytes | memoryview) -> bytes:
    """Return field 14 (metadata_props) of an ONNX ModelProto as a protocol buffer: tag, length, bytes."""
    value = f"{zlib.crc32(data):0{_CHECKSUM_DIGITS}x}".encode()
    entry = b"".join(
        (
            bytes([0x0A, len(_CHECKSUM_KEY)]) + _CHECKSUM_KEY,
            bytes([0x12, len(value)]) + value,
        )
    )
    return bytes([14 << 3 | 2, len(entry)]) + entry


def _as_text(array: np.ndarray) -> dict[str, object]:
    array = np.ascontiguousarray(array)
    return {
        "type": array.dtype.name,
        "shape": list(array.shape),
        "data": base64.b64encode(array.tobytes()).decode("ascii"),
    }


def _from_text(type: str, shape: list[int], data: str) -> np.ndarray:
    if type not in _ARRAY_TYPES:
        raise ValueError(f"an array of type {type!r}")
    values = np.frombuffer(base64.b64decode(data, validate=True), dtype=type)
    return values.reshape(shape).copy()
