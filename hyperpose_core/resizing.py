"""Resizes images as PyTorch does, to the bit, where there is no PyTorch.

PyTorch's antialiased bilinear filter for bytes (`torch.nn.functional.interpolate`, the way of Pillow) works
along rows, then along columns, with weights of 16 bits in fixed point, and rounds after either. All sums are
whole numbers, which floating point of enough digits adds exactly, in any order, as products of matrices.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_LARGEST_WEIGHT = 1 << 15
_MOST_BITS = 22
# Sums of bytes with weights of so many bits are exact in float32.
_BITS_OF_FLOAT32 = 16
# Outputs that are computed together.
_BLOCK = 12
# Multiplications in a product of matrices. OpenBLAS starts threads for more than 2^18, which costs many times
# what they save, and whole milliseconds where other processes keep the cores.
_LARGEST_PRODUCT = 200_000


class _Block(NamedTuple):
    """Outputs side by side: which of a filter's inputs they need, and weights [inputs, outputs]."""

    inputs: slice
    weights: npt.NDArray[np.floating]


class _Filter(NamedTuple):
    """What makes outputs of inputs along one side of an image.

    Attributes:
        inputs: those that are needed.
        blocks: of all outputs, in their order.
        bits: after the binary point of the weights, which are whole numbers.
    """

    inputs: slice
    blocks: tuple[_Block, ...]
    bits: int


def resize_bytes(image: Bytes, size: tuple[int, int], rows: slice, columns: slice) -> Bytes:
    """Resize an image and cut a part out, without computing the rest.

    Args:
        image: uint8 [H, W, 3].
        size: (height, width) in pixels of the whole image once it is resized.
        rows: the part's, of the resized image.
        columns: likewise.

    Returns:
        the part [3, h, w].
    """
    if image.shape[:2] == size:
        return np.stack(cv2.split(image[rows, columns]))
    along_rows = _filter(image.shape[1], size[1], columns.start, columns.stop)
    along_columns = _filter(image.shape[0], size[0], rows.start, rows.stop)
    part = image[along_columns.inputs, along_rows.inputs]
    planes = np.stack(cv2.split(part)).astype(np.uint8, copy=False)
    wide = _filtered(planes, along_rows)
    return _filtered(wide.transpose(0, 2, 1), along_columns).transpose(0, 2, 1)


def _filtered(planes: Bytes, along: _Filter) -> Bytes:
    """Filter planes [3, n, inputs] along the last side."""
    kind = along.blocks[0].weights.dtype
    values = planes.astype(kind)
    total = np.empty((*planes.shape[:2], sum(block.weights.shape[1] for block in along.blocks)), kind)
    end = 0
    for inputs, weights in along.blocks:
        begin, end = end, end + weights.shape[1]
        rows = max(1, _LARGEST_PRODUCT // weights.size)
        for top in range(0, planes.shape[1], rows):
            part = slice(top, top + rows)
            np.matmul(values[:, part, inputs], weights, out=total[:, part, begin:end])
    total += 1 << (along.bits - 1)
    total *= 2.0**-along.bits
    # Never more than 255: the weights' sum is off by less than half of what a byte's last bit is worth.
    return total.astype(np.uint8)


@lru_cache(maxsize=16)
def _filter(inputs: int, outputs: int, first_output: int, end: int) -> _Filter:
    """Make the filter of some of the outputs that a side of so many pixels has once it is resized."""
    scale = inputs / outputs
    support = max(scale, 1.0)
    most = math.ceil(support) * 2 + 1
    centres = scale * (np.arange(outputs) + 0.5)
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    counts = np.clip(np.minimum((centres + support + 0.5).astype(np.int64), inputs) - starts, 0, most)
    taps = np.arange(most)
    distances = np.abs((taps + (starts - centres)[:, None] + 0.5) * (1.0 / support))
    weights = np.where(taps < counts[:, None], np.maximum(1.0 - distances, 0.0), 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    bits = 0
    while bits < _MOST_BITS and int(0.5 + weights.max() * (1 << (bits + 1))) < _LARGEST_WEIGHT:
        bits += 1
    whole = np.floor(0.5 + weights * (1 << bits))
    kind = np.float32 if bits <= _BITS_OF_FLOAT32 else np.float64
    ends = starts + counts
    needed = slice(int(starts[first_output]), int(ends[end - 1]))
    blocks = []
    for begin in range(first_output, end, _BLOCK):
        chosen = range(begin, min(begin + _BLOCK, end))
        first, last = int(starts[begin]), int(ends[chosen[-1]])
        matrix = np.zeros((last - first, len(chosen)), dtype=kind)
        for column, output in enumerate(chosen):
            matrix[starts[output] - first : ends[output] - first, column] = whole[output, : counts[output]]
        blocks.append(_Block(slice(first - needed.start, last - needed.start), matrix))
    return _Filter(needed, tuple(blocks), bits)
