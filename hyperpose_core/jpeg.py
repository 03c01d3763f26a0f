"""JPEG to RGB, its pixels as they are stored; damaged ones are refused.

OpenCV's decoder fills what it cannot read with grey and tells standard error of it. The same library, asked
directly, gives the same pixels and says what is wrong.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import simplejpeg

from hyperpose_core.image_headers import encoded_size
from hyperpose_core.limits import MOST_JPEG_WORK

GREY = "Gray"
"""What `jpeg_colours` says of one channel."""

_FOR_PRINT = ("CMYK", "YCCK")
# Many webcams put a few bytes between the picture and its end, which harm nothing.
_STRAY_BYTES = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MOST_STRAY_BYTES = 16
_START_OF_SCAN = b"\xff\xda"


def decode_jpeg(data: bytes, reduction: int = 1) -> npt.NDArray[np.uint8]:
    """Decode a JPEG as RGB uint8 [H, W, 3].

    Args:
        data: the encoded bytes, whose header has a size.
        reduction: decode at 1/1, 1/2 or 1/4 of the size, rounded up.

    Raises:
        ValueError: the bytes are damaged, or take far longer to decode than a camera's.
    """
    size = encoded_size(data)
    if size is None:
        raise ValueError("no size in its header")
    # Each scan of a progressive JPEG refines the whole image, for which a few bytes are enough.
    if size[0] * size[1] * data.count(_START_OF_SCAN) > MOST_JPEG_WORK:
        raise ValueError(f"{data.count(_START_OF_SCAN)} scans of {size[1]}x{size[0]} pixels")
    height, width = (-(-length // reduction) for length in size)
    try:
        return _decode(data, height, width, strict=True)
    except ValueError as error:
        stray = _STRAY_BYTES.search(str(error))
        if stray is None or int(stray[1]) > _MOST_STRAY_BYTES:
            raise
    return _decode(data, height, width, strict=False)


def jpeg_colours(data: bytes) -> str:
    """Return what a JPEG's channels are: "Gray", "YCbCr", "RGB", "CMYK" or "YCCK".

    Raises:
        ValueError: its header is damaged.
    """
    return str(simplejpeg.decode_jpeg_header(data)[2])


def _decode(data: bytes, height: int, width: int, strict: bool) -> npt.NDArray[np.uint8]:
    is_for_print = jpeg_colours(data) in _FOR_PRINT
    pixels = simplejpeg.decode_jpeg(
        data, "CMYK" if is_for_print else "RGB", min_height=height, min_width=width, strict=strict
    )
    return _rgb_of_ink(pixels) if is_for_print else np.asarray(pixels, dtype=np.uint8)


def _rgb_of_ink(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the colours that cyan, magenta, yellow and black [H, W, 4] make on paper, as OpenCV has them."""
    black = pixels[..., 3].astype(np.uint16)
    colours = np.empty((*pixels.shape[:2], 3), dtype=np.uint8)
    for channel in range(3):
        colours[..., channel] = black - ((255 - pixels[..., channel]) * black >> 8)
    return colours
