"""What a training step takes: images and labels of some records, as tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.datasets.image_cache import ImageCache
from hyperpose_core.datasets.options import CAMERA_ADVICE
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import Preprocessing
from hyperpose_core.models.registry import default_options
from hyperpose_core.training.augmentation import Augmenter, random_numbers, recoloured_images
from hyperpose_core.training.recipe import Recipe
from hyperpose_core.training.split import split_blocks
from hyperpose_core.training.virtual_views import VirtualViews
from hyperpose_core.uncertainty.region import TrainedRegion
from hyperpose_core.view_synthesis.lens import check_lens


class Batch(NamedTuple):
    """N samples on a device.

    Attributes:
        images: float32 input [N, 3, h, w], channels last.
        positions: [N, 3], in the network's units.
        orientations: unit quaternions [N, 4].
        scenes: scene ids [N].
    """

    images: Tensor
    positions: Tensor
    orientations: Tensor
    scenes: Tensor


class Samples:
    """A dataset's images, decoded, with their labels.

    Attributes:
        data: the records.
        training: indices of the records to train on.
        validation: indices of the records held out.
        image_size: height and width of the images in their files.
        normalisation: what was taken out of the positions.
        region: where the training records were taken.
    """

    def __init__(
        self, data: PosedImageSet, recipe: Recipe, preprocessing: Preprocessing, cache: Path
    ) -> None:
        """Decode the images into a cache folder, or take them from there.

        Raises:
            HyperPoseError: too few images, an unreadable one, or missing intrinsics that the recipe needs.
        """
        self.data = data
        self.training, self.validation = split_blocks(data.images, recipe.validation)
        if len(self.training) < recipe.batch_size:
            raise HyperPoseError(
                f"{data.name}: {len(self.training)} training images are no batch of {recipe.batch_size}"
            )
        self._recipe = recipe
        self._preprocessing = preprocessing
        self._cache = ImageCache(data.images, preprocessing, cache)
        self.image_size = data.images[0].read().shape[:2]
        self._augmenter = self._build_augmenter()
        self._views = (
            VirtualViews(data, self.training, self._cache, recipe.augmentation, cache)
            if recipe.augmentation.synthesizes_views
            else None
        )
        ids = {scene: index for index, scene in enumerate(data.scenes)}
        scenes = np.array([ids[image.scene] for image in data.images])
        self._scenes = torch.from_numpy(scenes)
        self._orientations = torch.from_numpy(data.orientations()).float()
        positions = data.positions()
        frames = scenes if "scene_count" in default_options(recipe.model) else np.zeros_like(scenes)
        self._frames = frames
        self.normalisation = (
            PositionNormalisation.from_positions(positions[self.training], frames[self.training])
            if recipe.normalise_positions
            else PositionNormalisation()
        )
        self.region = TrainedRegion.from_positions(positions[self.training], scenes[self.training])
        self._positions = torch.from_numpy(self.normalisation.normalize(positions, frames)).float()

    def label_digest(self) -> str:
        """Return what tells these records from other ones: a resumed run must have the same."""
        labels = np.concatenate([self.data.positions(), self.data.orientations()], axis=1)
        return hashlib.sha256(labels.tobytes()).hexdigest()

    def image_digest(self) -> str:
        """Return what tells these images, decoded, from other ones."""
        return self._cache.fingerprint

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels."""
        return self._preprocessing.input_size(*self._cache.size)

    def epoch_order(self, generator: torch.Generator) -> list[int]:
        """Return the order in which one epoch sees the training records.

        With balanced scenes every scene is drawn equally often, small ones more than once.
        """
        if not self._recipe.balance_scenes:
            order = torch.randperm(len(self.training), generator=generator)
        else:
            scenes = self._scenes[self.training]
            weights = 1.0 / torch.bincount(scenes)[scenes].double()
            order = torch.multinomial(weights, len(self.training), replacement=True, generator=generator)
        return [self.training[place] for place in order.tolist()]

    def training_batch(self, indices: Sequence[int], seed: int, epoch: int, device: torch.device) -> Batch:
        """Return augmented samples; the same seed and epoch give the same."""
        numbers = random_numbers(seed, epoch, indices)
        images, orientations = self._cache.batch(indices), self._orientations[list(indices)]
        if self._views is None:
            images, orientations = self._augmenter(images, orientations, numbers)
            return self._batch(images, indices, orientations, device)
        moves = self._views.motions(indices, numbers)
        shift = moves.in_world(orientations) / self.normalisation.scale
        images, orientations = self._augmenter(images, orientations, numbers, moves)
        batch = self._batch(images, indices, orientations, device)
        return batch._replace(positions=batch.positions + shift.to(device))

    def plain_batch(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Return samples as inference sees them."""
        images = self._preprocessing.cropped(self._cache.batch(indices))
        return self._batch(images, indices, self._orientations[list(indices)], device)

    def recoloured_batch(self, indices: Sequence[int], seed: int, device: torch.device) -> Tensor:
        """Return inputs [N, 3, h, w] of which only the colours are varied, as in training."""
        images = self._preprocessing.cropped(self._cache.batch(indices)).float()
        recoloured = recoloured_images(images, self._recipe.augmentation, random_numbers(seed, 0, indices))
        return self._preprocessing.normalized(recoloured.to(device))

    def scene_indices(self) -> npt.NDArray[np.int64]:
        """Return the scene id of each record [N], all zeros for a single-scene network."""
        return self._frames

    def names(self, indices: Sequence[int]) -> str:
        """Return the files of some records, for messages."""
        return ", ".join(str(self.data.images[index].path) for index in indices)

    def batches(self, order: Sequence[int]) -> list[Sequence[int]]:
        """Cut an epoch's order into batches; a single left-over sample joins the batch before it."""
        size = self._recipe.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        if len(batches) > 1 and len(batches[-1]) == 1:
            # Batch norm cannot take its statistics from one image.
            batches[-2:] = [order[-size - 1 :]]
        return batches

    def _batch(
        self, images: Tensor, indices: Sequence[int], orientations: Tensor, device: torch.device
    ) -> Batch:
        inputs = self._preprocessing.normalized(images.to(device))
        return Batch(
            images=inputs.contiguous(memory_format=torch.channels_last),
            positions=self._positions[list(indices)].to(device),
            orientations=orientations.to(device),
            scenes=self._scenes[list(indices)].to(device),
        )

    def _build_augmenter(self) -> Augmenter:
        augmentation = self._recipe.augmentation
        camera = None
        if self.data.camera is not None:
            camera = self.data.camera.resized(*self._cache.size)
            if augmentation.virtual_rotation_deg > 0 or augmentation.synthesizes_views:
                check_lens(camera)
        elif augmentation.virtual_rotation_deg > 0:
            raise HyperPoseError(
                f"{self.data.name}: virtual rotations need the camera's intrinsics; give {CAMERA_ADVICE}, or "
                "set augmentation.virtual_rotation_deg to 0"
            )
        return Augmenter(augmentation, self._recipe.crop, camera)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the generator of everything random in an epoch that belongs to no sample."""
    state = np.random.SeedSequence((seed, epoch)).generate_state(1)
    return torch.Generator().manual_seed(int(state[0]))
