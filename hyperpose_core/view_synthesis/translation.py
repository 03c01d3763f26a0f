"""View synthesis: what a camera would have seen from nearby, given each pixel's depth.

The pixels' depths are carried to the new place first, then every new pixel looks up its colour in the image
by the depth that arrived there: colours are interpolated once, and gaps are in the depth only, where they are
easily filled. What was hidden from the old place shows what lies beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.torch_rotations import quaternions_to_matrices
from hyperpose_core.view_synthesis.projection import pixel_rays, plane_pixels, sampling_grid


class CameraMotions(NamedTuple):
    """How N cameras are moved.

    Attributes:
        translations: in their old optical frames, metres, float32 [N, 3].
        rotations: new optical frames to old, unit quaternions, float64 [N, 4].
        inverse_depths: of their images, 1/m, float32 [N, h', w'].
    """

    translations: Tensor
    rotations: Tensor
    inverse_depths: Tensor

    def in_world(self, orientations: Tensor) -> Tensor:
        """Return the translations in the world's frame [N, 3], given the cameras' old orientations [N, 4]."""
        return torch.einsum("nij,nj->ni", quaternions_to_matrices(orientations), self.translations)


def synthesize_views(
    images: Tensor, translations: Tensor, inverse_depths: Tensor, rotations: Tensor, camera: CameraModel
) -> Tensor:
    """Return the images [N, C, h, w] that cameras moved and turned would see.

    Args:
        images: float images, each its own.
        translations: of the cameras in their old optical frames, metres [N, 3].
        inverse_depths: of the images, at their size or a fraction of it, 1/m [N, h', w'].
        rotations: new optical frames to old, unit quaternions [N, 4].
        camera: of the images.
    """
    height, width = images.shape[-2:]
    rotations = quaternions_to_matrices(rotations).float()
    translations = translations.float()
    coarse = camera.resized(*inverse_depths.shape[-2:])
    arrived = _carried(inverse_depths, translations, rotations, coarse)
    arrived = functional.interpolate(
        filled_inverse_depths(arrived)[:, None], (height, width), mode="bilinear", align_corners=False
    )[:, 0]
    # A point X of the new frame is R X + t in the old one; its depth scales both coordinates alike.
    points = torch.einsum("nij,jhw->nihw", rotations, pixel_rays(camera, height, width))
    points = points + arrived[:, None] * translations[:, :, None, None]
    grid = sampling_grid(camera, points, height, width)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _carried(inverse_depths: Tensor, translations: Tensor, rotations: Tensor, camera: CameraModel) -> Tensor:
    """Return the inverse depths that the moved cameras see, the nearest ones; 0 where none is [N, h, w]."""
    count, height, width = inverse_depths.shape
    rays = pixel_rays(camera, height, width)[None] - inverse_depths[:, None] * translations[:, :, None, None]
    points = torch.einsum("nji,njhw->nihw", rotations, rays)
    depth = points[:, 2].clamp(min=1e-3)
    x, y = plane_pixels(camera, points[:, 0] / depth, points[:, 1] / depth)
    arriving = inverse_depths / depth
    target = torch.zeros(count, height * width)
    # Each point covers the four pixels around it: surfaces stay closed where they are seen from nearer by.
    for right in (0, 1):
        for down in (0, 1):
            column, row = x.floor().long() + right, y.floor().long() + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (points[:, 2] > 1e-3)
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)
            target.scatter_reduce_(1, place, (arriving * inside).flatten(1), "amax")
    return target.view(count, height, width)


def filled_inverse_depths(inverse_depths: Tensor) -> Tensor:
    """Fill gaps (zeros) with the farthest depth around them: what comes into view lies behind [N, h, w]."""
    if min(inverse_depths.shape[-2:]) <= 1:
        return inverse_depths
    known = torch.where(inverse_depths > 0, inverse_depths, torch.inf)
    coarser = -functional.max_pool2d(-known, 2, ceil_mode=True)
    coarser = filled_inverse_depths(torch.where(torch.isfinite(coarser), coarser, 0))
    wider = functional.interpolate(coarser[:, None], inverse_depths.shape[-2:], mode="bilinear")[:, 0]
    return torch.where(inverse_depths > 0, inverse_depths, wider)
