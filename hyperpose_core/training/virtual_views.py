"""View synthesis for training images: sampled camera motions, and depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hyperpose_core.datasets.image_cache import ImageCache
from hyperpose_core.datasets.options import CAMERA_ADVICE
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array, matrix_to_quaternion, quaternion_to_rotation_vector
from hyperpose_core.geometry.torch_rotations import rotation_vectors_to_quaternions
from hyperpose_core.training.augmentation import INTERPOLATION, TRANSLATION
from hyperpose_core.training.recipe import Augmentation
from hyperpose_core.view_synthesis.depth_maps import DepthMaps
from hyperpose_core.view_synthesis.translation import CameraMotions

_LARGEST_ANGLE_DEG = 40.0  # between two cameras, one of which is moved towards the other
_FARTHEST = 0.5  # of the way: the other half is nearer to the other camera


class VirtualViews:
    """Samples camera motions along the camera's axes and part of the way towards other training images."""

    def __init__(
        self,
        data: PosedImageSet,
        indices: Sequence[int],
        pixels: ImageCache,
        augmentation: Augmentation,
        folder: Path,
    ) -> None:
        """Estimate the images' depth, or take it from a cache folder.

        Args:
            data: the records.
            indices: those to train on.
            pixels: the records' images.
            augmentation: how far the cameras are moved.
            folder: where depth is kept.

        Raises:
            HyperPoseError: the camera's intrinsics are not known, or no depth could be estimated.
        """
        if data.camera is None:
            raise HyperPoseError(
                f"{data.name}: view synthesis needs the camera's intrinsics; give {CAMERA_ADVICE}, or "
                "set augmentation.virtual_translation_m and "
                "augmentation.virtual_interpolation_m to 0"
            )
        self._translation = augmentation.virtual_translation_m
        reach = augmentation.virtual_interpolation_m
        baseline = max(self._translation, reach / 3)
        camera = data.camera.resized(*pixels.size)
        self._depths = DepthMaps(data.images, indices, pixels, camera, baseline, folder)
        self._ways = _ways(data, indices, reach)

    def motions(self, indices: Sequence[int], numbers: Tensor) -> CameraMotions:
        """Return how the cameras of some records are moved; those of unknown depth stay where they are.

        Args:
            indices: the records.
            numbers: the samples' `random_numbers` [N, 16].
        """
        along = torch.from_numpy(
            np.array([self._part(index, row) for index, row in zip(indices, numbers.numpy(), strict=True)])
        )
        along = along * self._depths.known(indices)[:, None]
        own = (numbers[:, TRANSLATION] * 2 - 1) * self._translation * self._depths.known(indices)[:, None]
        return CameraMotions(
            along[:, :3].float() + own,
            rotation_vectors_to_quaternions(along[:, 3:]),
            self._depths.batch(indices),
        )

    def _part(self, index: int, numbers: Array) -> Array:
        """Return a translation and a rotation vector [6], a part of the way to one of the other images."""
        ways = self._ways[index]
        which, part = numbers[INTERPOLATION]
        return ways[int(which * len(ways))] * (part * _FARTHEST)


def _ways(data: PosedImageSet, indices: Sequence[int], reach: float) -> dict[int, Array]:
    """Return from each record the translations (m) and rotation vectors [K, 6] to those within reach.

    The record itself is one of them: there is always somewhere to go.
    """
    poses = np.array([data.images[index].pose.matrix() for index in indices])
    scenes = np.array([data.images[index].scene for index in indices])
    ways = {}
    for index, pose, scene in zip(indices, poses, scenes, strict=True):
        distance = np.linalg.norm(poses[:, :3, 3] - pose[:3, 3], axis=1)
        trace = np.einsum("ij,nij->n", pose[:3, :3], poses[:, :3, :3])
        angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
        near = (distance <= reach) & (angle < _LARGEST_ANGLE_DEG) & (scenes == scene)
        relative = np.linalg.inv(pose) @ poses[near]
        rotations = [quaternion_to_rotation_vector(matrix_to_quaternion(one[:3, :3])) for one in relative]
        ways[index] = np.concatenate([relative[:, :3, 3], np.array(rotations)], axis=1)
    return ways
