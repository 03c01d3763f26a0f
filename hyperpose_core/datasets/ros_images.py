"""Pixels of ROS image messages, read without ROS: as the node sees them, so training must."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import RgbImage, debayer

_BAYER_PATTERNS = ("rggb", "grbg", "gbrg", "bggr")
_SIXTEEN_TO_EIGHT_BITS = 1.0 / 257.0


@dataclass(frozen=True)
class _Layout:
    """Bytes a pixel takes, OpenCV's conversion to RGB (None where it is RGB), rows of the buffer a row."""

    pixel_bytes: int
    conversion: int | None = None
    rows: float = 1.0


_LAYOUTS: Mapping[str, _Layout] = MappingProxyType(
    {
        "rgb8": _Layout(3),
        "bgr8": _Layout(3, cv2.COLOR_BGR2RGB),
        "rgba8": _Layout(4, cv2.COLOR_RGBA2RGB),
        "bgra8": _Layout(4, cv2.COLOR_BGRA2RGB),
        "mono8": _Layout(1, cv2.COLOR_GRAY2RGB),
        "mono16": _Layout(2, cv2.COLOR_GRAY2RGB),
        **{f"bayer_{pattern}8": _Layout(1) for pattern in _BAYER_PATTERNS},
        "yuv422": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
        "uyvy": _Layout(2, cv2.COLOR_YUV2RGB_UYVY),
        "yuv422_yuy2": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
        "yuyv": _Layout(2, cv2.COLOR_YUV2RGB_YUY2),
        "nv12": _Layout(1, cv2.COLOR_YUV2RGB_NV12, rows=1.5),
    }
)


@dataclass(frozen=True, eq=False)
class RawImage:
    """The fields of a sensor_msgs/Image.

    Attributes:
        width: pixels.
        height: pixels.
        encoding: as sensor_msgs names it.
        step: bytes a row takes, padding included.
        big_endian: order of the bytes of a 16-bit pixel.
        data: the bytes, uint8 [height * step].
    """

    width: int
    height: int
    encoding: str
    step: int
    big_endian: bool
    data: npt.NDArray[np.uint8]

    def to_rgb(self, origin: str) -> RgbImage:
        """Return RGB uint8 [H, W, 3].

        Args:
            origin: what to call the image in an error.

        Raises:
            HyperPoseError: the encoding is unknown, or size, step and number of bytes contradict each other.
        """
        layout = _LAYOUTS.get(self.encoding)
        if layout is None:
            raise HyperPoseError(
                f"{origin}: encoding {self.encoding!r} is unknown; known: {', '.join(_LAYOUTS)}"
            )
        rows = self._rows(layout, origin)
        if self.encoding.startswith("bayer_"):
            return debayer(rows, self.encoding[len("bayer_") : -1])
        if self.encoding == "mono16":
            values = rows.view(">u2" if self.big_endian else "<u2").astype(np.uint16, copy=False)
            rows = np.asarray(cv2.convertScaleAbs(values, alpha=_SIXTEEN_TO_EIGHT_BITS), dtype=np.uint8)
        elif layout.pixel_bytes > 1:
            rows = rows.reshape(self.height, self.width, layout.pixel_bytes)
        if layout.conversion is None:
            return rows
        try:
            return np.asarray(cv2.cvtColor(rows, layout.conversion), dtype=np.uint8)
        except cv2.error as error:
            raise HyperPoseError(
                f"{origin}: {self.encoding} image of {self.width}x{self.height}: {error.err}"
            ) from error

    def _rows(self, layout: _Layout, origin: str) -> npt.NDArray[np.uint8]:
        """Return the rows without their padding, uint8 [rows, bytes]."""
        row_bytes = self.width * layout.pixel_bytes
        expected = int(self.height * layout.rows) * self.step
        if not row_bytes or not self.height or self.step < row_bytes or len(self.data) != expected:
            raise HyperPoseError(
                f"{origin}: {self.encoding} image of {self.width}x{self.height} with a step of {self.step} "
                f"has {len(self.data)} bytes instead of {expected}"
            )
        return np.ascontiguousarray(self.data.reshape(-1, self.step)[:, :row_bytes])
