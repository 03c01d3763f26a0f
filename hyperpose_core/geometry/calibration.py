"""A camera's lens as its sensor_msgs/CameraInfo describes it: what bends the image and how to undo it.

The one reading of that message, for nodes and for bags; the message may come from rclpy or from rosbags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel

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


class CameraInfo(Protocol):
    """What is read of a sensor_msgs/CameraInfo."""

    width: Any
    height: Any
    distortion_model: Any
    d: Any
    k: Any
    p: Any
    binning_x: Any
    binning_y: Any
    roi: Any


@dataclass(frozen=True)
class Calibration:
    """What a CameraInfo says of the images that come with it.

    Attributes:
        camera: of the images as they are taken (K), after binning and within the region of interest.
        rectified: of the same images once they are rectified (P; K where P is not set), without distortion.
    """

    camera: CameraModel
    rectified: CameraModel

    @property
    def is_known(self) -> bool:
        """Whether the lens can be rectified."""
        return not self.camera.distortion or self.camera.distortion_model in _COEFFICIENTS


def names_rectified_images(image_topic: str) -> bool:
    """Tell whether a topic's name says that its images are rectified, which camera_info itself never does."""
    return any(re.search(r"(^|_)rect(ified|_|$)", part) for part in image_topic.split("/"))


def is_calibrated(info: CameraInfo) -> bool:
    """Tell whether a CameraInfo says anything: drivers without a calibration send zeros."""
    return bool(info.k[0] > 0 and info.k[4] > 0)


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
    if not is_calibrated(info):
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

    def placed(fx: float, fy: float, cx: float, cy: float) -> CameraModel:
        # Binning divides the principal point as it is: that is image_geometry's reading of the message.
        return CameraModel(
            width // binning[0],
            height // binning[1],
            float(fx / binning[0]),
            float(fy / binning[1]),
            float((cx - offset[0]) / binning[0]),
            float((cy - offset[1]) / binning[1]),
            distortion_model=info.distortion_model,
        )

    camera = placed(k[0], k[4], k[2], k[5])
    rectified = placed(p[0], p[5], p[2], p[6]) if p[0] > 0 and p[5] > 0 else camera
    # The fisheye model bends lines where its coefficients are zero, too.
    is_bent = d.any() or info.distortion_model == _FISHEYE
    distortion = tuple(float(value) for value in d) if is_bent else ()
    return Calibration(replace(camera, distortion=distortion), rectified)


def rectification_maps(
    calibration: Calibration,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]:
    """Return what cv2.remap takes to rectify images of a lens whose model is known.

    OpenCV's models: plumb_bob and rational_polynomial are cv2.initUndistortRectifyMap's, equidistant is
    cv2.fisheye's (Kannala and Brandt, PAMI 2006).
    """
    camera, target = calibration.camera, calibration.rectified.matrix()
    size, coefficients = (camera.width, camera.height), np.array(camera.distortion)
    is_fisheye = camera.distortion_model == _FISHEYE
    build = cv2.fisheye.initUndistortRectifyMap if is_fisheye else cv2.initUndistortRectifyMap
    first, second = build(camera.matrix(), coefficients, np.eye(3), target, size, cv2.CV_16SC2)
    return np.asarray(first, dtype=np.int16), np.asarray(second, dtype=np.uint16)


def is_same_lens(calibration: Calibration, trained: CameraModel) -> bool:
    """Tell whether images of a camera are bent just as those of the training camera, whatever their size."""
    # Missing coefficients are zero; what plumb_bob lacks must be.
    camera = calibration.camera
    count = max(len(camera.distortion), len(trained.distortion), _PLUMB_BOB_COEFFICIENTS)
    ours, theirs = (_padded(values, count) for values in (camera.distortion, trained.distortion))
    focal = (camera.fx / camera.width, camera.fy / camera.height)
    trained_focal = (trained.fx / trained.width, trained.fy / trained.height)
    return (
        camera.distortion_model != _FISHEYE
        and calibration.is_known
        and np.allclose(ours, theirs, rtol=0.0, atol=_SAME_COEFFICIENT)
        and np.allclose(focal, trained_focal, rtol=_SAME_FOCAL_LENGTH)
    )


def _padded(values: Sequence[float], count: int) -> list[float]:
    return [*values, *[0.0] * count][:count]
