"""What a bag says of its camera and its pixels: CameraInfo and CompressedImage.format, read as nodes do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image
from dataset_layouts import FOCAL, HEIGHT, PERIOD_NS, START_NS, WIDTH, BagWriter, shots
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage

from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import RgbImage
from hyperpose_ros.common.conversions import compressed_image_to_rgb

TYPES = get_typestore(Stores.ROS2_HUMBLE).types
ZERO = (0.0,) * 5
BARREL = (-0.2, 0.05, 0.001, 0.0, 0.0)


@dataclass(frozen=True)
class Info:
    """A CameraInfo: the sensor's size and intrinsics, and what of it the images are."""

    size: tuple[int, int] = (WIDTH, HEIGHT)
    k: tuple[float, float, float] = (FOCAL, 63.5, 47.5)
    p: tuple[float, float, float] = (FOCAL, 63.5, 47.5)
    model: str = "plumb_bob"
    d: tuple[float, ...] = ZERO
    binning: int = 0
    region: tuple[int, int, int, int] = (0, 0, 0, 0)


def write_bag(
    folder: Path, info: Info, topic: str = "/camera/image_raw", format: str = "png", data: bytes = b""
) -> Path:
    """Write three images with their poses; the image is frame 0's where no bytes are given."""
    writer = BagWriter(folder, "mcap", TYPES)
    bgr = cv2.cvtColor(draw_image(0, HEIGHT, WIDTH), cv2.COLOR_RGB2BGR)
    data = data or cv2.imencode(".png", bgr)[1].tobytes()
    for frame in shots(3):
        stamp = START_NS + frame.index * PERIOD_NS
        header = writer.header(stamp, "camera_optical")
        image = {"header": header, "format": format, "data": np.frombuffer(data, np.uint8)}
        writer.add(f"{topic}/compressed", "sensor_msgs/msg/CompressedImage", stamp, **image)
        writer.truth(frame, stamp, stamp, "pose")
        x, y, width, height = info.region
        roi = writer.make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=x,
            y_offset=y,
            width=width,
            height=height,
            do_rectify=False,
        )
        (f, cx, cy), (pf, px, py) = info.k, info.p
        writer.add(
            f"{topic.rpartition('/')[0]}/camera_info",
            "sensor_msgs/msg/CameraInfo",
            stamp,
            header=header,
            width=info.size[0],
            height=info.size[1],
            distortion_model=info.model,
            d=np.array(info.d),
            k=np.array([f, 0, cx, 0, f, cy, 0, 0, 1.0]),
            r=np.eye(3).ravel(),
            p=np.array([pf, 0, px, 0, 0, pf, py, 0, 0, 0, 1.0, 0]),
            binning_x=info.binning,
            binning_y=info.binning,
            roi=roi,
        )
    writer.close()
    return folder


def pinhole(f: float, cx: float, cy: float, distortion: tuple[float, ...] = ()) -> CameraModel:
    return CameraModel(WIDTH, HEIGHT, f, f, cx, cy, distortion)


CAMERAS = {
    "as it is": (Info(), "/camera/image_raw", pinhole(FOCAL, 63.5, 47.5)),
    "region of interest": (
        Info(size=(320, 240), k=(260.0, 159.5, 119.5), region=(140, 100, WIDTH, HEIGHT)),
        "/camera/image_raw",
        pinhole(260.0, 19.5, 19.5),
    ),
    "binning": (
        Info(size=(2 * WIDTH, 2 * HEIGHT), k=(200.0, 128.0, 96.0), binning=2),
        "/camera/image_raw",
        pinhole(100.0, 64.0, 48.0),
    ),
    "lens": (Info(d=BARREL), "/camera/image_raw", pinhole(FOCAL, 63.5, 47.5, BARREL)),
    "rectified": (Info(d=BARREL, p=(90.0, 60.0, 40.0)), "/left/image_rect_color", pinhole(90.0, 60.0, 40.0)),
    "rectified folder": (Info(d=BARREL, p=(90.0, 60.0, 40.0)), "/rgb/rect/image", pinhole(90.0, 60.0, 40.0)),
    "called direct": (Info(d=BARREL), "/direct/image", pinhole(FOCAL, 63.5, 47.5, BARREL)),
    "fisheye": (Info(model="equidistant", d=(0.05, -0.02, 0.0, 0.0)), "/camera/image_raw", None),
    "fisheye without coefficients": (Info(model="equidistant", d=(0.0,) * 4), "/camera/image_raw", None),
    "lens of no model": (Info(model="", d=BARREL), "/camera/image_raw", None),
    "not calibrated": (Info(k=(0.0, 0.0, 0.0), model="", d=()), "/camera/image_raw", None),
}


@pytest.mark.parametrize("case", CAMERAS)
def test_the_camera_of_the_images_is_read(case: str, tmp_path: Path) -> None:
    info, topic, expected = CAMERAS[case]
    assert open_dataset(write_bag(tmp_path / "bag", info, topic)).camera == expected


def test_a_camera_info_of_another_size_is_refused_and_can_be_replaced(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", Info(size=(320, 240), k=(260.0, 159.5, 119.5)))
    with pytest.raises(HyperPoseError, match="images are 128x96, camera_info is for 320x240.*camera="):
        open_dataset(bag)
    assert open_dataset(bag, camera="128,96,104,104,63.5,47.5").camera == pinhole(104.0, 63.5, 47.5)


def mosaic(image: RgbImage, pattern: str) -> np.ndarray:
    """Return what a sensor with a Bayer filter sees of an image."""
    grey = np.empty(image.shape[:2], np.uint8)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        grey[rows, columns] = image[rows, columns, "rgb".index(colour)]
    return grey


SMOOTH = cv2.GaussianBlur(draw_image(5, HEIGHT, WIDTH), (0, 0), 4)
BGR = cv2.cvtColor(SMOOTH, cv2.COLOR_RGB2BGR)
FORMATS = {
    **{
        f"bayer_{pattern}8; png compressed ": (".png", mosaic(SMOOTH, pattern))
        for pattern in ("rggb", "grbg", "gbrg", "bggr")
    },
    "bayer_rggb8; png compressed bayer_rggb8": (".png", mosaic(SMOOTH, "rggb")),
    "bayer_rggb8; jpeg compressed bgr8": (".jpg", BGR),
    "rgb8; jpeg compressed bgr8": (".jpg", BGR),
    "rgb8; png compressed rgb8": (".png", SMOOTH),
    "jpeg": (".jpg", BGR),
}


@pytest.mark.parametrize("format", FORMATS)
def test_a_compressed_images_format_counts_in_bag_and_node(format: str, tmp_path: Path) -> None:
    suffix, pixels = FORMATS[format]
    data = cv2.imencode(suffix, pixels)[1].tobytes()
    bag = open_dataset(write_bag(tmp_path / "bag", Info(), format=format, data=data))
    from_bag = bag.images[0].read()
    from_node = compressed_image_to_rgb(CompressedImage(format=format, data=data))
    np.testing.assert_array_equal(from_bag, from_node)
    inner = (slice(2, -2), slice(2, -2))  # a mosaic's border is copied
    assert np.abs(from_bag[inner].astype(int) - SMOOTH[inner]).mean() < 3.0


def test_a_grey_image_of_a_bayer_camera_stays_grey() -> None:
    """image_proc made it grey before it was compressed: nothing is to be interpolated."""
    grey = cv2.cvtColor(SMOOTH, cv2.COLOR_RGB2GRAY)
    message = CompressedImage(
        format="bayer_rggb8; png compressed mono8", data=cv2.imencode(".png", grey)[1].tobytes()
    )
    np.testing.assert_array_equal(compressed_image_to_rgb(message), np.dstack([grey] * 3))
