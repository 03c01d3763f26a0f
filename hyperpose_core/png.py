"""Whether a PNG is whole: each part is there, and what decoding needs is what its checksum says.

OpenCV's decoder believes the lengths that parts claim, which can be gigabytes, and libpng writes to standard
error what is damaged.
"""

from __future__ import annotations

import struct
import zlib

from hyperpose_core.image_headers import PNG_BEGIN

_FRAME_BYTES = 12  # of a part around its content: length, kind, checksum
_FIRST, _LAST = b"IHDR", b"IEND"
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_LOWER_CASE = 0x20


def check_png(data: bytes) -> None:
    """Check a PNG's parts, see https://www.w3.org/TR/png; comments and the like may be damaged.

    Args:
        data: the encoded bytes.

    Raises:
        ValueError: they are truncated or damaged.
    """
    view = memoryview(data)
    position, kind, expected = len(PNG_BEGIN), b"", _FIRST
    while kind != _LAST:
        if position + _FRAME_BYTES > len(data):
            raise ValueError("truncated")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + _FRAME_BYTES + length
        if end > len(data) or (expected and kind != expected) or (kind == _FIRST and not expected):
            raise ValueError(f"a part {kind!r} of {length:,} bytes in a wrong place")
        if not kind[0] & _LOWER_CASE:
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if kind not in _CRITICAL or zlib.crc32(view[position + 4 : end - 4]) != checksum:
                raise ValueError(f"the checksum of a part {kind!r} is wrong")
        position, expected = end, b""
