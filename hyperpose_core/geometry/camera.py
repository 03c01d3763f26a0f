"""The camera that images were taken with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera.

    Attributes:
        width: image width, pixels.
        height: image height, pixels.
        fx: focal length along x, pixels.
        fy: focal length along y, pixels.
        cx: principal point along x, pixels.
        cy: principal point along y, pixels.
        distortion: plumb-bob coefficients (k1, k2, p1, p2, k3); empty where the images have no distortion.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
