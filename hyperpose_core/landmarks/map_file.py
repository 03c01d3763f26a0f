"""Reads and writes the file of a landmark map: arrays by name and one JSON document. No torch, no mapping."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hyperpose_core.errors import HyperPoseError

_VERSION_KEY = "hyperpose_map_version"
_DOCUMENT_KEY = "hyperpose_map"
_CHECKPOINT_KEY = "hyperpose_format_version"
_HEADER_SIZE_BYTES = 8

Arrays = Mapping[str, npt.NDArray[np.generic]]


def write(path: Path, arrays: Arrays, document: Mapping[str, object], version: int) -> None:
    """Write the file; an existing one is replaced only once the new one is whole.

    Raises:
        HyperPoseError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(_encode(arrays, document, version))
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise HyperPoseError(f"{path}: cannot write the map: {error.strerror or error}") from error


def size(arrays: Arrays, document: Mapping[str, object], version: int) -> int:
    """Return the size in bytes of the file that `write` writes."""
    return len(_encode(arrays, document, version))


def read(path: Path, version: int) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, object]]:
    """Read arrays, into memory of their own, and the document.

    Raises:
        HyperPoseError: the file is missing, truncated, no map or of another version.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise HyperPoseError(f"{path}: no such map; `hyperpose map build` makes one") from error
    except OSError as error:
        raise HyperPoseError(f"{path}: cannot read the map: {error.strerror or error}") from error
    try:
        arrays = load(data)
        metadata = _metadata(data)
    except (SafetensorError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise HyperPoseError(f"{path}: truncated, or not a landmark map ({error})") from error
    _check_version(path, metadata, version)
    try:
        document = json.loads(metadata[_DOCUMENT_KEY])
    except (KeyError, json.JSONDecodeError) as error:
        raise HyperPoseError(f"{path}: the map's description is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise HyperPoseError(f"{path}: the map's description is not a JSON object")
    return arrays, document


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what building a map from a damaged file raises into an error that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise HyperPoseError(f"{path}: the map is damaged: {reason}") from error


def _encode(arrays: Arrays, document: Mapping[str, object], version: int) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {_VERSION_KEY: str(version), _DOCUMENT_KEY: json.dumps(document)}
    return bytes(save(contiguous, metadata))


def _metadata(data: bytes) -> Mapping[str, str]:
    """Return the metadata, which the library's reader of bytes keeps to itself."""
    end = _HEADER_SIZE_BYTES + int.from_bytes(data[:_HEADER_SIZE_BYTES], "little")
    header = json.loads(data[_HEADER_SIZE_BYTES:end])
    return dict(header.get("__metadata__") or {})


def _check_version(path: Path, metadata: Mapping[str, str], version: int) -> None:
    found = metadata.get(_VERSION_KEY)
    if found is None and _CHECKPOINT_KEY in metadata:
        raise HyperPoseError(f"{path}: a checkpoint, not a landmark map")
    if found is None:
        raise HyperPoseError(f"{path}: tensors without a map's description: not a landmark map")
    if found != str(version):
        raise HyperPoseError(
            f"{path}: map format version {found}; this program reads {version}: build the map again, "
            "or use the version that wrote it"
        )
