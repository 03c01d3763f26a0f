"""From a frame's message to the image that the network is shown."""

from __future__ import annotations

from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import Preprocessing, RgbImage
from hyperpose_ros.common.conversions import (
    BadImageError,
    check_compressed_image,
    check_image,
    compressed_image_to_rgb,
    image_to_rgb,
)
from hyperpose_ros.images.camera_info import CameraCalibrations
from hyperpose_ros.images.inbox import Frame


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame and what is on it.

    Attributes:
        frame: as it was received.
        image: RGB uint8 [H, W, 3], as the network knows images.
        camera: the image's intrinsics, as the camera's camera_info says; None where it is not asked, or its
            lens is of no known model.
    """

    frame: Frame
    image: RgbImage
    camera: CameraModel | None = None


def decode(frame: Frame, checkpoint: Checkpoint, calibrations: CameraCalibrations | None) -> DecodedFrame:
    """Decode a frame's image, and rectify it where the network was trained on images without distortion.

    Args:
        frame: the frame.
        checkpoint: of the network that is asked.
        calibrations: what the cameras say of their lenses; None takes images as they are.

    Raises:
        BadImageError: the message is no image, or too narrow a one for the network, or not of the size that
            its camera_info says.
    """
    _check_shape(frame.message, checkpoint.preprocessing)
    if calibrations is None:
        return DecodedFrame(frame, _to_rgb(frame.message, checkpoint.preprocessing))
    # A calibration is that of the whole image.
    image = calibrations.rectify(frame.camera, _to_rgb(frame.message), checkpoint)
    return DecodedFrame(frame, image, calibrations.rectified_camera(frame.camera))


def whole_image(decoded: DecodedFrame) -> RgbImage:
    """Return a frame's image [H, W, 3] with every pixel, which the network may not have needed."""
    message = decoded.frame.message
    if isinstance(message, CompressedImage) and decoded.camera is None:
        is_reduced = check_compressed_image(message) != decoded.image.shape[:2]
        return _to_rgb(message) if is_reduced else decoded.image
    return decoded.image


def _check_shape(message: Image | CompressedImage, preprocessing: Preprocessing) -> None:
    if isinstance(message, CompressedImage):
        size = check_compressed_image(message)
    else:
        check_image(message)
        size = message.height, message.width
    try:
        preprocessing.resized_size(*size)
    except HyperPoseError as error:
        raise BadImageError("too_large", str(error)) from error


def _to_rgb(message: Image | CompressedImage, meant_for: Preprocessing | None = None) -> RgbImage:
    if isinstance(message, CompressedImage):
        return compressed_image_to_rgb(message, meant_for)
    return image_to_rgb(message)
