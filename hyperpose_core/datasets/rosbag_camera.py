"""The camera of a bag's images, as its camera_info says it."""

from __future__ import annotations

from dataclasses import replace

from hyperpose_core.datasets.findings import Findings
from hyperpose_core.datasets.rosbag_reading import Bag
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.calibration import (
    Calibration,
    is_calibrated,
    names_rectified_images,
    read_calibration,
)
from hyperpose_core.geometry.camera import PLUMB_BOB, CameraModel

_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_COMPRESSED = "/compressed"
_PLUMB_BOB_COEFFICIENTS = 5
_LIKE_PLUMB_BOB = (PLUMB_BOB, "rational_polynomial")


def read_camera_info(bag: Bag, topic: str | None, image_topic: str, findings: Findings) -> CameraModel | None:
    """Return the camera that a bag's camera_info says, None where it says none that is a pinhole.

    Args:
        bag: an open bag.
        topic: its camera_info topic; None for the one beside the image topic, where it is.
        image_topic: the images' topic, whose name says whether they are rectified.
        findings: gets a camera_info that contradicts itself, which says no camera.

    Raises:
        HyperPoseError: the bag has no such topic.
    """
    if topic is None:
        topic = f"{image_topic.removesuffix(_COMPRESSED).rpartition('/')[0]}/camera_info"
        if bag.topics.get(topic) != _CAMERA_INFO:
            return None
    info = bag.decode(next(bag.messages(topic)), bag.require(topic, (_CAMERA_INFO,)))
    if not is_calibrated(info):
        return None
    try:
        calibration = read_calibration(info)
    except HyperPoseError as error:
        findings.fault(f"camera_info that says no camera: {error}", f"{bag.path.name}, {topic}")
        return None
    rectified = names_rectified_images(image_topic.removesuffix(_COMPRESSED))
    return replace(calibration.rectified, distortion_model=PLUMB_BOB) if rectified else _pinhole(calibration)


def check_camera_size(camera: CameraModel, size: tuple[int, int], where: str) -> None:
    """Refuse a camera that is another one than the images'.

    Args:
        camera: as camera_info says it.
        size: the images' (width, height), pixels.
        where: the bag and its image topic.

    Raises:
        HyperPoseError: the sizes differ.
    """
    if (camera.width, camera.height) != size:
        raise HyperPoseError(
            f"{where}: images are {size[0]}x{size[1]}, camera_info is for {camera.width}x{camera.height}: "
            "what resized the images did not adapt it; give option camera=WIDTH,HEIGHT,FX,FY,CX,CY"
        )


def _pinhole(calibration: Calibration) -> CameraModel | None:
    camera = calibration.camera
    if not camera.distortion:
        return replace(camera, distortion_model=PLUMB_BOB)
    if camera.distortion_model not in _LIKE_PLUMB_BOB or any(camera.distortion[_PLUMB_BOB_COEFFICIENTS:]):
        return None
    return replace(camera, distortion=camera.distortion[:_PLUMB_BOB_COEFFICIENTS], distortion_model=PLUMB_BOB)
