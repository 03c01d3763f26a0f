"""Small tools for painting textures. Images are float32 RGB in 0..1, row 0 on top."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]


def noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, int]) -> Image:
    """Return smooth noise [height, width], mean 0, deviation about 1, in `cells` (rows, columns) lumps."""
    coarse = rng.standard_normal((cells[0] + 1, cells[1] + 1)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def grain(rng: np.random.Generator, height: int, width: int) -> Image:
    """Return grain [height, width]: coarse, middle and fine noise together, deviation about 1."""
    total = np.zeros((height, width), dtype=np.float32)
    for divisor, weight in ((64, 0.5), (16, 0.5), (4, 0.45), (1, 0.5)):
        cells = (max(1, height // divisor), max(1, width // divisor))
        total += weight * noise(rng, height, width, cells)
    return total


def filled(height: int, width: int, color: Sequence[float]) -> Image:
    """Return an image of one colour."""
    image = np.empty((height, width, 3), dtype=np.float32)
    image[:] = color
    return image


def rough(
    rng: np.random.Generator, height: int, width: int, color: Sequence[float], contrast: float
) -> Image:
    """Return an image of one colour with grain of the given contrast."""
    return filled(height, width, color) * (1.0 + contrast * grain(rng, height, width))[..., None]


def masonry(
    rng: np.random.Generator,
    image: Image,
    course: float,
    length: float,
    joint: Sequence[float],
    contrast: float,
) -> Image:
    """Lay the image in bricks of `course` x `length` pixels that vary by `contrast`, with coloured joints."""
    height, width = image.shape[:2]
    rows = np.floor(np.arange(height) / course).astype(int)
    shifted = np.arange(width)[None, :] + (rows % 2)[:, None] * length / 2
    columns = np.floor(shifted / length).astype(int)
    tone = rng.uniform(1 - contrast, 1 + contrast, (rows.max() + 1, columns.max() + 1)).astype(np.float32)
    laid = image * tone[rows[:, None], columns][..., None]
    laid[np.mod(np.arange(height), course) < 1.0] = joint
    laid[np.mod(shifted, length) < 1.0] = joint
    return laid


def rectangle(
    image: Image, left: float, top: float, right: float, bottom: float, color: Sequence[float]
) -> None:
    """Fill a rectangle given in pixels."""
    rows = slice(max(0, round(top)), max(0, round(bottom)))
    image[rows, max(0, round(left)) : max(0, round(right))] = color


def write(
    image: Image, text: str, left: float, top: float, right: float, bottom: float, color: Sequence[float]
) -> None:
    """Write a word so that it fills a rectangle given in pixels."""
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
    canvas = np.zeros((height + baseline, width), dtype=np.float32)
    cv2.putText(canvas, text, (0, height), cv2.FONT_HERSHEY_DUPLEX, 1.0, 1.0, 3, cv2.LINE_AA)
    columns, rows = round(right) - round(left), round(bottom) - round(top)
    if columns < 4 or rows < 3:
        return
    mask = cv2.resize(canvas, (columns, rows), interpolation=cv2.INTER_AREA)[..., None]
    area = image[round(top) : round(bottom), round(left) : round(right)]
    area[:] = area * (1 - mask[: area.shape[0], : area.shape[1]]) + mask[
        : area.shape[0], : area.shape[1]
    ] * np.asarray(color, dtype=np.float32)


def resized(image: Image, height: int, width: int) -> Image:
    """Return an image [H, W] or [H, W, 3] in another size."""
    smaller = height < image.shape[0]
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), dtype=np.float32)


def blurred(image: Image, deviation: float) -> Image:
    """Return an image blurred by a Gaussian of a standard deviation in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), dtype=np.float32)


def to_bytes(image: Image) -> npt.NDArray[np.uint8]:
    """Return the image as uint8 [H, W, 3]."""
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0.0), alpha=255.0), dtype=np.uint8)
