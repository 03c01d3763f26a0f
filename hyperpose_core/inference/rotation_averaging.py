"""Test-time rotation augmentation: predictions for virtually rotated views of an image, averaged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array
from hyperpose_core.geometry.torch_rotations import multiply_quaternions, rotation_vectors_to_quaternions
from hyperpose_core.images import Preprocessing
from hyperpose_core.view_synthesis.lens import check_lens
from hyperpose_core.view_synthesis.rotation import rotate_images

if TYPE_CHECKING:
    from hyperpose_core.inference.engines.engine import Images


class RotatedViews:
    """Averages the predictions for rotated views of each image, rotated back.

    The image itself and one view rotated either way about each axis: seven views an image. Errors
    differ from view to view, and their average is smaller. The scene is that of the image itself; views
    that a multi-scene network takes for another scene, whose world is another, are left out of the average.
    """

    def __init__(self, rotation_deg: float, camera: CameraModel | None, preprocessing: Preprocessing) -> None:
        """Prepare.

        Args:
            rotation_deg: angle of a rotation, degrees.
            camera: of the images.
            preprocessing: how they become the network's input.

        Raises:
            HyperPoseError: the angle is not between 0 and 45, or the camera or its lens is not known.
        """
        if not 0 < rotation_deg < 45:
            raise HyperPoseError(
                f"a virtual rotation of {rotation_deg:g} degrees: give more than 0 and less than 45"
            )
        if camera is None:
            raise HyperPoseError(
                "virtual rotations need the camera's intrinsics, which this checkpoint lacks; train it with "
                "the dataset option camera=WIDTH,HEIGHT,FX,FY,CX,CY"
            )
        check_lens(camera)
        self._camera = preprocessing.input_camera(camera)
        axes = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).double()
        self._rotations = rotation_vectors_to_quaternions(axes * math.radians(rotation_deg))

    def views(self, inputs: Images) -> Tensor:
        """Return the views [N * 7, 3, h, w] of preprocessed images [N, 3, h, w], an image's together."""
        count = len(self._rotations)
        images = torch.as_tensor(inputs)
        rotations = self._rotations.repeat(len(images), 1)
        return rotate_images(images.repeat_interleave(count, dim=0), rotations, self._camera)

    def average(
        self, positions: Array, orientations: Array, scenes: npt.NDArray[np.int64]
    ) -> tuple[Array, Array]:
        """Return the mean position [N, 3] and orientation [N, 4] of each image's views.

        Args:
            positions: of the views, [N * 7, 3].
            orientations: of the views, camera-to-world quaternions of any norm but zero, [N * 7, 4].
            scenes: what each view was taken for, scene ids [N * 7].
        """
        count = len(self._rotations)
        by_image = scenes.reshape(-1, count)
        counted = (by_image == by_image[:, :1])[..., None]
        with np.errstate(invalid="ignore", divide="ignore"):
            unit = orientations / np.linalg.norm(orientations, axis=1, keepdims=True)
        back = (self._rotations * torch.tensor([1.0, -1.0, -1.0, -1.0])).repeat(len(unit) // count, 1)
        turned_back = multiply_quaternions(torch.from_numpy(unit), back).numpy().reshape(-1, count, 4)
        # q and -q are one rotation: all take the first view's side.
        sides = np.where(np.sum(turned_back * turned_back[:, :1], axis=2, keepdims=True) < 0, -1.0, 1.0)
        # Not by factors of zero: what is left out need not be finite.
        return (
            positions.reshape(-1, count, 3).mean(axis=1, where=counted),
            (turned_back * sides).sum(axis=1, where=counted),
        )

    def of_images(self, values: np.ndarray) -> np.ndarray:
        """Return the rows [N, ...] of the unturned images among those of all views [N * 7, ...]."""
        return values[:: len(self._rotations)]
