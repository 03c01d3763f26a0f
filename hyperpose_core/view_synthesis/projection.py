"""From an image's pixels to points of the optical frame and back, in PyTorch, without lens distortion.

Heights and widths are the image's: when it was resized, rounding may have left it a pixel off its camera's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hyperpose_core.geometry.camera import CameraModel


def pixel_rays(camera: CameraModel, height: int, width: int) -> Tensor:
    """Return the points at depth 1 that the pixels of an image show, in the optical frame [3, h, w]."""
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
    column, row = x / z * camera.fx + camera.cx, y / z * camera.fy + camera.cy
    return torch.stack([(column + 0.5) * 2 / width - 1, (row + 0.5) * 2 / height - 1], dim=-1)
