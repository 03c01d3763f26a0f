"""Writes `.safetensors` files whose tensors can be used where they are, mapped into memory.

The library's own writer puts tensors wherever the one before ends; kernels take slower paths, with other last
bits, for memory that starts anywhere. Here the large ones start at multiples of 64 bytes. Any reader of the
format reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes; what PyTorch's own memory is aligned to on the CPU."""

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
_HEADER_SIZE_BYTES = 8


def write_tensor_file(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata.

    Args:
        path: the file, which is overwritten; never one that is mapped.
        tensors: by name, on any device.
        metadata: text by name.

    Raises:
        OSError: the file cannot be written.
    """
    header, names = _header(tensors, metadata)
    with path.open("wb") as file:
        file.write(header)
        for name in names:
            file.write(_bytes_of(tensors[name]).data)


def tensor_file_size(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """Give the size in bytes of the file that `write_tensor_file` writes."""
    return len(_header(tensors, metadata)[0]) + sum(tensor.nbytes for tensor in tensors.values())


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> tuple[bytes, list[str]]:
    """Return what the file begins with, its size included, and the tensors' names in the file's order."""
    names = sorted(tensors, key=lambda name: _place(name, tensors[name]))
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
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
    text += b" " * (-(_HEADER_SIZE_BYTES + len(text)) % ALIGNMENT)
    return len(text).to_bytes(_HEADER_SIZE_BYTES, "little") + text, names


def _place(name: str, tensor: Tensor) -> tuple[bool, int, str]:
    """Give a tensor's place in the file: whole blocks first, then by type, the widest first."""
    return tensor.nbytes % ALIGNMENT != 0, -tensor.itemsize, name


def _bytes_of(tensor: Tensor) -> npt.NDArray[np.uint8]:
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return flat.numpy()
