"""From an image's pixels to points of the optical frame and back, in PyTorch, through the camera's lens.

Heights and widths are the image's: when it was resized, rounding may have left it a pixel off its camera's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.view_synthesis.lens import distorted, undistorted_pixels


def pixel_rays(camera: CameraModel, height: int, width: int) -> Tensor:
    """Return the points at depth 1 that the pixels of an image show, in the optical frame [3, h, w]."""
    if camera.distortion:
        return torch.cat([undistorted_pixels(camera, height, width), torch.ones(1, height, width)])
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(
        [(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, torch.ones(height, width)]
    )


def sampling_grid(camera: CameraModel, points: Tensor, height: int, width: int) -> Tensor:
    """Return where an image shows points [..., 3, h', w'] of the optical frame, in grid_sample's units.

    Corners are not aligned: the image spans [-1, 1] from edge to edge.
    """
    x, y, z = points.unbind(-3)
    z = z.clamp(min=1e-6)
    column, row = plane_pixels(camera, x / z, y / z)
    return torch.stack([(column + 0.5) * 2 / width - 1, (row + 0.5) * 2 / height - 1], dim=-1)


def plane_pixels(camera: CameraModel, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns and rows at which points of the image plane at depth 1 are seen."""
    if camera.distortion:
        x, y = distorted(camera, x, y)
    return x * camera.fx + camera.cx, y * camera.fy + camera.cy
