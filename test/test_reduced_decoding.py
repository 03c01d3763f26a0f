"""Large JPEGs decoded at a part of their size, and images resized on a device: how little that changes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import draw_image

from hyperpose_core.images import Preprocessing, RgbImage, decode_image, read_image, resize_in_float
from hyperpose_core.inference.estimator import PoseEstimator


def jpeg(image: RgbImage, quality: int = 90) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def both(data: bytes, reduction: int) -> tuple[RgbImage, RgbImage]:
    return decode_image(data, "photo", reduction), decode_image(data, "photo")


@pytest.mark.parametrize(
    ("preprocessing", "width", "height", "reduction"),
    [
        (Preprocessing(), 640, 480, 1),
        (Preprocessing(), 1280, 960, 2),
        (Preprocessing(), 1920, 1080, 2),
        (Preprocessing(), 3840, 2160, 4),
        (Preprocessing(), 200, 100, 1),
        (Preprocessing(resize=(168, 224), crop=None), 640, 480, 1),
        (Preprocessing(resize=(168, 224), crop=None), 1280, 960, 2),
    ],
)
def test_an_image_is_reduced_only_as_far_as_it_stays_much_larger_than_the_input(
    preprocessing: Preprocessing, width: int, height: int, reduction: int
) -> None:
    assert preprocessing.reduction(height, width) == reduction


@pytest.mark.parametrize("size", [(960, 1280), (961, 1283), (1283, 961), (2160, 3840), (1079, 1917)])
def test_the_input_keeps_its_size(size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(crop=None)
    reduction = preprocessing.reduction(*size)
    reduced, full = both(jpeg(np.zeros((*size, 3), dtype=np.uint8)), reduction)
    assert reduction > 1 and reduced.size < full.size / 3
    assert preprocessing(reduced).shape == preprocessing(full).shape


@pytest.mark.parametrize(("resize", "reduction"), [(137, 2), (80, 2), (68, 4), (34, 4)])
def test_real_images_change_by_less_than_a_grey_level(resize: int, reduction: int, shared_data: Path) -> None:
    preprocessing = Preprocessing(resize=resize, crop=None)
    photographs = sorted((shared_data / "7scenes").rglob("*.color.*"))[::100]
    assert photographs
    for path in photographs:
        image = read_image(path)
        assert preprocessing.reduction(*image.shape[:2]) == reduction
        reduced, full = both(jpeg(image), reduction)
        change = (preprocessing.resized(reduced).float() - preprocessing.resized(full).float()).abs()
        assert change.mean() < 1.0
        assert change.quantile(0.99) < 6.0


def test_poses_change_no_more_than_by_stronger_compression(tiny_checkpoint: Path) -> None:
    estimator = PoseEstimator.load(tiny_checkpoint, "cpu")
    reduction = estimator.checkpoint.preprocessing.reduction(480, 640)
    reduced_m, compressed_m = [], []
    for seed in range(24):
        drawn = cv2.GaussianBlur(draw_image(seed, 480, 640), (5, 5), 0)
        images = [*both(jpeg(drawn), reduction), decode_image(jpeg(drawn, quality=50), "photo")]
        reduced, full, compressed = (entry.pose.position for entry in estimator.estimate(images))
        reduced_m.append(np.linalg.norm(reduced - full))
        compressed_m.append(np.linalg.norm(compressed - full))
    assert reduction == 4
    assert np.median(reduced_m) < np.median(compressed_m)


def test_only_jpegs_are_reduced() -> None:
    image = draw_image(1)
    png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    np.testing.assert_array_equal(decode_image(png, "photo", 2), image)


def test_a_tensor_is_preprocessed_as_an_array_is() -> None:
    preprocessing, image = Preprocessing(), draw_image(2, 480, 640)
    assert torch.equal(preprocessing(torch.from_numpy(image)), preprocessing(image))


@pytest.mark.parametrize("size", [(480, 640), (960, 1280), (200, 150)])
def test_what_a_gpu_does_is_within_a_grey_level_of_the_cpu(size: tuple[int, int]) -> None:
    preprocessing, image = Preprocessing(), draw_image(3, *size)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    on_gpu = resize_in_float(tensor, preprocessing.resized_size(*size))
    difference = (on_gpu.int() - preprocessing.resized(image).int()).abs()
    assert on_gpu.dtype == torch.uint8
    assert difference.max() <= 1


def test_normalising_is_its_formula_to_float_precision() -> None:
    preprocessing, image = Preprocessing(resize=64, crop=64), draw_image(4, 64, 64)
    scaled = image.astype(np.float64).transpose(2, 0, 1) / 255.0
    expected = (scaled - np.reshape(preprocessing.mean, (3, 1, 1))) / np.reshape(preprocessing.std, (3, 1, 1))
    found = preprocessing(image)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
