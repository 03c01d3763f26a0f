"""The size that an encoded image claims, read from its header without decoding it.

A few bytes can claim gigabytes of pixels, and a decoder believes them.
"""

from __future__ import annotations

import re
import struct

FORMATS = "JPEG, PNG, BMP, PPM, TIFF or WebP"
"""What `encoded_size` knows."""

JPEG_BEGIN = b"\xff\xd8"
PNG_BEGIN = b"\x89PNG\r\n\x1a\n"

# Start-of-frame markers; C4, C8 and CC lie among them and mean other things.
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_LENGTHLESS_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
_PORTABLE_HEADER = re.compile(rb"P[1-6]\s(?:\s*#[^\n]*\n)*\s*(\d{1,9})\s+(?:#[^\n]*\n\s*)*(\d{1,9})\s")
_TIFF_SIZE_TYPES = {3: "H", 4: "I"}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) in pixels that an image's header claims; None where it is none of `FORMATS`."""
    readers = {
        JPEG_BEGIN: _jpeg_size,
        PNG_BEGIN: _png_size,
        b"BM": _bmp_size,
        b"P": _portable_size,
        b"RIFF": _webp_size,
        b"II*\0": _tiff_size,
        b"MM\0*": _tiff_size,
    }
    try:
        return next((read(data) for begin, read in readers.items() if data.startswith(begin)), None)
    except (struct.error, IndexError):
        return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = len(JPEG_BEGIN)
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # any number of fill bytes may stand before a marker
            position += 1
        elif marker in _JPEG_LENGTHLESS_MARKERS:
            position += 2
        elif marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return height, width
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            position += 2 + length
    return None


def _bmp_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(height), abs(width)  # rows from the top have a negative height


def _portable_size(data: bytes) -> tuple[int, int] | None:
    found = _PORTABLE_HEADER.match(data)
    return None if found is None else (int(found[2]), int(found[1]))


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[8:16]
    if kind == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"WEBPVP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"WEBPVP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    sizes = {}
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT) and kind in _TIFF_SIZE_TYPES:
            (sizes[tag],) = struct.unpack_from(order + _TIFF_SIZE_TYPES[kind], data, entry + 8)
    return (sizes[_TIFF_HEIGHT], sizes[_TIFF_WIDTH]) if len(sizes) == 2 else None
