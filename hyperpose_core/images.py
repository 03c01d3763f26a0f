"""From files and bytes to network input: one code path for training, evaluation and the node.

Images are RGB, uint8, [H, W, 3] until `Preprocessing` turns them into float32 tensors [3, h, w]; or into
arrays, where a robot has no PyTorch, which is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_bytes
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.image_headers import FORMATS, JPEG_BEGIN, PNG_BEGIN, encoded_size
from hyperpose_core.jpeg import GREY, decode_jpeg, jpeg_colours
from hyperpose_core.limits import LARGEST_IMAGE_BYTES, LARGEST_IMAGE_PIXELS, LARGEST_INPUT_PIXELS
from hyperpose_core.png import check_png
from hyperpose_core.resizing import resize_bytes

if TYPE_CHECKING:
    from torch import Tensor

RgbImage = npt.NDArray[np.uint8]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

NOTICEABLE_SQUASH = 1.03
"""From here on a change of proportions is no matter of rounding any more."""

# An eighth saves hardly more than a quarter, and changes the input most.
_REDUCTIONS = (4, 2, 1)
# So much larger than the resized image must a reduced one still be: then inputs differ by less than a grey
# level on average, about as much as JPEG itself changes them. 1280x960 for a shorter side of 256 is halved.
_LEAST_EXCESS = 1.75

# OpenCV names a Bayer pattern by the second row's second and third pixel, everyone else by the first two.
_OPENCV_BAYER_CODES = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
}


def read_image(path: Path) -> RgbImage:
    """Read an image file as RGB uint8 [H, W, 3], its pixels as they lie in the file.

    What EXIF says of how they are to be seen is left aside: COLMAP, and exporters after it, have poses and
    cameras of the pixels as they are stored.

    Raises:
        HyperPoseError: the file is missing, unreadable or no image; the message names it.
    """
    return decode_image(read_bytes(path, "image", LARGEST_IMAGE_BYTES), str(path))


def read_photograph(path: Path, camera: CameraModel | None) -> RgbImage:
    """Read an image file as the images of a camera are: upright or on its side.

    Args:
        path: a photograph, whose EXIF may say that it is to be turned.
        camera: of the images that it is to be like. Where it is known and only the turned photograph is as
            wide or as tall, it is turned; else its pixels stay as they are stored.

    Raises:
        HyperPoseError: as `read_image`.
    """
    image = read_image(path)
    if camera is None or _is_wide(image.shape[1], image.shape[0]) == _is_wide(camera.width, camera.height):
        return image
    return read_upright(path)


def read_upright(path: Path) -> RgbImage:
    """Read an image file as RGB uint8 [H, W, 3], turned as EXIF says that it is to be seen.

    Raises:
        HyperPoseError: as `read_image`.
    """
    data = read_bytes(path, "image", LARGEST_IMAGE_BYTES)
    decode_image(data, str(path))  # refuses damaged ones
    seen = _decoded(data, str(path), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(seen, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _is_wide(width: int, height: int) -> bool:
    return width > height


def decode_image(data: bytes, origin: str, reduction: int = 1) -> RgbImage:
    """Decode JPEG, PNG or another of `image_headers.FORMATS`, as RGB uint8 [H, W, 3], not turned by EXIF.

    Args:
        data: the encoded bytes.
        origin: what to call them in an error: a file's path or a topic.
        reduction: decode a JPEG at 1/1, 1/2 or 1/4 of its size (rounded up), which takes less time: only
            the low frequencies of its blocks are transformed. Other formats keep their size.

    Raises:
        HyperPoseError: the bytes are no image, a damaged one, or one of too many pixels.
    """
    _check_size(data, origin)
    if data.startswith(JPEG_BEGIN):
        with _damage_named(origin, "JPEG"):
            return decode_jpeg(data, reduction)
    image = _decoded(data, origin, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_mosaic(data: bytes, origin: str) -> npt.NDArray[np.uint8] | None:
    """Decode an image of one channel of bytes [H, W], such as a Bayer mosaic; None where it is another one.

    Raises:
        HyperPoseError: the bytes are no image, a damaged one, or one of too many pixels.
    """
    _check_size(data, origin)
    if data.startswith(JPEG_BEGIN):
        with _damage_named(origin, "JPEG"):
            is_grey = jpeg_colours(data) == GREY
            return np.ascontiguousarray(decode_jpeg(data)[..., 0]) if is_grey else None
    image = _decoded(data, origin, cv2.IMREAD_UNCHANGED)
    return np.asarray(image, dtype=np.uint8) if image.ndim == 2 and image.dtype == np.uint8 else None


@contextmanager
def _damage_named(origin: str, format: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise HyperPoseError(f"{origin}: a damaged {format}, which cannot be decoded: {error}") from error


def _check_size(data: bytes, origin: str) -> None:
    size = encoded_size(data)
    if size is not None and not 0 < size[0] * size[1] <= LARGEST_IMAGE_PIXELS:
        raise HyperPoseError(
            f"{origin}: an image of {size[1]}x{size[0]} pixels; 1 to {LARGEST_IMAGE_PIXELS:,} pixels are read"
        )


def _decoded(data: bytes, origin: str, mode: int) -> npt.NDArray[np.integer | np.floating]:
    if data.startswith(PNG_BEGIN):
        with _damage_named(origin, "PNG"):
            check_png(data)
    # What is wrong is said in one line, and not by OpenCV's logger.
    log_level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        is_known = encoded_size(data) is not None
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), mode) if is_known else None
    except cv2.error:
        image = None
    finally:
        cv2.utils.logging.setLogLevel(log_level)
    if image is None:
        raise HyperPoseError(f"{origin}: not an image that can be decoded ({FORMATS} expected)")
    return image


def debayer(mosaic: npt.NDArray[np.uint8], pattern: str) -> RgbImage:
    """Interpolate a Bayer mosaic [H, W] uint8 to RGB [H, W, 3].

    Args:
        mosaic: one value a pixel.
        pattern: colours of the first two rows' first two pixels: rggb, grbg, gbrg or bggr.
    """
    return np.asarray(cv2.cvtColor(mosaic, _OPENCV_BAYER_CODES[pattern]), dtype=np.uint8)


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input. The checkpoint carries it.

    Attributes:
        resize: the shorter side in pixels, or exactly (height, width).
        crop: side of the centred square cut out after resizing, in pixels; None keeps everything.
        mean: what is subtracted from each RGB channel of the image scaled to 0..1.
        std: what each channel is then divided by.
    """

    resize: int | tuple[int, int] = 256
    crop: int | None = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        """Turn lists (from JSON) into tuples and check the sizes.

        Raises:
            ValueError: a size is not positive, a colour is missing, or the crop is larger than the resized
                image's shorter side.
        """
        if not isinstance(self.resize, int):
            height, width = self.resize
            object.__setattr__(self, "resize", (int(height), int(width)))
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if len(self.mean) != 3 or not all(map(math.isfinite, self.mean)):
            raise ValueError(f"mean is {self.mean}, not three numbers")
        if len(self.std) != 3 or not all(0 < value < math.inf for value in self.std):
            raise ValueError(f"std is {self.std}, not three numbers above 0")
        shorter = self.resize if isinstance(self.resize, int) else min(self.resize)
        if shorter < 1 or (self.crop is not None and not 1 <= self.crop <= shorter):
            raise ValueError(f"resize {self.resize} and crop {self.crop} leave no image")
        if (
            math.prod((shorter, shorter) if isinstance(self.resize, int) else self.resize)
            > LARGEST_INPUT_PIXELS
        ):
            raise ValueError(f"resize {self.resize} makes more than {LARGEST_INPUT_PIXELS:,} pixels")

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) after resizing an image of the given height and width.

        Raises:
            HyperPoseError: the image has no pixels, or is so narrow that resizing makes far too many.
        """
        if not isinstance(self.resize, int):
            return self.resize
        shorter, longer = min(height, width), max(height, width)
        if shorter < 1 or self.resize**2 * longer > LARGEST_INPUT_PIXELS * shorter:
            raise HyperPoseError(
                f"an image of {width}x{height} pixels, whose shorter side is resized to {self.resize}, makes "
                f"more than {LARGEST_INPUT_PIXELS:,} pixels or none"
            )
        resized = round(longer * (self.resize / shorter))
        return (self.resize, resized) if height <= width else (resized, self.resize)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the network's input for an image of the given height and width."""
        return (self.crop, self.crop) if self.crop is not None else self.resized_size(height, width)

    def squash(self, height: int, width: int) -> float:
        """Return by how much images of the given height and width lose their proportions: 1 for not at all.

        2 says that they become half as wide, or half as tall, beside their other side.
        """
        rows, columns = self.resized_size(height, width)
        factor = (rows * width) / (columns * height)
        return max(factor, 1 / factor)

    def describe(self, height: int, width: int) -> str:
        """Say what becomes of images of the given height and width, and what is lost of them."""
        resized, made = self.resized_size(height, width), self.input_size(height, width)
        kept = (made[0] * made[1]) / (resized[0] * resized[1])
        squash = self.squash(height, width)
        losses = [f"{100 * (1 - kept):.0f} % of each image cut away"] if made != resized else []
        if squash > NOTICEABLE_SQUASH:
            losses.append(f"squashed, their proportions changed by a factor of {squash:.2f}")
        return (
            f"images of {width}x{height} pixels become inputs of {made[1]}x{made[0]}, "
            f"{'; '.join(losses) or 'whole and in their proportions'}"
        )

    def input_camera(self, camera: CameraModel) -> CameraModel:
        """Return the camera of the network's inputs, given that of the images they are made of."""
        resized = camera.resized(*self.resized_size(camera.height, camera.width))
        if self.crop is None:
            return resized
        return resized.cropped(*_crop_corner(resized.height, resized.width, self.crop), self.crop, self.crop)

    def reduction(self, height: int, width: int) -> int:
        """Return by how much a JPEG of the given size may be reduced as it is decoded: 1, 2 or 4.

        The reduced image becomes an input of the same size, nearly the same as the whole one would.
        """
        wanted = self.resize if isinstance(self.resize, int) else max(self.resize)
        for reduction in _REDUCTIONS:
            reduced = -(-height // reduction), -(-width // reduction)
            is_ample = min(reduced) >= _LEAST_EXCESS * wanted
            if is_ample and self.resized_size(*reduced) == self.resized_size(height, width):
                return reduction
        return 1

    def resized(self, image: RgbImage | Tensor) -> Tensor:
        """Resize RGB uint8 [H, W, 3] to a uint8 tensor [3, h, w], uncropped, with antialiasing.

        Args:
            image: an array, or a tensor, on whose device the work is done.
        """
        import torch

        rows = torch.from_numpy(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image
        tensor = rows.permute(2, 0, 1)
        size = self.resized_size(rows.shape[0], rows.shape[1])
        if size == tuple(rows.shape[:2]):
            return tensor
        # PIL's antialiased bilinear filter, which the released weights were trained with.
        return _antialiased(tensor, size) if tensor.device.type == "cpu" else resize_in_float(tensor, size)

    def cropped(self, images: Tensor) -> Tensor:
        """Cut the centred square out of images [..., h, w]; without a crop, return them as they are."""
        if self.crop is None:
            return images
        top, left = _crop_corner(images.shape[-2], images.shape[-1], self.crop)
        return images[..., top : top + self.crop, left : left + self.crop]

    def normalized(self, images: Tensor) -> Tensor:
        """Scale uint8 images [..., 3, h, w] to 0..1 and normalise them with mean and std, as float32."""
        import torch

        scale = [1.0 / (255.0 * std) for std in self.std]
        shift = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        # Two passes: each is split among threads, and waiting for them costs more than the arithmetic.
        factors, terms = (
            torch.tensor(values, device=images.device).view(3, 1, 1) for values in (scale, shift)
        )
        return images.mul(factors).add_(terms)

    def __call__(self, image: RgbImage | Tensor) -> Tensor:
        """Turn RGB uint8 [H, W, 3] into the network's float32 input [3, h, w], on a tensor's own device."""
        return self.normalized(self.cropped(self.resized(image)))

    def array(self, image: RgbImage) -> npt.NDArray[np.float32]:
        """Do what calling this object does without PyTorch, and with an array for a result.

        Resized pixels are the same to the bit, normalised ones but for rounding in float32.
        """
        height, width = self.resized_size(*image.shape[:2])
        rows, columns = slice(0, height), slice(0, width)
        if self.crop is not None:
            top, left = _crop_corner(height, width, self.crop)
            rows, columns = slice(top, top + self.crop), slice(left, left + self.crop)
        pixels = resize_bytes(image, (height, width), rows, columns)
        scale = np.array([1.0 / (255.0 * std) for std in self.std], dtype=np.float32)
        shift = np.array([-mean / std for mean, std in zip(self.mean, self.std, strict=True)], np.float32)
        normalized = np.multiply(pixels, scale[:, None, None])
        normalized += shift[:, None, None]
        return normalized

    def to_dict(self) -> dict[str, object]:
        """Return plain data that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Preprocessing:
        """Build from what `to_dict` gave.

        Raises:
            ValueError: a key is unknown, or a value is impossible.
        """
        known = {field.name for field in fields(cls)}
        if unknown := set(data) - known:
            raise ValueError(
                f"unknown preprocessing key {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}"
            )
        return cls(**data)  # type: ignore[arg-type]


def resize_in_float(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize uint8 [3, H, W] to [3, *size] where bytes cannot be resized with antialiasing, as on a GPU.

    On whatever device, at most one grey level from what the CPU makes of bytes, whose arithmetic is in fixed
    point as PIL's.
    """
    import torch

    return _antialiased(image.float(), size).round_().clamp_(0, 255).to(torch.uint8)


def _crop_corner(height: int, width: int, crop: int) -> tuple[int, int]:
    """Return the first row and column of the centred square."""
    return round((height - crop) / 2), round((width - crop) / 2)


def _antialiased(image: Tensor, size: tuple[int, int]) -> Tensor:
    import torch

    resized: Tensor = torch.nn.functional.interpolate(
        image[None], size=size, mode="bilinear", align_corners=False, antialias=True
    )[0]
    return resized
