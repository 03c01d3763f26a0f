"""From a frame's message to the image that the network is shown."""

from __future__ import annotations

from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.images import Preprocessing, RgbImage
from hyperpose_ros.common.conversions import compressed_image_to_rgb, image_to_rgb
from hyperpose_ros.images.camera_info import CameraCalibrations
from hyperpose_ros.images.inbox import Frame


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame and what is on it.

    Attributes:
        frame: as it was received.
        image: RGB uint8 [H, W, 3], as the network knows images.
    """

    frame: Frame
    image: RgbImage


def decode(frame: Frame, checkpoint: Checkpoint, calibrations: CameraCalibrations | None) -> DecodedFrame:
    """Decode a frame's image, and rectify it where the network was trained on images without distortion.

    Args:
        frame: the frame.
        checkpoint: of the network that is asked.
        calibrations: what the cameras say of their lenses; None takes images as they are.

    Raises:
        BadImageError: the message is no image, or not of the size that its camera_info says.
    """
    if calibrations is None:
        return DecodedFrame(frame, _to_rgb(frame.message, checkpoint.preprocessing))
    # A calibration is that of the whole image.
    return DecodedFrame(frame, calibrations.rectify(frame.camera, _to_rgb(frame.message), checkpoint))


def _to_rgb(message: Image | CompressedImage, meant_for: Preprocessing | None = None) -> RgbImage:
    if isinstance(message, CompressedImage):
        return compressed_image_to_rgb(message, meant_for)
    return image_to_rgb(message)
