"""Virtual turns of a camera about its centre, in training and when a network is asked.

They are exact: a camera that turns about its centre sees the same rays, so the new image is a homography
K R K^-1 of the old one, and the camera's orientation turns by R. Beyond the old image its border is repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array
from hyperpose_core.geometry.torch_rotations import (
    multiply_quaternions,
    rotation_matrices,
    turn_quaternions,
)
from hyperpose_core.images import Preprocessing


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


class TurnedViews:
    """Asks a network about turned copies of each image, too, and averages its answers, turned back.

    One copy turned either way about each axis, and the image itself: seven views an image. An answer's errors
    differ from view to view, and their average is smaller. The scene is the unturned image's.
    """

    def __init__(self, turn_deg: float, camera: CameraModel | None, preprocessing: Preprocessing) -> None:
        """Prepare.

        Args:
            turn_deg: angle of a turn, degrees.
            camera: of the images.
            preprocessing: how they become the network's input.

        Raises:
            HyperPoseError: the angle is not between 0 and 45, or the camera is not known.
        """
        if not 0 < turn_deg < 45:
            raise HyperPoseError(f"a virtual turn of {turn_deg:g} degrees: give more than 0 and less than 45")
        if camera is None:
            raise HyperPoseError(
                "virtual turns need the camera's intrinsics, which this checkpoint doesn't know; train it "
                "with the dataset option camera=WIDTH,HEIGHT,FX,FY,CX,CY"
            )
        size = preprocessing.resized_size(camera.height, camera.width)
        resized = Intrinsics.of_resized(camera, *size)
        self._camera = resized.cropped(*size, preprocessing.crop)
        axes = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).double()
        self._turns = turn_quaternions(axes * math.radians(turn_deg))

    def views(self, inputs: Tensor) -> Tensor:
        """Return the views [N * 7, 3, h, w] of preprocessed images [N, 3, h, w], an image's together."""
        count = len(self._turns)
        turns = self._turns.repeat(len(inputs), 1)
        return turn_images(inputs.repeat_interleave(count, dim=0), turns, self._camera)

    def average(self, positions: Array, orientations: Array) -> tuple[Array, Array]:
        """Return the mean position [N, 3] and orientation [N, 4] of each image's views.

        Args:
            positions: of the views, [N * 7, 3].
            orientations: of the views, camera-to-world quaternions of any norm but zero, [N * 7, 4].
        """
        count = len(self._turns)
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = orientations / np.linalg.norm(orientations, axis=1, keepdims=True)
        back = (self._turns * torch.tensor([1.0, -1.0, -1.0, -1.0])).repeat(len(unit) // count, 1)
        turned_back = multiply_quaternions(torch.from_numpy(unit), back).numpy().reshape(-1, count, 4)
        # q and -q are one rotation: all take the first view's side.
        sides = np.where(np.sum(turned_back * turned_back[:, :1], axis=2, keepdims=True) < 0, -1.0, 1.0)
        return positions.reshape(-1, count, 3).mean(axis=1), (turned_back * sides).sum(axis=1)

    def of_images(self, values: np.ndarray) -> np.ndarray:
        """Return the rows [N, ...] of the unturned images among those of all views [N * 7, ...]."""
        return values[:: len(self._turns)]


def _rotation_grid(rotations: Tensor, camera: Intrinsics, height: int, width: int) -> Tensor:
    """Return where each pixel of the turned cameras lies in the original image, in grid_sample's units."""
    points = torch.einsum("nij,jhw->nihw", rotations, camera.rays(height, width))
    return camera.grid(points, height, width)
