"""Rotation augmentation: virtual rotations of a camera about its centre.

They are exact: a camera that turns about its centre sees the same rays, so the new image is a homography
K R K^-1 of the old one, and the camera's orientation turns by R. Images of a lens that bends lines stay as
bent as they were: each pixel's ray is found, turned and seen through the lens again. Beyond the old image its
border is repeated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.torch_rotations import quaternions_to_matrices
from hyperpose_core.view_synthesis.projection import pixel_rays, sampling_grid


def rotate_images(images: Tensor, rotations: Tensor, camera: CameraModel) -> Tensor:
    """Return the images [N, C, h, w] that a camera turned by quaternions [N, 4] would see.

    Args:
        images: float images, each its own.
        rotations: new optical frame to old, unit quaternions.
        camera: of the images.
    """
    grid = _rotation_grid(
        quaternions_to_matrices(rotations).float(), camera, images.shape[-2], images.shape[-1]
    )
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _rotation_grid(rotations: Tensor, camera: CameraModel, height: int, width: int) -> Tensor:
    """Return where each pixel of the turned cameras lies in the original image, in grid_sample's units."""
    points = torch.einsum("nij,jhw->nihw", rotations, pixel_rays(camera, height, width))
    return sampling_grid(camera, points, height, width)
