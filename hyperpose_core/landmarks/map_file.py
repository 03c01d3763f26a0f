"""Reads and writes the file of a landmark map: arrays by name and one JSON document. No torch, no mapping."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes, replace_bytes
from hyperpose_core.untrusted import parse_json, reading, reason_of

_VERSION_KEY = "hyperpose_map_version"
_DOCUMENT_KEY = "hyperpose_map"
_CHECKPOINT_KEY = "hyperpose_format_version"
_CHECKSUM_KEY = "crc32"
_HEADER_SIZE_BYTES = 8
_LARGEST_MAP_BYTES = 1 << 31

Arrays = Mapping[str, npt.NDArray[np.generic]]


def write(path: Path, arrays: Arrays, document: Mapping[str, object], version: int) -> None:
    """Write the file; an existing one is replaced only once the new one is whole.

    Raises:
        HyperPoseError: the file cannot be written.
    """
    replace_bytes(path, _encode(arrays, document, version), "map")


def size(arrays: Arrays, document: Mapping[str, object], version: int) -> int:
    """Return the size in bytes of the file that `write` writes."""
    return len(_encode(arrays, document, version))


def read(path: Path, version: int) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, object]]:
    """Read arrays, into memory of their own, and the document.

    Raises:
        HyperPoseError: the file is missing, truncated, no map or of another version, or its content is not
            what its checksum says, as while somebody writes into it.
    """
    if not path.exists():
        raise HyperPoseError(f"{path}: no such map; `hyperpose map build` makes one")
    data = read_bytes(path, "map", _LARGEST_MAP_BYTES)
    try:
        arrays = load(data)
        metadata = _metadata(data)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HyperPoseError(f"{path}: truncated, or not a landmark map ({reason_of(error)})") from error
    _check_version(path, metadata, version)
    text = metadata.get(_DOCUMENT_KEY, "")
    if metadata.get(_CHECKSUM_KEY) not in (None, _checksum(arrays, text)):
        raise HyperPoseError(
            f"{path}: the content does not fit its checksum: damaged, or being written just now"
        )
    document = parse_json(text, path, "map's description")
    if not isinstance(document, dict):
        raise HyperPoseError(f"{path}: the map's description is not a JSON object")
    return arrays, document


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what building a map from a damaged file raises into an error that names the file."""
    with reading(path, "map"):
        yield


def _encode(arrays: Arrays, document: Mapping[str, object], version: int) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(document)
    metadata = {
        _VERSION_KEY: str(version),
        _DOCUMENT_KEY: text,
        _CHECKSUM_KEY: _checksum(contiguous, text),
    }
    return bytes(save(contiguous, metadata))


def _checksum(arrays: Arrays, document: str) -> str:
    """Return a CRC-32 of everything a file says, however it is laid out."""
    described = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    value = zlib.crc32(json.dumps([document, described], sort_keys=True).encode())
    for name in sorted(arrays):
        value = zlib.crc32(arrays[name].tobytes(), value)
    return f"{value:08x}"


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
