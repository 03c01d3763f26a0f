"""Messages to pixels and poses: every encoding that is read, and every kind of message that is not."""

from __future__ import annotations

import array
import tracemalloc

import cv2
import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("sensor_msgs", reason="the ROS 2 messages are missing")
pytest.importorskip("cv_bridge", reason="cv_bridge is missing")

from conftest import draw_image  # noqa: E402
from geometry_msgs.msg import Pose as PoseMessage  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from hyperpose_core.geometry.poses import Pose, euler_to_matrix  # noqa: E402
from hyperpose_core.images import RgbImage  # noqa: E402
from hyperpose_ros.common import conversions  # noqa: E402
from hyperpose_ros.common.conversions import BadImageError  # noqa: E402

HEIGHT, WIDTH = 38, 52
BAYER_PATTERNS = {"bayer_rggb8": "rggb", "bayer_grbg8": "grbg", "bayer_gbrg8": "gbrg", "bayer_bggr8": "bggr"}


def smooth_image() -> RgbImage:
    """Colours that change slowly, so that what interpolates colours (Bayer, YUV) has little to lose."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    red, green, blue = 40 + 4 * rows, 220 - 3 * columns, 30 + 2 * (rows + columns)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def to_message(encoding: str, rows: npt.NDArray[np.uint8], padding: int = 0, big: bool = False) -> Image:
    """Build a message of so many bytes [rows, row_bytes], each row followed by padding that is not black."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=199)
    message = Image(
        height=HEIGHT, width=WIDTH, encoding=encoding, step=padded.shape[1], is_bigendian=int(big)
    )
    message.data = array.array("B", padded.tobytes())
    return message


def encode(encoding: str, image: RgbImage, big: bool = False) -> npt.NDArray[np.uint8]:
    """Lay an image out as an encoding's rows of bytes, by the encoding's definition."""
    if encoding in BAYER_PATTERNS:
        mosaic = np.zeros((HEIGHT, WIDTH), np.uint8)
        for place, colour in enumerate(BAYER_PATTERNS[encoding]):
            row, column = divmod(place, 2)
            mosaic[row::2, column::2] = image[row::2, column::2, "rgb".index(colour)]
        return mosaic
    if encoding == "mono16":
        grey = grey_of(image).astype(np.uint16) * 257
        return np.frombuffer(grey.astype(">u2" if big else "<u2").tobytes(), np.uint8).reshape(HEIGHT, -1)
    if encoding == "mono8":
        return grey_of(image)
    if encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        luma, first, second = split_yuv(image)
        pairs = np.stack([first[:, ::2], second[:, ::2]], axis=-1).reshape(HEIGHT, WIDTH)
        order = (pairs, luma) if encoding in ("yuv422", "uyvy") else (luma, pairs)
        return np.stack(order, axis=-1).reshape(HEIGHT, -1)
    if encoding == "nv12":
        luma, first, second = split_yuv(image)
        chroma = np.stack([first[::2, ::2], second[::2, ::2]], axis=-1).reshape(HEIGHT // 2, WIDTH)
        return np.concatenate([luma, chroma])
    alpha = np.full((HEIGHT, WIDTH, 1), 77, np.uint8)
    channels = {"rgb8": image, "bgr8": image[..., ::-1]}
    channels |= {name[:3] + "a8": np.concatenate([data, alpha], -1) for name, data in channels.items()}
    return channels[encoding].reshape(HEIGHT, -1)


def grey_of(image: RgbImage) -> npt.NDArray[np.uint8]:
    return np.asarray(image[..., 1])


def split_yuv(image: RgbImage) -> tuple[npt.NDArray[np.uint8], ...]:
    """Luma and the two chroma planes of BT.601 with studio range, as video encodings have it."""
    red, green, blue = (image[..., channel].astype(np.float64) / 255 for channel in range(3))
    luma = 16 + 65.481 * red + 128.553 * green + 24.966 * blue
    blue_difference = 128 - 37.797 * red - 74.203 * green + 112 * blue
    red_difference = 128 + 112 * red - 93.786 * green - 18.214 * blue
    return tuple(np.rint(plane).astype(np.uint8) for plane in (luma, blue_difference, red_difference))


EXACT = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16")
INTERPOLATED = (*BAYER_PATTERNS, "yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12")


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("padding", [0, 12], ids=["tight", "padded"])
@pytest.mark.parametrize("encoding", [*EXACT, *INTERPOLATED])
def test_every_encoding_gives_the_pixels_it_holds(encoding: str, padding: int, big: bool) -> None:
    image = smooth_image()
    message = to_message(encoding, encode(encoding, image, big), padding, big)
    result = conversions.image_to_rgb(message)
    expected = np.repeat(grey_of(image)[..., None], 3, axis=-1) if encoding.startswith("mono") else image
    assert result.shape == (HEIGHT, WIDTH, 3) and result.dtype == np.uint8
    if encoding in EXACT:
        np.testing.assert_array_equal(result, expected)
    else:
        inside = np.abs(result.astype(int) - expected.astype(int))[2:-2, 2:-2]
        assert inside.max() <= 6, "no more than interpolation and rounding take away"


def test_sixteen_bits_are_scaled_and_not_cut() -> None:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype("<u2").reshape(HEIGHT, WIDTH)
    rows = np.frombuffer(values.tobytes(), np.uint8).reshape(HEIGHT, -1)
    result = conversions.image_to_rgb(to_message("mono16", rows))
    np.testing.assert_allclose(result[..., 0], values / 257.0, atol=0.51)


def test_an_rgb_image_survives_the_way_there_and_back() -> None:
    image = draw_image(3)
    message = conversions.rgb_to_image(image, 12_345_678_901, "camera")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 345_678_901)
    np.testing.assert_array_equal(conversions.image_to_rgb(message), image)


def broken(**changes: object) -> Image:
    message = conversions.rgb_to_image(draw_image(1, 10, 12), 0, "camera")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "cause", "words"),
    [
        (broken(encoding="32FC1"), "unknown_encoding", ["'32FC1'", "rgb8", "nv12"]),
        (broken(encoding=""), "unknown_encoding", ["''"]),
        (broken(data=array.array("B")), "empty", ["12x10", "0 bytes"]),
        (broken(width=0), "empty", ["0x10"]),
        (broken(height=0), "empty", ["12x0"]),
        (broken(data=array.array("B", bytes(359))), "wrong_length", ["12x10", "359", "360"]),
        (broken(data=array.array("B", bytes(361))), "wrong_length", ["361"]),
        (broken(step=35), "wrong_step", ["35", "36"]),
        (broken(step=37), "wrong_length", ["37", "360", "370"]),
        (broken(width=100_000, height=100_000, step=300_000), "too_large", ["100000x100000"]),
        (broken(width=2**32 - 1, height=2**32 - 1), "too_large", ["4294967295x4294967295"]),
        (broken(encoding="nv12", height=9, step=12), "wrong_size", ["nv12", "12x9", "2x2"]),
        (broken(encoding="yuyv", width=11, step=22), "wrong_size", ["yuyv", "11x10"]),
    ],
)
def test_a_message_that_is_no_image_is_refused_by_name(message: Image, cause: str, words: list[str]) -> None:
    with pytest.raises(BadImageError) as caught:
        conversions.image_to_rgb(message)
    assert caught.value.cause == cause
    for word in words:
        assert word in str(caught.value)


def compressed(data: bytes) -> CompressedImage:
    return CompressedImage(format="jpeg", data=array.array("B", data))


def encoded(extension: str, image: RgbImage) -> bytes:
    return cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def test_png_and_jpeg_are_decoded() -> None:
    image = draw_image(5)
    np.testing.assert_array_equal(
        conversions.compressed_image_to_rgb(compressed(encoded(".png", image))), image
    )
    smooth = smooth_image()
    decoded = conversions.compressed_image_to_rgb(compressed(encoded(".jpg", smooth)))
    assert np.abs(decoded.astype(int) - smooth).max() <= 12


def png_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(".png", draw_image(5)))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(".jpg", draw_image(5)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (b"hello", "undecodable"),
        (b"\xff\xd8", "undecodable"),
        (b"\xff\xd8\xff\xe0\x00\x00", "undecodable"),
        (b"\xff\xd8" + b"\xff" * 9, "undecodable"),
        (encoded(".png", draw_image(5))[:60], "undecodable"),
        (encoded(".bmp", draw_image(5)), "undecodable"),
        (png_claiming(100_000, 100_000), "too_large"),
        (png_claiming(0, 10), "too_large"),
        (jpeg_claiming(65_500, 65_500), "too_large"),
    ],
)
def test_a_compressed_message_that_is_no_image_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(BadImageError) as caught:
        conversions.compressed_image_to_rgb(compressed(data))
    assert caught.value.cause == cause


def test_refusing_a_giant_allocates_nothing() -> None:
    giants = [compressed(png_claiming(100_000, 100_000)), compressed(jpeg_claiming(65_500, 65_500))]
    raw = broken(width=100_000, height=100_000, step=300_000)
    tracemalloc.start()
    try:
        for message in giants:
            with pytest.raises(BadImageError):
                conversions.compressed_image_to_rgb(message)
        with pytest.raises(BadImageError):
            conversions.image_to_rgb(raw)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_pose_survives_the_way_there_and_back() -> None:
    pose = Pose(np.array([1.0, -2.0, 3.0]), np.array([0.5, -0.5, 0.1, 0.7]))
    message = conversions.pose_to_message(pose)
    assert message.orientation.w == pose.orientation[0] and message.orientation.x == pose.orientation[1]
    back = conversions.pose_from_message(message)
    np.testing.assert_allclose(back.matrix(), pose.matrix(), atol=1e-12)
    transform = conversions.transform_to_message("map", "camera", pose, 7)
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "camera")
    np.testing.assert_allclose(
        conversions.transform_from_message(transform).matrix(), pose.matrix(), atol=1e-12
    )


def test_a_pose_message_that_is_no_pose_is_an_error() -> None:
    message = PoseMessage()
    message.orientation.w = 0.0
    with pytest.raises(ValueError, match="zero norm"):
        conversions.pose_from_message(message)


@pytest.mark.parametrize("nanoseconds", [0, 999_999_999, 1_403_774_720_123_456_789, -1])
def test_stamps_are_exact(nanoseconds: int) -> None:
    stamp = conversions.stamp_from_nanoseconds(nanoseconds)
    assert conversions.stamp_to_nanoseconds(stamp) == nanoseconds


def test_a_covariance_keeps_its_order() -> None:
    covariance = np.arange(36.0).reshape(6, 6)
    message = conversions.covariance_to_message(covariance)
    assert message[1] == 1.0 and message[6] == 6.0
    np.testing.assert_array_equal(conversions.covariance_from_message(message), covariance)


def test_extrinsics_may_be_written_in_two_ways() -> None:
    quaternion = conversions.pose_from_numbers((1.0, 2.0, 3.0, -0.5, 0.5, -0.5, 0.5))
    angles = conversions.pose_from_numbers((1.0, 2.0, 3.0, -np.pi / 2, 0.0, -np.pi / 2))
    np.testing.assert_allclose(quaternion.matrix(), angles.matrix(), atol=1e-12)
    np.testing.assert_allclose(angles.rotation(), euler_to_matrix(-np.pi / 2, 0, -np.pi / 2), atol=1e-12)
    np.testing.assert_allclose(
        angles.transform([0, 0, 1]), [2, 2, 3], atol=1e-12, err_msg="z looks ahead, along x"
    )


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [((1.0, 2.0), "not 2"), ((0.0,) * 7, "norm 0"), ((0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0), "norm 1.41")],
)
def test_extrinsics_that_are_no_pose_are_refused(numbers: tuple[float, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        conversions.pose_from_numbers(numbers)
