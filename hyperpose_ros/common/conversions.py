"""ROS messages to arrays and poses, and back: the only place where the two meet.

ROS writes quaternions (x, y, z, w), the core (w, x, y, z); both orders exist here and nowhere else.
"""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CompressedImage, Image

from hyperpose_core.compressed_images import decode_compressed
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array, Pose, euler_to_matrix, matrix_to_quaternion
from hyperpose_core.image_headers import JPEG_BEGIN, PNG_BEGIN, encoded_size
from hyperpose_core.images import Preprocessing, RgbImage
from hyperpose_core.limits import LARGEST_IMAGE_PIXELS
from hyperpose_ros.common.image_formats import ENCODINGS

_NANOSECONDS = 1_000_000_000
_QUATERNION_NORM_TOLERANCE = 0.01


class BadImageError(HyperPoseError):
    """A message that is no image that this node reads.

    Attributes:
        cause: the kind of fault in one word, by which refusals are counted.
    """

    def __init__(self, cause: str, reason: str) -> None:
        """Build the error from its kind and a sentence that names the culprit."""
        super().__init__(reason)
        self.cause = cause


def check_image(message: Image) -> None:
    """Check that an image message is what its fields say, without touching its pixels.

    Raises:
        BadImageError: the encoding is unknown, the image is empty or too large, or the step or the number of
            bytes contradicts the size; or the stamp is none.
    """
    _check_stamp(message.header.stamp)
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        known = ", ".join(ENCODINGS)
        raise BadImageError("unknown_encoding", f"encoding {message.encoding!r} is unknown; known: {known}")
    image, length = f"{message.encoding} image of {message.width}x{message.height}", len(message.data)
    if message.width == 0 or message.height == 0 or length == 0:
        raise BadImageError("empty", f"{image} with {length} bytes is empty")
    if message.width * message.height > LARGEST_IMAGE_PIXELS:
        raise BadImageError("too_large", f"{image}: at most {LARGEST_IMAGE_PIXELS} pixels are possible")
    if message.width % encoding.width_multiple or message.height % encoding.height_multiple:
        multiple = f"{encoding.width_multiple}x{encoding.height_multiple}"
        raise BadImageError("wrong_size", f"{image}: the size must be a multiple of {multiple}")
    row_bytes = message.width * encoding.bytes_per_pixel
    if message.step < row_bytes:
        raise BadImageError(
            "wrong_step", f"{image} has a step of {message.step} bytes; a row takes {row_bytes}"
        )
    expected = encoding.expected_bytes(message.height, message.step)
    if length != expected:
        reason = f"{image} with a step of {message.step} has {length} bytes instead of {expected}"
        raise BadImageError("wrong_length", reason)


def check_compressed_image(message: CompressedImage) -> tuple[int, int]:
    """Check what a compressed image's header claims, without decoding it.

    Returns:
        (height, width) in pixels, as the header has it.

    Raises:
        BadImageError: it is empty, neither JPEG nor PNG, claims an impossible size, or its stamp is none.
    """
    _check_stamp(message.header.stamp)
    if len(message.data) == 0:
        raise BadImageError("empty", f"compressed image (format {message.format!r}) is empty")
    data = bytes(message.data)
    size = encoded_size(data) if data.startswith((JPEG_BEGIN, PNG_BEGIN)) else None
    if size is None:
        raise BadImageError(
            "undecodable", f"compressed image (format {message.format!r}) is neither a JPEG nor a PNG image"
        )
    if not 0 < size[0] * size[1] <= LARGEST_IMAGE_PIXELS:
        raise BadImageError(
            "too_large",
            f"compressed image claims {size[1]}x{size[0]}; 1 to {LARGEST_IMAGE_PIXELS} pixels are possible",
        )
    return size


def _check_stamp(stamp: Time) -> None:
    # A pose would be stamped otherwise than its image, or not at all where the seconds overflow.
    if stamp.nanosec >= _NANOSECONDS:
        raise BadImageError(
            "wrong_stamp", f"the image's stamp has {stamp.nanosec} nanoseconds, more than a second's"
        )


def image_to_rgb(message: Image) -> RgbImage:
    """Turn an image message into RGB uint8 [H, W, 3].

    Raises:
        BadImageError: see `check_image`.
    """
    check_image(message)
    return ENCODINGS[message.encoding].to_rgb(message)


def compressed_image_to_rgb(message: CompressedImage, meant_for: Preprocessing | None = None) -> RgbImage:
    """Decode a JPEG or PNG image message to RGB uint8 [H, W, 3].

    Args:
        message: the image.
        meant_for: all that the image will be used for: a JPEG far larger than it needs is decoded to a half,
            or a quarter of its size. None keeps every pixel.

    Raises:
        BadImageError: see `check_compressed_image`; also where the bytes after a good header are damaged.
    """
    size = check_compressed_image(message)
    reduction = 1 if meant_for is None else meant_for.reduction(*size)
    try:
        origin = f"compressed image (format {message.format!r})"
        return decode_compressed(bytes(message.data), message.format, origin, reduction)
    except HyperPoseError as error:
        raise BadImageError("undecodable", str(error)) from error


def rgb_to_image(image: RgbImage, stamp_ns: int, frame_id: str) -> Image:
    """Turn RGB uint8 [H, W, 3] into an rgb8 message.

    Args:
        image: the pixels.
        stamp_ns: the header's stamp in nanoseconds.
        frame_id: the camera's optical frame.
    """
    message = Image(height=image.shape[0], width=image.shape[1], encoding="rgb8", step=3 * image.shape[1])
    message.header.stamp = stamp_from_nanoseconds(stamp_ns)
    message.header.frame_id = frame_id
    # Anything but an array.array is checked byte by byte.
    message.data = array.array("B", np.ascontiguousarray(image).tobytes())
    return message


def stamp_to_nanoseconds(stamp: Time) -> int:
    """Return a stamp as integer nanoseconds."""
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)


def stamp_from_nanoseconds(nanoseconds: int) -> Time:
    """Return integer nanoseconds as a stamp."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def pose_to_message(pose: Pose) -> PoseMessage:
    """Return a pose as a geometry_msgs/Pose."""
    message = PoseMessage()
    message.position.x, message.position.y, message.position.z = (float(value) for value in pose.position)
    w, x, y, z = (float(value) for value in pose.orientation)
    message.orientation.x, message.orientation.y, message.orientation.z, message.orientation.w = x, y, z, w
    return message


def pose_from_message(message: PoseMessage) -> Pose:
    """Return a geometry_msgs/Pose as a pose.

    Raises:
        ValueError: a number is not finite, or the quaternion is zero.
    """
    position, orientation = message.position, message.orientation
    return Pose(
        np.array([position.x, position.y, position.z]),
        np.array([orientation.w, orientation.x, orientation.y, orientation.z]),
    )


def transform_to_message(parent: str, child: str, pose: Pose, stamp_ns: int) -> TransformStamped:
    """Return the pose of a child frame in its parent frame as a transform."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = stamp_from_nanoseconds(stamp_ns)
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = (float(value) for value in pose.position)
    rotation.w, rotation.x, rotation.y, rotation.z = (float(value) for value in pose.orientation)
    return message


def transform_from_message(message: TransformStamped) -> Pose:
    """Return the pose of a transform's child frame in its parent frame.

    Raises:
        ValueError: a number is not finite, or the quaternion is zero.
    """
    translation, rotation = message.transform.translation, message.transform.rotation
    return Pose(
        np.array([translation.x, translation.y, translation.z]),
        np.array([rotation.w, rotation.x, rotation.y, rotation.z]),
    )


def covariance_to_message(covariance: Array) -> Array:
    """Return a covariance [6, 6] (x, y, z, rot x, rot y, rot z) as the 36 numbers of PoseWithCovariance."""
    return np.asarray(covariance, dtype=np.float64).reshape(36)


def covariance_from_message(numbers: Array) -> Array:
    """Return the 36 numbers of a PoseWithCovariance as a covariance [6, 6]."""
    return np.array(numbers, dtype=np.float64).reshape(6, 6)


def pose_from_numbers(numbers: Sequence[float]) -> Pose:
    """Return a pose written as [x, y, z, qx, qy, qz, qw] or [x, y, z, roll, pitch, yaw], metres and radians.

    Raises:
        ValueError: there are neither six nor seven finite numbers, or the quaternion is no unit quaternion.
    """
    position, rotation = np.array(numbers[:3]), np.array(numbers[3:])
    if len(rotation) == 3:
        return Pose(position, matrix_to_quaternion(euler_to_matrix(*rotation)))
    if len(rotation) != 4:
        raise ValueError(f"a pose is six or seven numbers, not {len(numbers)}")
    norm = float(np.linalg.norm(rotation))
    # Rounding in a configuration file is fine; another norm is a slip of the pen.
    if not abs(norm - 1.0) < _QUATERNION_NORM_TOLERANCE:
        raise ValueError(f"the quaternion (qx, qy, qz, qw) has norm {norm:.3g} instead of 1")
    return Pose(position, rotation[[3, 0, 1, 2]])
