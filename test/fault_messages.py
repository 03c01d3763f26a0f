"""Seeded random image messages with every fault that a camera, a driver or a wire can put into them."""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from conftest import draw_image
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_ros.common.conversions import rgb_to_image
from hyperpose_ros.common.image_formats import ENCODINGS

UNKNOWN_ENCODINGS = (
    "",
    "32FC1",
    "16UC1",
    "RGB8",
    "rgb8 ",
    "bayer_rggb16",
    "yuv420",
    "h264",
    "\u00e9\u4e16",
    "x" * 5000,
)
ODD_FRAMES = ("", "/camera", "camera frame", "\u043a\u0430\u043c\u0435\u0440\u0430", "f" * 3000, "..", "map")


@dataclass(frozen=True, eq=False)
class Fault:
    """A message and what must become of it.

    Attributes:
        message: the message.
        cause: what it must be refused for; empty where it may as well be answered, withheld or dropped.
    """

    message: Image | CompressedImage
    cause: str


def raw_faults(count: int, seed: int) -> list[Fault]:
    """Raw images with faults in every field."""
    generator = np.random.default_rng(seed)
    return [_RAW[generator.integers(len(_RAW))](generator) for _ in range(count)]


def compressed_faults(count: int, seed: int) -> list[Fault]:
    """JPEG and PNG images that are cut, flipped, swapped or none at all."""
    generator = np.random.default_rng(seed)
    return [_COMPRESSED[generator.integers(len(_COMPRESSED))](generator) for _ in range(count)]


def _good(generator: np.random.Generator) -> Image:
    """A good image; its stamp may lie anywhere in the past or in the future."""
    height, width = (2 * int(size) for size in generator.integers(8, 60, 2))
    message = rgb_to_image(draw_image(int(generator.integers(1000)), height, width), 0, "camera_frame")
    message.header.stamp.sec = int(generator.integers(0, 2**31 - 1))
    message.header.stamp.nanosec = int(generator.integers(0, 10**9))
    return message


def _random_bytes(generator: np.random.Generator, length: int) -> array.array[int]:
    return array.array("B", generator.bytes(length))


def _unknown_encoding(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.encoding = UNKNOWN_ENCODINGS[generator.integers(len(UNKNOWN_ENCODINGS))]
    return Fault(message, "unknown_encoding")


def _huge(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.width, message.height = (int(size) for size in generator.integers(100_000, 2**32, 2))
    message.step = int(generator.integers(0, 2**32))
    return Fault(message, "too_large")


def _claims_ten_gigapixels(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.width = message.height = 100_000
    message.step = 300_000
    return Fault(message, "too_large")


def _no_data(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.data = array.array("B")
    return Fault(message, "empty")


def _no_size(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    if generator.random() < 0.5:
        message.width = 0
    else:
        message.height = 0
    return Fault(message, "empty")


def _short_step(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.step = int(generator.integers(0, 3 * message.width))
    return Fault(message, "wrong_step")


def _wrong_length(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    right = len(message.data)
    length = int(generator.integers(1, 2 * right))
    message.data = _random_bytes(generator, length + (length == right))
    return Fault(message, "wrong_length")


def _odd_size(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.encoding = ("nv12", "yuv422", "yuyv", "uyvy", "yuv422_yuy2")[generator.integers(5)]
    message.width += 1
    return Fault(message, "wrong_size")


def _impossible_stamp(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.header.stamp.nanosec = int(generator.integers(10**9, 2**32))
    return Fault(message, "wrong_stamp")


def _extreme_stamp(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.header.stamp.sec = int(generator.choice([-(2**31), -1, 0, 2**31 - 1]))
    return Fault(message, "")


def _odd_frame(generator: np.random.Generator) -> Fault:
    message = _good(generator)
    message.header.frame_id = ODD_FRAMES[generator.integers(len(ODD_FRAMES))]
    return Fault(message, "")


def _noise_in_any_encoding(generator: np.random.Generator) -> Fault:
    """Right sizes, padding and any byte order, and pixels that mean nothing."""
    message = _good(generator)
    message.encoding = list(ENCODINGS)[generator.integers(len(ENCODINGS))]
    encoding = ENCODINGS[message.encoding]
    message.is_bigendian = int(generator.integers(0, 256))
    message.step = message.width * encoding.bytes_per_pixel + int(generator.integers(0, 64))
    message.data = _random_bytes(generator, encoding.expected_bytes(message.height, message.step))
    return Fault(message, "")


def _jpeg_or_png(generator: np.random.Generator) -> CompressedImage:
    extension = (".jpg", ".png")[generator.integers(2)]
    data = cv2.imencode(extension, draw_image(int(generator.integers(1000)), 48, 64))[1].tobytes()
    message = CompressedImage(format=extension.strip("."), data=array.array("B", data))
    message.header = _good(generator).header
    return message


def _cut(generator: np.random.Generator) -> Fault:
    """Cut before the end mark; with a whole header, it may be superseded before anybody looks at it."""
    message = _jpeg_or_png(generator)
    message.data = message.data[: int(generator.integers(1, len(message.data) - 12))]
    return Fault(message, "")


def _flipped(generator: np.random.Generator) -> Fault:
    message = _jpeg_or_png(generator)
    data = np.frombuffer(bytes(message.data), np.uint8).copy()
    for place in generator.integers(0, len(data), generator.integers(1, 40)):
        data[place] ^= 1 << int(generator.integers(8))
    message.data = array.array("B", data.tobytes())
    return Fault(message, "")


def _noise(generator: np.random.Generator) -> Fault:
    message = _jpeg_or_png(generator)
    message.data = _random_bytes(generator, int(generator.integers(1, 5000)))
    return Fault(message, "undecodable")


def _nothing(generator: np.random.Generator) -> Fault:
    message = _jpeg_or_png(generator)
    message.data = array.array("B")
    return Fault(message, "empty")


def _giant_png(generator: np.random.Generator) -> Fault:
    message = _jpeg_or_png(generator)
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR" + 2 * (100_000).to_bytes(4, "big")
    message.data = array.array("B", header + generator.bytes(100) + b"IEND")
    return Fault(message, "too_large")


def _odd_format(generator: np.random.Generator) -> Fault:
    message = _jpeg_or_png(generator)
    message.format = ("", "h264", "\u00e9", "jpeg; garbage", "x" * 5000)[generator.integers(5)]
    return Fault(message, "")


_RAW: tuple[Callable[[np.random.Generator], Fault], ...] = (
    _unknown_encoding,
    _huge,
    _claims_ten_gigapixels,
    _no_data,
    _no_size,
    _short_step,
    _wrong_length,
    _odd_size,
    _impossible_stamp,
    _extreme_stamp,
    _odd_frame,
    _noise_in_any_encoding,
)
_COMPRESSED: tuple[Callable[[np.random.Generator], Fault], ...] = (
    _cut,
    _flipped,
    _flipped,
    _noise,
    _nothing,
    _giant_png,
    _odd_format,
)
