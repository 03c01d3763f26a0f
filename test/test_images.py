"""Reading, debayering and preprocessing of images."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import draw_image
from PIL import Image

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import Preprocessing, debayer, decode_image, read_image


def test_colours_come_out_as_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), (250, 120, 3)).save(tmp_path / "orange.png")
    image = read_image(tmp_path / "orange.png")
    assert image.shape == (6, 8, 3)
    assert image[0, 0].tolist() == [250, 120, 3]


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HyperPoseError, match=r"photo\.jpg"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_image_is_named_and_not_filled_up(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    cv2.imwrite(str(path), draw_image(1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(HyperPoseError, match=path.name):
        read_image(path)


@pytest.mark.parametrize("pattern", ["rggb", "grbg", "gbrg", "bggr"])
def test_debayering_restores_flat_colours(pattern: str) -> None:
    colours = {"r": 200, "g": 100, "b": 30}
    mosaic = np.empty((16, 16), dtype=np.uint8)
    for place, letter in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colours[letter]
    assert debayer(mosaic, pattern)[4:12, 4:12].reshape(-1, 3).tolist() == [[200, 100, 30]] * 64


def test_preprocessing_is_what_the_released_weights_were_trained_with() -> None:
    """Shorter side 256, centre 224, ImageNet's mean and deviation: as torchvision does it on PIL images."""
    from torchvision import transforms

    image = cv2.GaussianBlur(draw_image(3, 480, 640), (9, 9), 0)
    reference = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(Image.fromarray(image))
    result = Preprocessing(resize=256, crop=224)(image)
    assert result.shape == (3, 224, 224)
    assert torch.max(torch.abs(result - reference)) < 0.03  # one grey level is 0.017


def test_the_whole_view_keeps_every_corner() -> None:
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    image[:40, :40] = 255
    image[-40:, -40:] = 255
    result = Preprocessing(resize=(168, 224), crop=None, mean=(0, 0, 0), std=(1, 1, 1))(image)
    assert result.shape == (3, 168, 224)
    assert result[0, 2, 2] == result[0, -3, -3] == 1
    assert result[0, 2, -3] == 0


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="crop"):
        Preprocessing(resize=200, crop=224)


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_jpegs_are_what_opencv_makes_of_them(reduction: int) -> None:
    modes = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
    for sampling in (0x111111, 0x211111, 0x221111):
        for size in ((96, 128), (97, 131)):
            options = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
            data = cv2.imencode(".jpg", draw_image(sampling, *size), options)[1].tobytes()
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), modes[reduction])[..., ::-1]
            np.testing.assert_array_equal(decode_image(data, "jpeg", reduction), expected)
    grey = cv2.imencode(".jpg", draw_image(3)[..., 0])[1].tobytes()
    ink = io.BytesIO()
    Image.fromarray(draw_image(3, 96, 4 * 128).reshape(96, 128 * 3, 4), "CMYK").save(ink, "jpeg")
    for data in (grey, ink.getvalue()):
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), modes[reduction])[..., ::-1]
        np.testing.assert_array_equal(decode_image(data, "grey or ink", reduction), expected)


def test_a_jpeg_with_damaged_scan_data_is_refused_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(cv2.imencode(".jpg", draw_image(1))[1].tobytes())
    begin = data.index(b"\xff\xda")
    for place in range(begin + 40, begin + 340, 20):
        data[place : place + 2] = b"\xf7\x7f"
    with pytest.raises(HyperPoseError, match="^road.jpg: a damaged JPEG"):
        decode_image(bytes(data), "road.jpg")
    with pytest.raises(HyperPoseError, match="^road.jpg: "):
        decode_image(bytes(data[: len(data) // 2]), "road.jpg")
    assert capfd.readouterr() == ("", "")


def png_part(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def test_a_damaged_png_is_refused_in_silence_before_it_takes_memory(
    capfd: pytest.CaptureFixture[str],
) -> None:
    image = draw_image(1)
    data = cv2.imencode(".png", image)[1].tobytes()
    pixels = data.index(b"IDAT")
    damaged = [
        data[: pixels + 20] + bytes(4) + data[pixels + 24 :],
        data[: pixels - 4] + struct.pack(">I", 0x4B00_0000) + data[pixels:],
        data[:8] + data[33:],
        data[:33] + data[8:],
        data[: data.index(b"IEND") - 4],
        data[:-12] + png_part(b"IDAT", b"")[:-4] + bytes(4) + data[-12:],
        data[:33] + png_part(b"ABCD", b"unknown and needed") + data[33:],
    ]
    for number, content in enumerate(damaged):
        with pytest.raises(HyperPoseError, match="^road: a damaged PNG"):
            decode_image(content, "road")
            pytest.fail(f"case {number} is decoded")
    assert capfd.readouterr() == ("", "")
    comment = data[:33] + png_part(b"tEXt", b"taken\0today") + data[33:] + b"behind the end"
    np.testing.assert_array_equal(decode_image(comment, "road")[..., ::-1], image)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tiff", ".webp"])
def test_what_is_cut_off_is_refused_in_silence(suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = cv2.imencode(suffix, draw_image(1))[1].tobytes()
    with pytest.raises(HyperPoseError, match="^road: (not an image that|a damaged PNG, which) can"):
        decode_image(data[: len(data) // 2], "road")
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_of_very_many_scans_is_refused_before_they_are_decoded() -> None:
    data = bytearray(cv2.imencode(".jpg", draw_image(1), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    decode_image(bytes(data), "usual")
    struct.pack_into(">HH", data, data.index(b"\xff\xc2") + 5, 8000, 8000)
    with pytest.raises(HyperPoseError, match="^bomb: .* scans of 8000x8000"):
        decode_image(bytes(data) + b"\xff\xda" * 20, "bomb")


def test_stray_bytes_before_the_end_as_webcams_write_them_harm_nothing() -> None:
    data = cv2.imencode(".jpg", draw_image(1))[1].tobytes()
    stray = data[:-2] + b"\x12\x34\x56" + data[-2:]
    np.testing.assert_array_equal(decode_image(stray, "webcam"), decode_image(data, "whole"))


@pytest.mark.parametrize(
    ("height", "width"), [(480, 640), (720, 1280), (1280, 960), (96, 128), (256, 341), (7, 90), (2160, 3840)]
)
@pytest.mark.parametrize("resize", [256, (224, 224), 480, (72, 96)])
def test_preprocessing_without_pytorch_is_the_same_to_the_bit(
    height: int, width: int, resize: int | tuple[int, int]
) -> None:
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for crop in (None, 72, 65):
        preprocessing = Preprocessing(resize=resize, crop=crop)
        expected = preprocessing(image).numpy()
        found = preprocessing.array(image)
        assert found.dtype == np.float32 and found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


def test_real_images_are_preprocessed_the_same_without_pytorch(shared_data: Path) -> None:
    paths = sorted(shared_data.rglob("*.png"))[::97][:5] + sorted(shared_data.rglob("*.jpg"))[::97][:5]
    for path in paths:
        image = read_image(path)
        np.testing.assert_array_equal(Preprocessing().array(image), Preprocessing()(image).numpy())
