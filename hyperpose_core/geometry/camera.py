"""Cameras: intrinsics, lens distortion, and what resizing and cropping an image makes of them.

A pixel's centre is a whole number, as in OpenCV: (0, 0) is the middle of the upper left pixel, and an image
reaches from -0.5 to its size less 0.5. NumPy only: a robot may have no PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hyperpose_core.geometry.poses import Array
from hyperpose_core.limits import LARGEST_IMAGE_PIXELS

PLUMB_BOB = "plumb_bob"
"""The distortion model with radial and tangential terms (Brown, 1966), as sensor_msgs/CameraInfo names it."""


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera and its lens.

    Attributes:
        width: image width, pixels.
        height: image height, pixels.
        fx: focal length along x, pixels.
        fy: focal length along y, pixels.
        cx: principal point along x, pixels.
        cy: principal point along y, pixels.
        distortion: the distortion model's coefficients in OpenCV's order, (k1, k2, p1, p2, k3) for plumb-bob;
            empty where the images have no distortion.
        distortion_model: its name in sensor_msgs/CameraInfo; without coefficients it says nothing.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    distortion_model: str = PLUMB_BOB

    def matrix(self) -> Array:
        """Return the camera matrix K [3, 3]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, height: int, width: int) -> CameraModel:
        """Return the camera of its images once they are resized to height and width, pixels."""
        along_x, along_y = width / self.width, height / self.height
        # Resizing keeps the image's corner, which lies at -0.5.
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * along_x,
            fy=self.fy * along_y,
            cx=(self.cx + 0.5) * along_x - 0.5,
            cy=(self.cy + 0.5) * along_y - 0.5,
        )

    def has_proportions(self, width: int, height: int) -> bool:
        """Tell whether images of a size, pixels, can be its images resized, up to rounding."""
        return abs(width * self.height - height * self.width) <= max(self.width, self.height)

    def cropped(self, top: int, left: int, height: int, width: int) -> CameraModel:
        """Return the camera of what is cut out of its images: rows from top, columns from left, pixels."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def field_of_view_deg(self) -> tuple[float, float]:
        """Return the horizontal and the vertical angle between the image's borders, degrees.

        Distortion is left aside: they are those of rectified images.
        """
        return _angle_deg(self.fx, self.cx, self.width), _angle_deg(self.fy, self.cy, self.height)

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold."""
        data = asdict(self)
        if self.distortion_model == PLUMB_BOB:
            # Files that name no model mean this one: those that need no other can be read by every version.
            del data["distortion_model"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CameraModel:
        """Build from what `to_dict` gave.

        Raises:
            KeyError: the distortion is missing.
            TypeError: another key is missing or unknown.
            ValueError: it has no pixels, more than an image may have, or no focal length.
        """
        camera = cls(**{**data, "distortion": tuple(data["distortion"])})
        if not (camera.width > 0 and camera.height > 0 and camera.fx > 0 and camera.fy > 0):
            raise ValueError(
                f"a camera of {camera.width}x{camera.height} pixels, fx {camera.fx}, fy {camera.fy}"
            )
        if camera.width * camera.height > LARGEST_IMAGE_PIXELS:
            raise ValueError(f"a camera of more than {LARGEST_IMAGE_PIXELS:,} pixels")
        return camera


def _angle_deg(focal_length: float, centre: float, size: int) -> float:
    before, after = centre + 0.5, size - 0.5 - centre
    return math.degrees(math.atan(before / focal_length) + math.atan(after / focal_length))
