"""The raw formats of image messages: how each lays its bytes out, and how it becomes RGB.

cv_bridge turns the common 8-bit encodings into arrays. Its old port in the wheels misreads rows with padding,
16 bits, big-endian data and one Bayer pattern, so padding is stripped before and the rest is done here.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt
from cv_bridge import CvBridge
from sensor_msgs.msg import Image

from hyperpose_core.images import RgbImage, debayer

# 65535 / 257 = 255 exactly.
_SIXTEEN_TO_EIGHT_BITS = 1.0 / 257.0


@dataclass(frozen=True)
class Encoding:
    """One raw encoding.

    Attributes:
        bytes_per_pixel: bytes that a pixel takes within a row (of the first plane).
        to_rgb: turns a message whose size, step and length are right into RGB uint8 [H, W, 3].
        width_multiple: the width must be a multiple of this.
        height_multiple: the height must be a multiple of this.
        buffer_height: rows in the buffer for each two rows of the image.
    """

    bytes_per_pixel: int
    to_rgb: Callable[[Image], RgbImage]
    width_multiple: int = 1
    height_multiple: int = 1
    buffer_height: int = 2

    def expected_bytes(self, height: int, step: int) -> int:
        """Return how many bytes an image of so many rows has, a row taking `step` bytes."""
        return step * (height * self.buffer_height // 2)


def _from_bridge(message: Image) -> RgbImage:
    return np.asarray(CvBridge().imgmsg_to_cv2(_without_padding(message), "rgb8"), dtype=np.uint8)


def _from_bayer(pattern: str, message: Image) -> RgbImage:
    return debayer(CvBridge().imgmsg_to_cv2(_without_padding(message), "passthrough"), pattern)


def _from_mono16(message: Image) -> RgbImage:
    order = ">u2" if message.is_bigendian else "<u2"
    rows = np.ascontiguousarray(_rows(message, message.width * 2))
    values = rows.view(order).astype(np.uint16, copy=False)
    grey = cv2.convertScaleAbs(values, alpha=_SIXTEEN_TO_EIGHT_BITS)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _from_yuv422(code: int, message: Image) -> RgbImage:
    pixels = _rows(message, message.width * 2).reshape(message.height, message.width, 2)
    return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def _from_nv12(message: Image) -> RgbImage:
    planes = np.ascontiguousarray(_rows(message, message.width))
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12), dtype=np.uint8)


def _rows(message: Image, row_bytes: int) -> npt.NDArray[np.uint8]:
    """Return the rows of all planes without their padding, uint8 [rows, row_bytes], not copied."""
    return np.frombuffer(message.data, dtype=np.uint8).reshape(-1, message.step)[:, :row_bytes]


def _without_padding(message: Image) -> Image:
    """Return an 8-bit message in the one form that every cv_bridge reads rightly; itself if it is that."""
    row_bytes = message.width * ENCODINGS[message.encoding].bytes_per_pixel
    if message.step == row_bytes and not message.is_bigendian:
        return message
    tight = Image(height=message.height, width=message.width, encoding=message.encoding, step=row_bytes)
    tight.data = array.array("B", _rows(message, row_bytes).tobytes())
    return tight


ENCODINGS: Mapping[str, Encoding] = MappingProxyType(
    {
        "rgb8": Encoding(3, _from_bridge),
        "bgr8": Encoding(3, _from_bridge),
        "rgba8": Encoding(4, _from_bridge),
        "bgra8": Encoding(4, _from_bridge),
        "mono8": Encoding(1, _from_bridge),
        "mono16": Encoding(2, _from_mono16),
        "bayer_rggb8": Encoding(1, partial(_from_bayer, "rggb")),
        "bayer_grbg8": Encoding(1, partial(_from_bayer, "grbg")),
        "bayer_gbrg8": Encoding(1, partial(_from_bayer, "gbrg")),
        "bayer_bggr8": Encoding(1, partial(_from_bayer, "bggr")),
        "yuv422": Encoding(2, partial(_from_yuv422, cv2.COLOR_YUV2RGB_UYVY), width_multiple=2),
        "uyvy": Encoding(2, partial(_from_yuv422, cv2.COLOR_YUV2RGB_UYVY), width_multiple=2),
        "yuv422_yuy2": Encoding(2, partial(_from_yuv422, cv2.COLOR_YUV2RGB_YUY2), width_multiple=2),
        "yuyv": Encoding(2, partial(_from_yuv422, cv2.COLOR_YUV2RGB_YUY2), width_multiple=2),
        "nv12": Encoding(1, _from_nv12, width_multiple=2, height_multiple=2, buffer_height=3),
    }
)
"""What `sensor_msgs/Image.encoding` may say."""
