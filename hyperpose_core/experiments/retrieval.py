"""The yardstick of every pose regressor: the pose of the training frame that looks most alike.

A network that does not beat it has learned nothing but the training images (Sattler et al., CVPR 2019).
Frames are described by the pooled features of a backbone with ImageNet weights and compared by the angle
between their features. What no retrieval can beat is the pose of the best training frame there is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.evaluation.offline import compare_with_truth, shift_between_worlds
from hyperpose_core.geometry.poses import orientation_errors_deg, position_errors
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.build_engine import select_device
from hyperpose_core.models.backbones import build_backbone, load_pretrained_weights, normalisation_of

INPUT_SIZE = (224, 224)
"""Height and width in pixels that every image is brought to, without a crop."""

DEGREES_PER_METRE = float(np.degrees(1.0))
"""What an error of one metre weighs as much as, in choosing the best frame: one radian."""

_BATCH_SIZE = 16


@dataclass(frozen=True, eq=False)
class Matches:
    """A training frame for each test frame.

    Attributes:
        frames: [N] places in the training images.
        milliseconds: [N] what finding each took, from decoded pixels on, or None.
    """

    frames: NDArray[np.int64]
    milliseconds: NDArray[np.float64] | None = None


def nearest_by_appearance(
    training: PosedImageSet, test: PosedImageSet, backbone: str = "efficientnet_lite0", device: str = "auto"
) -> Matches:
    """Find for each test frame the training frame of its scene that looks most alike.

    Args:
        training: the frames to choose from.
        test: the frames to find a pose for.
        backbone: whose pooled features to compare.
        device: where to run it.

    Raises:
        HyperPoseError: the ImageNet weights cannot be had, an image is unreadable, or a scene of the test
            frames has no training frame.
    """
    candidates = _candidates(training, test)
    describe = _Describer(backbone, device)
    features = describe.all(training.images)
    by_scene = {scene: features[places] for scene, places in candidates.items()}
    frames, milliseconds = [], []
    for image in tqdm(test.images, desc="looking for the nearest", unit="image", dynamic_ncols=True):
        pixels = image.read()
        begin = time.perf_counter()
        similarity = by_scene[image.scene] @ describe(describe.preprocessing(pixels)[None])[0]
        frames.append(candidates[image.scene][int(similarity.argmax())])
        milliseconds.append(1e3 * (time.perf_counter() - begin))
    return Matches(np.array(frames, dtype=np.int64), np.array(milliseconds))


def nearest_by_pose(training: PosedImageSet, test: PosedImageSet) -> Matches:
    """Find for each test frame the training frame of its scene with the nearest pose.

    The nearest is the one with the least sum of distance in metres and angle in radians.

    Raises:
        HyperPoseError: a scene of the test frames has no training frame.
    """
    candidates = _candidates(training, test)
    shift = shift_between_worlds(test, training.world)
    positions, orientations = training.positions(), training.orientations()
    frames = []
    for image in test.images:
        places = candidates[image.scene]
        metres = position_errors(positions[places], image.pose.position + shift)
        turned = np.broadcast_to(image.pose.orientation, (len(places), 4))
        degrees = orientation_errors_deg(orientations[places], turned)
        frames.append(places[int(np.argmin(metres + degrees / DEGREES_PER_METRE))])
    return Matches(np.array(frames, dtype=np.int64))


def compare_matches(training: PosedImageSet, test: PosedImageSet, matches: Matches) -> Comparison:
    """Take the matched frames' poses as estimates and set them beside the truth.

    Raises:
        HyperPoseError: the two datasets lie in different UTM zones.
    """
    return compare_with_truth(
        test,
        [training.images[place].pose for place in matches.frames],
        None if matches.milliseconds is None else matches.milliseconds.tolist(),
        shift=shift_between_worlds(test, training.world),
        up=test.world.up or training.world.up,
    )


class _Describer:
    """Turns images into features of unit length."""

    def __init__(self, backbone: str, device: str) -> None:
        self._device = select_device(device)
        network = build_backbone(backbone)
        network.load_state_dict(load_pretrained_weights(backbone))
        self._network = network.eval().requires_grad_(False).to(self._device)
        self._network.to(memory_format=torch.channels_last)
        self.preprocessing = Preprocessing(INPUT_SIZE, None, *normalisation_of(backbone))

    def __call__(self, inputs: Tensor) -> Tensor:
        """Map inputs [N, 3, h, w] to features [N, C] on the CPU."""
        with torch.inference_mode():
            inputs = inputs.to(self._device, memory_format=torch.channels_last)
            feature_map = self._network(inputs).stride32
            return torch.nn.functional.normalize(feature_map.mean((2, 3)), dim=1).cpu()

    def all(self, images: Sequence[PosedImage]) -> Tensor:
        """Describe the images of some records, [N, C]."""
        features = []
        with tqdm(total=len(images), desc="describing", unit="image", dynamic_ncols=True) as progress:
            for start in range(0, len(images), _BATCH_SIZE):
                batch = images[start : start + _BATCH_SIZE]
                features.append(self(torch.stack([self.preprocessing(image.read()) for image in batch])))
                progress.update(len(batch))
        return torch.cat(features)


def _candidates(training: PosedImageSet, test: PosedImageSet) -> dict[str, NDArray[np.int64]]:
    """Return each test scene's places in the training images: poses of other scenes are no answer."""
    scenes = np.array([image.scene for image in training.images])
    candidates = {scene: np.flatnonzero(scenes == scene) for scene in test.scenes}
    missing = [scene for scene, places in candidates.items() if len(places) == 0]
    if missing:
        raise HyperPoseError(
            f"{training.name}: no training frame of scene {missing[0]!r}, which {test.name} is of; "
            f"it has: {', '.join(training.scenes)}"
        )
    return candidates
