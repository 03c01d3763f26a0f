"""A camera's lens as its CameraInfo describes it: what bends the image, how to undo it, how much is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import Preprocessing

_FISHEYE = "equidistant"
# Numbers of coefficients that each model may have.
_COEFFICIENTS = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (0, 4, 5, 8, 12, 14),
    _FISHEYE: (4,),
}
KNOWN_MODELS = tuple(_COEFFICIENTS)
"""Distortion models that can be undone."""

_PLUMB_BOB_COEFFICIENTS = 5
# Two calibrations of one lens differ by this much.
_SAME_FOCAL_LENGTH = 0.02
_SAME_COEFFICIENT = 0.02

Intrinsics = tuple[float, float, float, float]
"""fx, fy, cx, cy in pixels."""


@dataclass(frozen=True)
class Calibration:
    """What a CameraInfo says of the images that come with it.

    Attributes:
        width: of the images, pixels, after binning and within the region of interest.
        height: the same.
        model: the distortion model's name in the message.
        distortion: its coefficients; empty where there is none.
        intrinsics: of the images as the camera takes them (K).
        rectified_intrinsics: of the images once they are rectified (P; K where P is not set).
    """

    width: int
    height: int
    model: str
    distortion: tuple[float, ...]
    intrinsics: Intrinsics
    rectified_intrinsics: Intrinsics

    @property
    def is_known(self) -> bool:
        """Whether the lens can be rectified."""
        return not self.distortion or self.model in _COEFFICIENTS


def read_calibration(info: CameraInfo) -> Calibration:
    """Check a CameraInfo and take the region of interest and the binning into account.

    The rotation R, by which a stereo pair's images are made parallel, is left out: it would turn the camera's
    frame away from the one that the images name.

    Raises:
        HyperPoseError: it is not calibrated, its numbers are not finite, its size is impossible, or its model
            has another number of coefficients.
    """
    k, p, d = (np.asarray(values, dtype=np.float64) for values in (info.k, info.p, info.d))
    if not all(np.isfinite(values).all() for values in (k, p, d)):
        raise HyperPoseError("its numbers are not finite")
    if k[0] <= 0 or k[4] <= 0:
        raise HyperPoseError("the camera is not calibrated (K holds no focal length)")
    allowed = _COEFFICIENTS.get(info.distortion_model)
    if allowed is not None and len(d) not in allowed:
        choices = ", ".join(str(count) for count in allowed if count)
        raise HyperPoseError(f"{info.distortion_model} has {choices} coefficients, not {len(d)}")
    region, binning = info.roi, (max(1, info.binning_x), max(1, info.binning_y))
    has_region = region.width > 0 and region.height > 0
    width, height = (region.width, region.height) if has_region else (info.width, info.height)
    offset = (region.x_offset, region.y_offset) if has_region else (0, 0)
    if width < binning[0] or height < binning[1]:
        raise HyperPoseError(f"the images' size of {width}x{height} is impossible")

    def placed(fx: float, fy: float, cx: float, cy: float) -> Intrinsics:
        return (
            float(fx / binning[0]),
            float(fy / binning[1]),
            float((cx - offset[0]) / binning[0]),
            float((cy - offset[1]) / binning[1]),
        )

    intrinsics = placed(k[0], k[4], k[2], k[5])
    rectified = placed(p[0], p[5], p[2], p[6]) if p[0] > 0 and p[5] > 0 else intrinsics
    # The fisheye model bends lines where its coefficients are zero, too.
    is_bent = d.any() or info.distortion_model == _FISHEYE
    distortion = tuple(float(value) for value in d) if is_bent else ()
    return Calibration(
        width // binning[0], height // binning[1], info.distortion_model, distortion, intrinsics, rectified
    )


def rectification_maps(
    calibration: Calibration,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]:
    """Return what cv2.remap takes to rectify images of a lens whose model is known.

    OpenCV's models: plumb_bob and rational_polynomial are cv2.initUndistortRectifyMap's, equidistant is
    cv2.fisheye's (Kannala and Brandt, PAMI 2006).
    """
    size = (calibration.width, calibration.height)
    matrix, target = _matrix(calibration.intrinsics), _matrix(calibration.rectified_intrinsics)
    coefficients = np.array(calibration.distortion)
    build = (
        cv2.fisheye.initUndistortRectifyMap if calibration.model == _FISHEYE else cv2.initUndistortRectifyMap
    )
    first, second = build(matrix, coefficients, np.eye(3), target, size, cv2.CV_16SC2)
    return np.asarray(first, dtype=np.int16), np.asarray(second, dtype=np.uint16)


def seen_angles_deg(
    intrinsics: Intrinsics, width: int, height: int, preprocessing: Preprocessing
) -> tuple[float, float]:
    """Return the horizontal and vertical angle, degrees, that the network sees of a pinhole camera's images.

    Args:
        intrinsics: the camera's.
        width: of its images, pixels.
        height: the same.
        preprocessing: what of an image becomes the network's input.
    """
    resized, seen = preprocessing.resized_size(height, width), preprocessing.input_size(height, width)
    fx, fy, cx, cy = intrinsics
    return (
        _angle_deg(fx, cx, width, width * seen[1] / resized[1]),
        _angle_deg(fy, cy, height, height * seen[0] / resized[0]),
    )


def is_same_lens(calibration: Calibration, trained: CameraModel) -> bool:
    """Tell whether images of a camera are bent just as those of the training camera, whatever their size."""
    # Missing coefficients are zero; what plumb_bob lacks must be.
    count = max(len(calibration.distortion), len(trained.distortion), _PLUMB_BOB_COEFFICIENTS)
    ours, theirs = (_padded(values, count) for values in (calibration.distortion, trained.distortion))
    focal = (calibration.intrinsics[0] / calibration.width, calibration.intrinsics[1] / calibration.height)
    trained_focal = (trained.fx / trained.width, trained.fy / trained.height)
    return (
        calibration.model != _FISHEYE
        and calibration.is_known
        and np.allclose(ours, theirs, rtol=0.0, atol=_SAME_COEFFICIENT)
        and np.allclose(focal, trained_focal, rtol=_SAME_FOCAL_LENGTH)
    )


def _matrix(intrinsics: Intrinsics) -> npt.NDArray[np.float64]:
    fx, fy, cx, cy = intrinsics
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _angle_deg(focal_length: float, centre: float, size: int, seen: float) -> float:
    """Return the angle between the borders of the middle of an image; a pixel's centre is a whole number."""
    first = (size - seen) / 2 - 0.5
    before = math.atan((centre - first) / focal_length)
    return math.degrees(before + math.atan((first + seen - centre) / focal_length))


def _padded(values: Sequence[float], count: int) -> list[float]:
    return [*values, *[0.0] * count][:count]
