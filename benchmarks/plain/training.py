"""A plain training loop: every image decoded in every epoch, torchvision's augmentation, float32, contiguous.

`torch.utils.data.DataLoader` in the training process, stock Adam, one batch after the other. What is trained
and what is frozen is the recipe's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.plain.weights import plain_network
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.losses import PoseLoss
from hyperpose_core.models.base import PoseModel
from hyperpose_core.training.building import preprocessing_of
from hyperpose_core.training.recipe import Recipe

_TRAINED_IN_BRANCH = {"position": ("fc2", "_t_"), "orientation": ("fc3", "_rot_")}
_MODULES_UP_TO_STRIDE = {8: 4, 16: 6, 32: 9}


class PosedImages(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Decodes, resizes, crops, recolours and normalises one image at a time."""

    def __init__(self, images: Sequence[PosedImage], recipe: Recipe) -> None:
        self._images = images
        preprocessing, change = preprocessing_of(recipe), recipe.augmentation
        assert recipe.crop is not None
        self._transform = transforms.Compose(
            [
                transforms.Resize(recipe.resize),
                transforms.RandomCrop(recipe.crop),
                transforms.ColorJitter(change.brightness, change.contrast, change.saturation, change.hue),
                transforms.ToTensor(),
                transforms.Normalize(preprocessing.mean, preprocessing.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        record = self._images[index]
        decoded = cv2.cvtColor(cv2.imread(str(record.path)), cv2.COLOR_BGR2RGB)
        position = torch.tensor(record.pose.position, dtype=torch.float32)
        orientation = torch.tensor(record.pose.orientation, dtype=torch.float32)
        return self._transform(Image.fromarray(decoded)), position, orientation


def train_plainly(images: Sequence[PosedImage], recipe: Recipe, network: PoseModel) -> Iterator[nn.Module]:
    """Train the plain counterpart of a HyperPose network; gives it after each epoch, without end.

    Args:
        images: to train on.
        recipe: of one stage.
        network: gives the weights to start from.
    """
    plain = plain_network(network).train().requires_grad_(True)
    _freeze(plain, recipe)
    weights = recipe.loss
    loss = PoseLoss(
        weights.position, weights.orientation, weights.position_weight, weights.orientation_weight
    )
    loss.branch = recipe.stages[0].trains
    parameters = [value for value in [*plain.parameters(), *loss.parameters()] if value.requires_grad]
    optimizer = torch.optim.Adam(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, eps=recipe.epsilon
    )
    loader = DataLoader(PosedImages(images, recipe), batch_size=recipe.batch_size, shuffle=True)
    while True:
        for inputs, positions, orientations in loader:
            optimizer.zero_grad()
            scenes = torch.zeros(len(inputs), dtype=torch.long)
            total = loss(plain(inputs), positions, orientations, scenes)["total"]
            total.backward()
            optimizer.step()
        yield plain


def _freeze(network: nn.Module, recipe: Recipe) -> None:
    """Keep what the recipe's stage does not train from learning, batch norm's statistics included."""
    trains = recipe.stages[0].trains
    frozen: list[nn.Module] = []
    if trains != "everything":
        names = _TRAINED_IN_BRANCH[trains]
        frozen = [
            child for name, child in network.named_children() if not any(part in f"{name}_" for part in names)
        ]
    elif recipe.frozen_backbone_stride:
        frozen = list(
            network.get_submodule("features")[: _MODULES_UP_TO_STRIDE[recipe.frozen_backbone_stride]]
        )
    for module in frozen:
        module.requires_grad_(False).eval()
