"""The ROS messages that bags are made of, from datasets' records."""

from __future__ import annotations

import array

import cv2
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.images import RgbImage, read_image
from hyperpose_ros.common.conversions import pose_to_message, stamp_from_nanoseconds

COMPRESSIONS = ("none", "jpeg", "png")

_SIGNATURES = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}
_PLUMB_BOB_COEFFICIENTS = 5


def header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with a stamp in nanoseconds."""
    return Header(stamp=stamp_from_nanoseconds(stamp_ns), frame_id=frame_id)


def compressed_image_message(
    record: PosedImage, compression: str, quality: int, stamp_ns: int, frame_id: str
) -> CompressedImage:
    """Return a dataset's image as JPEG or PNG.

    A file that is read as it lies and has that format already goes in byte for byte: encoding it again would
    only lose quality and time.

    Args:
        record: the dataset's image.
        compression: "jpeg" or "png".
        quality: JPEG quality, 1 to 100.
        stamp_ns: the header's stamp, nanoseconds.
        frame_id: the header's frame.

    Raises:
        HyperPoseError: the image is missing or no image.
    """
    data = _file_bytes(record, compression)
    if data is None:
        data = _encode(record.read(), compression, quality)
    message = CompressedImage(
        header=header(stamp_ns, frame_id), format=f"rgb8; {compression} compressed bgr8"
    )
    message.data = array.array("B", data)
    return message


def camera_info_message(camera: CameraModel, stamp_ns: int, frame_id: str) -> CameraInfo:
    """Return the camera info of a pinhole camera with plumb-bob distortion (all zeros where it has none)."""
    distortion = [*camera.distortion, *[0.0] * _PLUMB_BOB_COEFFICIENTS][:_PLUMB_BOB_COEFFICIENTS]
    return CameraInfo(
        header=header(stamp_ns, frame_id),
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=distortion,
        k=[camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def pose_message(pose: Pose, stamp_ns: int, frame_id: str) -> PoseStamped:
    """Return a stamped pose; `frame_id` is the parent frame."""
    return PoseStamped(header=header(stamp_ns, frame_id), pose=pose_to_message(pose))


def _file_bytes(record: PosedImage, compression: str) -> bytes | None:
    if record.reader is not read_image:
        return None
    try:
        data = record.path.read_bytes()
    except OSError as error:
        raise HyperPoseError(f"{record.path}: cannot read the image: {error.strerror or error}") from error
    return data if data.startswith(_SIGNATURES[compression]) else None


def _encode(image: RgbImage, compression: str, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if compression == "jpeg" else []
    done, data = cv2.imencode(f".{compression}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise HyperPoseError(
            f"an image of {image.shape[1]}x{image.shape[0]} pixels cannot be encoded as {compression}"
        )
    return data.tobytes()
