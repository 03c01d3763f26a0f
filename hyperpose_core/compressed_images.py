"""Pixels of ROS compressed images: what a sensor_msgs/CompressedImage's format says of them counts.

As compressed_image_transport writes it: "bayer_rggb8; png compressed " is a mosaic, to be interpolated;
"rgb8; jpeg compressed bgr8" is a colour image; "rgb8; jpeg compressed rgb8" has red and blue swapped.
"""

from __future__ import annotations

import re

import numpy as np

from hyperpose_core.images import RgbImage, debayer, decode_image, decode_mosaic

_BAYER = re.compile(r"bayer_(rggb|grbg|gbrg|bggr)8$")
_SWAPPED = ("rgb8", "rgba8")


def decode_compressed(data: bytes, format: str, origin: str, reduction: int = 1) -> RgbImage:
    """Decode a compressed image message as RGB uint8 [H, W, 3].

    Args:
        data: the encoded bytes.
        format: the message's format.
        origin: what to call the image in an error.
        reduction: as `decode_image` takes it; a mosaic keeps its size.

    Raises:
        HyperPoseError: the bytes are no image, a damaged one, or one of too many pixels.
    """
    encoding, _, rest = (part.strip() for part in format.partition(";"))
    compressed_as = rest.partition("compressed")[2].strip()
    pattern = _BAYER.match(encoding)
    if pattern is not None and compressed_as in ("", encoding):
        mosaic = decode_mosaic(data, origin)
        if mosaic is not None:
            return debayer(mosaic, pattern[1])
    image = decode_image(data, origin, reduction)
    return np.ascontiguousarray(image[..., ::-1]) if compressed_as in _SWAPPED else image
