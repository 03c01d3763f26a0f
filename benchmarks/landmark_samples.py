"""Images and priors on which localisation in a landmark map is tried: of the place, and of anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from transforms3d.quaternions import qmult

from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, rotation_vector_to_quaternion
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.refinement import Prior

Disturbance = Callable[[RgbImage, np.random.Generator], RgbImage]


@dataclass(frozen=True)
class PriorNoise:
    """How far priors are off: standard deviations of the length of the error.

    Attributes:
        position_m: metres.
        rotation_deg: degrees.
    """

    position_m: float
    rotation_deg: float

    def covariance(self) -> Array:
        """Return the covariance [6, 6] of such priors."""
        position, rotation = self.position_m**2 / 3.0, np.radians(self.rotation_deg) ** 2 / 3.0
        return np.diag([position] * 3 + [rotation] * 3)

    def prior(self, pose: Pose, scene: str | None, generator: np.random.Generator) -> Prior:
        """Return a prior about a pose."""
        error = generator.normal(size=6) * np.sqrt(np.diag(self.covariance()))
        turned = qmult(rotation_vector_to_quaternion(error[3:]), pose.orientation)
        return Prior(Pose(pose.position + error[:3], turned), self.covariance(), scene)


def random_prior(content: LandmarkMap, noise: PriorNoise, generator: np.random.Generator) -> Prior:
    """Return a prior about the pose of any of the map's images, whatever is seen."""
    return noise.prior(content.images.pose(int(generator.integers(len(content.images)))), None, generator)


def impostors(
    datasets: Sequence[Path], count: int, camera: CameraModel, seed: int = 0
) -> Iterator[tuple[str, RgbImage]]:
    """Give images that do not show the place, as its camera would, and what each is.

    In turns an image of the datasets as it is, half covered, blurred, darkened, and noise, with now and then
    a blank one.

    Args:
        datasets: label files or folders of other places.
        count: how many images.
        camera: the place's; images are brought to its size.
        seed: of everything drawn.
    """
    generator = np.random.default_rng(seed)
    images = [image for path in datasets for image in _spread(open_dataset(path).images, count)]
    order = generator.permutation(len(images))
    kinds = list(DISTURBANCES)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        image = _resized(images[order[number % len(images)]].read(), camera)
        yield kind, DISTURBANCES[kind](image, generator)


def _spread(images: Sequence[PosedImage], count: int) -> Sequence[PosedImage]:
    return images[:: max(1, len(images) // count)]


def _resized(image: RgbImage, camera: CameraModel) -> RgbImage:
    return np.asarray(
        cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def _half_covered(image: RgbImage, generator: np.random.Generator) -> RgbImage:
    covered = image.copy()
    height, width = image.shape[:2]
    rows, columns = [
        (slice(None), slice(0, width // 2)),
        (slice(None), slice(width // 2, None)),
        (slice(0, height // 2), slice(None)),
        (slice(height // 2, None), slice(None)),
    ][generator.integers(4)]
    covered[rows, columns] = generator.integers(0, 256, 3)
    return covered


def _blurred(image: RgbImage, generator: np.random.Generator) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(generator.uniform(2.0, 12.0))), dtype=np.uint8)


def _darkened(image: RgbImage, generator: np.random.Generator) -> RgbImage:
    dark = 255.0 * (image / 255.0) ** 2.5 + generator.normal(0.0, 4.0, image.shape)
    return np.clip(dark, 0, 255).astype(np.uint8)


def _noise(image: RgbImage, generator: np.random.Generator) -> RgbImage:
    if generator.random() < 0.1:
        return np.full_like(image, generator.integers(0, 256, 3))
    coarse = generator.integers(1, 32)
    height, width = image.shape[:2]
    small = generator.integers(0, 256, (max(height // coarse, 2), max(width // coarse, 2), 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


DISTURBANCES: dict[str, Disturbance] = {
    "as it is": lambda image, _: image,
    "half covered": _half_covered,
    "another, as it is": lambda image, _: image,
    "blurred": _blurred,
    "darkened": _darkened,
    "noise or blank": _noise,
}
