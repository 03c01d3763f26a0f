"""camera_info: images rectified where the lens asks for it, left alone where the network knows the lens."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")
pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")

from conftest import draw_image  # noqa: E402
from localizer_helpers import (  # noqa: E402
    RELIABLE,
    SECOND,
    Conversation,
    assert_adds_up,
    assert_same_pose,
    localizers,
    message_of,
)
from ros_helpers import TestPeer, send_until, wait_until  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest  # noqa: E402

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from hyperpose_core.errors import HyperPoseError  # noqa: E402
from hyperpose_core.geometry.calibration import read_calibration, rectification_maps  # noqa: E402
from hyperpose_core.geometry.camera import CameraModel  # noqa: E402
from hyperpose_core.images import RgbImage  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402
from hyperpose_ros.common.conversions import BadImageError  # noqa: E402
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings  # noqa: E402
from hyperpose_ros.images.camera_info import CameraCalibrations  # noqa: E402
from hyperpose_ros.images.cameras import Camera  # noqa: E402

HEIGHT, WIDTH = 96, 128
FOCAL = 110.0
BARREL = (-0.28, 0.07, 0.001, -0.001, 0.0)
LENSES = {
    "plumb_bob": BARREL,
    "rational_polynomial": (0.2, -0.1, 0.001, 0.0, 0.02, 0.5, -0.05, 0.01),
    "equidistant": (-0.02, 0.01, 0.0, 0.0),
}

stamps = itertools.count(1_403_774_720 * SECOND, SECOND // 7)


def info(model: str = "plumb_bob", distortion: tuple[float, ...] = (), focal: float = FOCAL) -> CameraInfo:
    message = CameraInfo(height=HEIGHT, width=WIDTH, distortion_model=model, d=list(distortion))
    message.k = [focal, 0.0, 63.5, 0.0, focal, 47.5, 0.0, 0.0, 1.0]
    return message


def changed(message: CameraInfo, **changes: Any) -> CameraInfo:
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def smooth_scene() -> RgbImage:
    return np.asarray(cv2.GaussianBlur(draw_image(3, HEIGHT, WIDTH), (0, 0), 2.0), dtype=np.uint8)


def as_seen_through(image: RgbImage, message: CameraInfo) -> RgbImage:
    """What a lens makes of an undistorted image: each of its pixels is looked up where its ray comes from."""
    matrix, coefficients = np.array(message.k).reshape(3, 3), np.array(message.d)
    columns, rows = np.meshgrid(np.arange(WIDTH, dtype=np.float64), np.arange(HEIGHT, dtype=np.float64))
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2)
    undo = cv2.fisheye.undistortPoints if message.distortion_model == "equidistant" else cv2.undistortPoints
    source = undo(pixels, matrix, coefficients, P=matrix).reshape(HEIGHT, WIDTH, 2).astype(np.float32)
    return np.asarray(cv2.remap(image, source, None, cv2.INTER_LINEAR), dtype=np.uint8)


@pytest.mark.parametrize("model", sorted(LENSES))
def test_what_a_lens_has_bent_is_straight_again(model: str) -> None:
    message = info(model, LENSES[model])
    image = smooth_scene()
    bent = as_seen_through(image, message)
    straight = cv2.remap(bent, *rectification_maps(read_calibration(message)), cv2.INTER_LINEAR)
    inside = np.s_[16:-16, 20:-20]
    before = np.abs(bent.astype(int) - image)[inside].mean()
    after = np.abs(straight.astype(int) - image)[inside].mean()
    assert before > 3.0 and after < 1.5 and after < before / 3


def test_a_fisheye_whose_coefficients_are_zero_bends_all_the_same() -> None:
    calibration = read_calibration(info("equidistant", (0.0,) * 4))
    assert calibration.camera.distortion == (0.0,) * 4
    columns = rectification_maps(calibration)[0][HEIGHT // 2, :, 0]
    assert columns[0] > 2 and columns[-1] < WIDTH - 3, "the border of the rectified image lies inside"


def test_the_projection_matrix_says_where_rectified_pixels_lie() -> None:
    message = info("plumb_bob", BARREL)
    message.p = [90.0, 0.0, 60.0, 0.0, 0.0, 91.0, 45.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    calibration = read_calibration(message)
    rectified = calibration.rectified
    assert (rectified.fx, rectified.fy, rectified.cx, rectified.cy) == (90.0, 91.0, 60.0, 45.0)
    first = rectification_maps(calibration)[0]
    assert tuple(first[45, 60]) in {(63, 47), (64, 48), (63, 48), (64, 47)}, (
        "P's centre shows what K's centre took"
    )


def test_binning_and_a_region_of_interest_move_the_centre_and_shrink_the_pixels() -> None:
    region = RegionOfInterest(x_offset=20, y_offset=10, width=80, height=60)
    camera = read_calibration(changed(info(), roi=region, binning_x=2, binning_y=2)).camera
    assert (camera.width, camera.height) == (40, 30)
    intrinsics = (camera.fx, camera.fy, camera.cx, camera.cy)
    np.testing.assert_allclose(intrinsics, (55.0, 55.0, (63.5 - 20) / 2, (47.5 - 10) / 2))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (changed(info(), k=[0.0] * 9), "not calibrated"),
        (info("plumb_bob", (float("nan"),) * 5), "not finite"),
        (info("plumb_bob", (0.1, 0.2)), "plumb_bob has 4, 5 coefficients, not 2"),
        (info("equidistant"), "equidistant has 4 coefficients, not 0"),
        (changed(info(), width=0), "0x96 is impossible"),
    ],
)
def test_a_camera_info_that_is_none_is_refused_in_words(message: CameraInfo, words: str) -> None:
    with pytest.raises(HyperPoseError, match=words):
        read_calibration(message)


class Heard:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def trained_on(tiny_checkpoint: FilePath, distortion: tuple[float, ...], focal: float = FOCAL) -> Checkpoint:
    camera = CameraModel(WIDTH, HEIGHT, focal, focal, 63.5, 47.5, distortion)
    return dataclasses.replace(load_checkpoint(tiny_checkpoint), camera=camera)


@pytest.mark.parametrize(
    ("topic", "message", "distortion", "is_rectified", "words"),
    [
        ("image_raw", info("plumb_bob", BARREL), (), True, ""),
        ("image_raw", info("plumb_bob", BARREL), BARREL, False, ""),
        ("image_raw", info("plumb_bob", (0.1, 0.0, 0.0, 0.0)), BARREL, False, "of another lens"),
        ("image_raw", info(), BARREL, False, "of another lens"),
        ("image_raw", info("thin_prism", (0.1,) * 7), (), False, "'thin_prism' is not known"),
        ("image_raw", info(), (), False, ""),
        ("image_rect", info("plumb_bob", BARREL), (), False, ""),
        ("image_raw", info(focal=200.0), (), False, "field_of_view_margin_deg"),
    ],
)
def test_images_become_what_the_network_was_trained_on(
    peer: TestPeer,
    tiny_checkpoint: FilePath,
    topic: str,
    message: CameraInfo,
    distortion: tuple[float, ...],
    is_rectified: bool,
    words: str,
) -> None:
    heard = Heard()
    camera = Camera("", f"front/{topic}", "camera_info", None)
    calibrations = CameraCalibrations(peer.node, [camera], lambda: 5.0, ThrottledWarnings(heard))
    calibrations.activate()
    publisher = peer.publisher(CameraInfo, "/front/camera_info")
    assert calibrations.problem(0) is not None
    send_until(publisher, message, lambda: calibrations.problem(0) is None, "the camera_info")
    checkpoint = trained_on(tiny_checkpoint, distortion)
    image = smooth_scene()
    for _ in range(3):
        result = calibrations.rectify(0, image, checkpoint)
    assert np.array_equal(result, image) is not is_rectified
    assert len(heard.warnings) == (1 if words else 0), heard.warnings
    assert words in "".join(heard.warnings)
    with pytest.raises(BadImageError, match=r"64x48, /front/camera_info is for 128x96"):
        calibrations.rectify(0, image[::2, ::2], checkpoint)
    calibrations.deactivate()
    peer.node.destroy_publisher(publisher)


@pytest.fixture(scope="module")
def robot(
    peer: TestPeer, domain_id: int, tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: FilePath
) -> Iterator[Conversation]:
    folder = tmp_path_factory.mktemp("camera_info")
    save_checkpoint(folder / "known camera.safetensors", trained_on(tiny_checkpoint, ()))
    with localizers(peer, domain_id, folder) as start:
        yield start(
            "calibrated",
            f"checkpoint:={folder / 'known camera.safetensors'}",
            "use_camera_info:=true",
            "threads:=1",
            remaps=("image:=/eye/image_raw",),
        )


def test_the_node_waits_for_camera_info_then_answers_rectified_images(
    robot: Conversation, peer: TestPeer, tiny_checkpoint: FilePath
) -> None:
    images = peer.publisher(Image, "/eye/image_raw", RELIABLE)
    infos = peer.publisher(CameraInfo, "/eye/camera_info", RELIABLE)
    image = smooth_scene()

    def send_image_until(condition: Callable[[], object], what: str) -> None:
        send_until(images, message_of(image, next(stamps)), condition, what)

    send_image_until(lambda: robot.counted("dropped.no_camera_info") > 0, "an image without camera_info")
    words = "no camera_info on /eye/camera_info yet"
    wait_until(
        lambda: words in robot.diagnostics[-1].status[0].message, "the missing camera_info in diagnostics"
    )
    assert not robot.poses

    send_until(infos, changed(info(), k=[0.0] * 9), lambda: "not calibrated" in said(robot), "the refusal")
    send_image_until(lambda: robot.counted("dropped.unusable_camera_info") > 0, "an image left out")

    bent = info("plumb_bob", BARREL)
    send_until(infos, bent, lambda: "not calibrated" not in said(robot), "the calibration")
    offline = PoseEstimator.load(tiny_checkpoint, "cpu")
    straight = cv2.remap(image, *rectification_maps(read_calibration(bent)), cv2.INTER_LINEAR)
    rectified, plain = offline.estimate([straight, image])
    assert rectified.pose is not None and plain.pose is not None
    assert np.linalg.norm(rectified.pose.position - plain.pose.position) > 1e-3
    assert_same_pose(robot.ask(images, message_of(image, next(stamps))), rectified)

    small = message_of(draw_image(1, 48, 64), next(stamps))
    send_until(images, small, lambda: robot.counted("refused.camera_info_size") > 0, "the wrong size")
    assert_adds_up(robot.values())
    assert "Traceback" not in robot.process.output


def said(robot: Conversation) -> str:
    return str(robot.diagnostics[-1].status[0].message)
