"""Virtual turns of a camera about its centre.

They are exact: a camera that turns about its centre sees the same rays, so the new image is a homography
K R K^-1 of the old one, and the camera's orientation turns by R. Beyond the old image its border is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.torch_rotations import rotation_matrices


@dataclass(frozen=True)
class Intrinsics:
    """Focal lengths and principal point in pixels of the cached (resized) images."""

    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def of_resized(cls, camera: CameraModel, height: int, width: int) -> Intrinsics:
        """Scale a camera model to images resized to height and width."""
        original = cls(camera.fx, camera.fy, camera.cx, camera.cy)
        return original.scaled(height / camera.height, width / camera.width)

    def cropped(self, height: int, width: int, crop: int | None) -> Intrinsics:
        """Move the principal point to what a central square crop of images of height and width leaves."""
        if crop is None:
            return self
        left, top = round((width - crop) / 2), round((height - crop) / 2)
        return Intrinsics(self.fx, self.fy, self.cx - left, self.cy - top)

    def scaled(self, along_y: float, along_x: float) -> Intrinsics:
        """Return the intrinsics of images resized by two factors."""
        # Pixel centres lie at integers, so the image's corner, which scaling keeps, lies at -0.5.
        return Intrinsics(
            self.fx * along_x,
            self.fy * along_y,
            (self.cx + 0.5) * along_x - 0.5,
            (self.cy + 0.5) * along_y - 0.5,
        )

    def rays(self, height: int, width: int) -> Tensor:
        """Return the points at depth 1 that the pixels of an image show, in the optical frame [3, h, w]."""
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack(
            [(columns - self.cx) / self.fx, (rows - self.cy) / self.fy, torch.ones(height, width)]
        )

    def grid(self, points: Tensor, height: int, width: int) -> Tensor:
        """Return where an image shows points [..., 3, h', w'] of the optical frame, in grid_sample's units.

        Corners are not aligned: the image spans [-1, 1] from edge to edge.
        """
        x, y, z = points.unbind(-3)
        z = z.clamp(min=1e-6)
        column, row = x / z * self.fx + self.cx, y / z * self.fy + self.cy
        return torch.stack([(column + 0.5) * 2 / width - 1, (row + 0.5) * 2 / height - 1], dim=-1)


def turn_images(images: Tensor, turns: Tensor, camera: Intrinsics) -> Tensor:
    """Return the images [N, C, h, w] that a camera turned by quaternions [N, 4] would see.

    Args:
        images: float images, each its own.
        turns: new optical frame to old, unit quaternions.
        camera: intrinsics of the images.
    """
    grid = _rotation_grid(rotation_matrices(turns).float(), camera, images.shape[-2], images.shape[-1])
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _rotation_grid(rotations: Tensor, camera: Intrinsics, height: int, width: int) -> Tensor:
    """Return where each pixel of the turned cameras lies in the original image, in grid_sample's units."""
    points = torch.einsum("nij,jhw->nihw", rotations, camera.rays(height, width))
    return camera.grid(points, height, width)
