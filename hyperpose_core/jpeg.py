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

# Many webcams put a few bytes between the picture and its end, which harm nothing.
_STRAY_BYTES = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MOST_STRAY_BYTES = 16

RGB_LIKE = ("Gray", "YCbCr", "RGB")
"""Of `jpeg_colours`, what `decode_jpeg` decodes; the others are for printers."""


def decode_jpeg(data: bytes, reduction: int = 1) -> npt.NDArray[np.uint8]:
    """Decode a JPEG as RGB uint8 [H, W, 3].

    Args:
        data: the encoded bytes, whose header has a size.
        reduction: decode at 1/1, 1/2 or 1/4 of the size, rounded up.

    Raises:
        ValueError: the bytes are damaged, or in colours that are no RGB.
    """
    size = encoded_size(data)
    if size is None:
        raise ValueError("no size in its header")
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
    pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, strict=strict)
    return np.asarray(pixels, dtype=np.uint8)
