"""Augmentation on batches of tensors: crops, colours, motion blur, rotation augmentation and view synthesis.

Randomness comes from the seed, the epoch and the sample alone: the same sample is varied in the same way
whatever batch or process it is in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.torch_rotations import multiply_quaternions, rotation_vectors_to_quaternions
from hyperpose_core.training.recipe import Augmentation
from hyperpose_core.view_synthesis.rotation import rotate_images
from hyperpose_core.view_synthesis.translation import CameraMotions, synthesize_views

_LUMINANCE = (0.299, 0.587, 0.114)
# Luminance and two chrominance axes (NTSC's YIQ), in which a turn of hue is a plane rotation.
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))

# Which columns of a sample's random numbers decide what. New ones come last: earlier ones keep their values.
_TURN, _CROP, _BRIGHTNESS, _CONTRAST, _SATURATION, _HUE, _BLUR, TRANSLATION, INTERPOLATION = (
    slice(0, 3),
    slice(3, 5),
    5,
    6,
    7,
    8,
    slice(9, 11),
    slice(11, 14),
    slice(14, 16),
)
_NUMBERS = 16


def random_numbers(seed: int, epoch: int, samples: Sequence[int]) -> Tensor:
    """Return what decides the augmentation of some samples in one epoch, float32 in [0, 1), [N, 16]."""
    rows = [
        np.random.Generator(np.random.Philox(key=[seed, (epoch << 32) | sample])).random(_NUMBERS)
        for sample in samples
    ]
    return torch.from_numpy(np.array(rows, dtype=np.float32))


class Augmenter:
    """Applies an `Augmentation` to batches."""

    def __init__(self, augmentation: Augmentation, crop: int | None, camera: CameraModel | None) -> None:
        """Prepare for images of one size.

        Args:
            augmentation: what to vary.
            crop: side of the square cut out, pixels, or None.
            camera: of the resized images; needed for virtual rotations only.
        """
        self._augmentation = augmentation
        self._crop = crop
        self._camera = camera

    def __call__(
        self,
        images: Tensor,
        orientations: Tensor,
        numbers: Tensor,
        moves: CameraMotions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Vary a batch.

        Args:
            images: uint8 [N, 3, h, w].
            orientations: camera-to-world unit quaternions [N, 4].
            numbers: the samples' `random_numbers` [N, 16].
            moves: how the cameras are moved before they are turned; None moves none.

        Returns:
            float32 images in 0..255 [N, 3, crop, crop] (or [N, 3, h, w]) and their orientations.
        """
        options = self._augmentation
        images = images.float()
        if self._camera is not None and (options.virtual_rotation_deg > 0 or moves is not None):
            rotations = self._rotations(numbers)
            if moves is None:
                images = rotate_images(images, rotations, self._camera)
            else:
                rotations = multiply_quaternions(moves.rotations, rotations)
                images = synthesize_views(
                    images, moves.translations, moves.inverse_depths, rotations, self._camera
                )
            orientations = multiply_quaternions(orientations.double(), rotations).to(orientations.dtype)
        images = self._cropped(images, numbers[:, _CROP])
        if options.motion_blur_px > 0:
            images = _blurred(images, numbers[:, _BLUR], options.motion_blur_px)
        return recoloured_images(images, options, numbers), orientations

    def _rotations(self, numbers: Tensor) -> Tensor:
        largest = math.radians(self._augmentation.virtual_rotation_deg)
        return rotation_vectors_to_quaternions((numbers[:, _TURN].double() * 2 - 1) * largest)

    def _cropped(self, images: Tensor, numbers: Tensor) -> Tensor:
        if self._crop is None:
            return images
        spare = torch.tensor([images.shape[-2] - self._crop, images.shape[-1] - self._crop])
        if self._augmentation.random_crop:
            corners = (numbers * (spare + 1)).long()
        else:
            corners = torch.round(spare / 2).long().expand(len(images), 2)
        return torch.stack(
            [
                image[:, top : top + self._crop, left : left + self._crop]
                for image, (top, left) in zip(images, corners.tolist(), strict=True)
            ]
        )


def recoloured_images(images: Tensor, options: Augmentation, numbers: Tensor) -> Tensor:
    """Change hue, saturation, contrast and brightness, which together are one affine map a sample.

    Args:
        images: float32 in 0..255 [N, 3, h, w].
        options: the largest changes.
        numbers: the samples' `random_numbers` [N, 16].
    """
    to_yiq = torch.tensor(_RGB_TO_YIQ)
    chrominance = _turned_chrominance(
        (numbers[:, _HUE] * 2 - 1) * options.hue * 2 * math.pi,
        _factor(options.saturation, numbers[:, _SATURATION]),
    )
    matrix = torch.linalg.inv(to_yiq) @ chrominance @ to_yiq
    contrast = _factor(options.contrast, numbers[:, _CONTRAST])
    brightness = _factor(options.brightness, numbers[:, _BRIGHTNESS])
    luminance = torch.einsum("nchw,c->n", images, torch.tensor(_LUMINANCE)) / images[0, 0].numel()
    offset = (1 - contrast) * luminance * brightness
    matrix = matrix * (contrast * brightness).view(-1, 1, 1)
    recoloured = torch.bmm(matrix, images.flatten(2)) + offset.view(-1, 1, 1)
    return recoloured.clamp_(0, 255).view_as(images)


def _factor(largest: float, numbers: Tensor) -> Tensor:
    return 1 + (numbers * 2 - 1) * largest


def _turned_chrominance(angle: Tensor, saturation: Tensor) -> Tensor:
    matrix = torch.zeros(len(angle), 3, 3)
    matrix[:, 0, 0] = 1
    matrix[:, 1, 1] = matrix[:, 2, 2] = saturation * torch.cos(angle)
    matrix[:, 2, 1] = saturation * torch.sin(angle)
    matrix[:, 1, 2] = -matrix[:, 2, 1]
    return matrix


def _blurred(images: Tensor, numbers: Tensor, largest: float) -> Tensor:
    """Smear each image along a line of its own: length up to `largest` pixels, any direction."""
    radius = math.ceil(largest / 2)
    steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    half_length = numbers[:, 0].view(-1, 1, 1) * largest / 2
    angle = numbers[:, 1].view(-1, 1, 1) * math.pi
    along = x * torch.cos(angle) + y * torch.sin(angle)
    across = y * torch.cos(angle) - x * torch.sin(angle)
    beyond = (along.abs() - half_length).clamp(min=0)
    kernels = (1 - torch.hypot(beyond, across)).clamp(min=0)
    kernels = (kernels / kernels.sum((1, 2), keepdim=True)).repeat_interleave(3, dim=0)[:, None]
    flat = images.reshape(1, -1, *images.shape[-2:])
    padded = torch.nn.functional.pad(flat, (radius,) * 4, mode="replicate")
    return torch.nn.functional.conv2d(padded, kernels, groups=flat.shape[1]).view_as(images)
