"""Reads and writes `.safetensors` files, with a checksum of everything in them.

Tensors are read into memory of their own, never mapped: whatever happens to the file later, they stay what
they were. A file that is read while somebody writes into it is told by its checksum.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import opened

# Bytes; what PyTorch's own memory is aligned to on the CPU, for readers that map the file.
_ALIGNMENT = 64

_TYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_TYPES = {name: kind for kind, name in _TYPE_NAMES.items()}
_HEADER_SIZE_BYTES = 8
_LARGEST_HEADER_BYTES = 100_000_000  # the format's own limit
_METADATA = "__metadata__"
_CHECKSUM = "crc32"
_NO_CHECKSUM = "0" * 8
_DIGEST_DIGITS = 16


def read_tensor_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata.

    Returns:
        the tensors by name, in the file's order, on the CPU, each in aligned memory of its own; and text by
        name. The checksum is taken out. Files of other writers have none.

    Raises:
        HyperPoseError: there is no such file, it is truncated or of another kind, or its content is not what
            its checksum says, as while somebody writes into it.
    """
    with opened(path, "checkpoint file") as stream:
        try:
            metadata, entries = _read_header(stream)
            tensors = {name: _read_tensor(stream, *entry) for name, entry in entries}
            if stream.read(1):
                raise ValueError("there are bytes behind the last tensor")
        except (ValueError, TypeError, KeyError, RecursionError, MemoryError, RuntimeError) as error:
            raise HyperPoseError(f"{path}: truncated, or not a .safetensors checkpoint ({error})") from error
    expected = metadata.pop(_CHECKSUM, None)
    if expected is not None and expected != _checksum(tensors, metadata):
        raise HyperPoseError(
            f"{path}: the content does not fit its checksum: damaged, or being written just now"
        )
    return tensors, metadata


def write_tensor_file(stream: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, metadata and a checksum of both.

    Args:
        stream: where to.
        tensors: by name, on any device.
        metadata: text by name.

    Raises:
        OSError: it cannot be written.
    """
    header, names = _header(tensors, metadata, _checksum(tensors, metadata))
    stream.write(header)
    for name in names:
        stream.write(_bytes_of(tensors[name]).data)


def tensor_file_size(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """Give the size in bytes of the file that `write_tensor_file` writes."""
    return len(_header(tensors, metadata, _NO_CHECKSUM)[0]) + sum(
        tensor.nbytes for tensor in tensors.values()
    )


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits that tell tensors by their names, types, shapes and values from others."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, _TYPE_NAMES[tensor.dtype], list(tensor.shape)]).encode())
        digest.update(_bytes_of(tensor).data)
    return digest.hexdigest()[:_DIGEST_DIGITS]


def _header(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], checksum: str
) -> tuple[bytes, list[str]]:
    """Return what the file begins with, its size included, and the tensors' names in the file's order."""
    names = sorted(tensors, key=lambda name: _place(name, tensors[name]))
    entries: dict[str, object] = {_METADATA: {**metadata, _CHECKSUM: checksum}}
    start = 0
    for name in names:
        tensor = tensors[name]
        entries[name] = {
            "dtype": _TYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + tensor.nbytes],
        }
        start += tensor.nbytes
    text = json.dumps(entries).encode()
    # The format allows spaces after the JSON, and no gaps between tensors.
    text += b" " * (-(_HEADER_SIZE_BYTES + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(_HEADER_SIZE_BYTES, "little") + text, names


def _read_header(
    stream: BinaryIO,
) -> tuple[dict[str, str], list[tuple[str, tuple[torch.dtype, list[int]]]]]:
    """Return the metadata, and name, type and shape of each tensor in the order of their bytes.

    Raises:
        ValueError: it is not the format's header; other errors of what JSON may hold in its place.
    """
    size = int.from_bytes(stream.read(_HEADER_SIZE_BYTES), "little")
    text = stream.read(size) if 2 <= size <= _LARGEST_HEADER_BYTES else b""
    if len(text) < max(size, 2):
        raise ValueError("no header")
    header = json.loads(text)
    metadata = {str(key): str(value) for key, value in header.pop(_METADATA, {}).items()}
    end, entries = 0, []
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        kind, shape = _TYPES[entry["dtype"]], entry["shape"]
        begin, end_of_this = entry["data_offsets"]
        if begin != end or any(type(length) is not int or length < 0 for length in shape):
            raise ValueError(f"tensor {name!r} lies in an impossible place or has an impossible shape")
        end = begin + math.prod(shape) * kind.itemsize
        if end != end_of_this:
            raise ValueError(f"tensor {name!r} has {end_of_this - begin} bytes instead of {end - begin}")
        entries.append((name, (kind, shape)))
    if end > os.fstat(stream.fileno()).st_size:
        raise ValueError("tensors are missing")
    return metadata, entries


def _read_tensor(stream: BinaryIO, kind: torch.dtype, shape: list[int]) -> Tensor:
    tensor = torch.empty(shape, dtype=kind)
    if stream.readinto(_bytes_of(tensor).data) < tensor.nbytes:  # type: ignore[attr-defined]
        raise ValueError("tensors are missing")
    return tensor


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return a CRC-32 of everything a file says, however it is laid out."""
    described = {name: [_TYPE_NAMES[tensor.dtype], list(tensor.shape)] for name, tensor in tensors.items()}
    value = zlib.crc32(json.dumps([dict(metadata), described], sort_keys=True).encode())
    for name in sorted(tensors):
        value = zlib.crc32(_bytes_of(tensors[name]).data, value)
    return f"{value:08x}"


def _place(name: str, tensor: Tensor) -> tuple[bool, int, str]:
    """Give a tensor's place in the file: whole blocks first, then by type, the widest first."""
    return tensor.nbytes % _ALIGNMENT != 0, -tensor.itemsize, name


def _bytes_of(tensor: Tensor) -> npt.NDArray[np.uint8]:
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return flat.numpy()
