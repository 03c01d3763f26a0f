"""The engine that needs no weights: photometric augmentations of kornia, strung together by hand.

It changes light, colours and weather, nothing else: no sky turns dark, no tree loses its leaves. Its images
are an offline stand-in for those of the paper, and are always called so.

kornia (Apache-2.0) because it is maintained and builds on torch, which is there anyway. albumentations is no
longer maintained and its successor is AGPL; imgaug is not maintained either; torchvision has no weather.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hyperpose_core.datasets.cambridge import CONDITIONS
from hyperpose_core.ecl.conditions import Conditions
from hyperpose_core.ecl.engine import require, versions
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import RgbImage

IMAGES_ARE = "classical engine: photometric augmentations of kornia, not the paper's InstructPix2Pix images"

# Rows of kornia's table of black bodies, whose first ones are lamps and whose last ones the blue sky.
_BLACK_BODIES = {"evening": [2, 3, 4], "winter": [15, 18, 21], "summer": [4, 5, 6]}


class ClassicalEngine:
    """Evening, winter and summer by augmentation, on the CPU, where draws are the same everywhere."""

    def __init__(self, conditions: Conditions) -> None:
        """Build the augmentations.

        Raises:
            HyperPoseError: kornia is missing, or a condition is none of the three.
        """
        (kornia,) = require("kornia.augmentation")
        unknown = [name for name in conditions.conditions if name not in CONDITIONS]
        if unknown:
            raise HyperPoseError(
                f"the classical engine has no condition {unknown[0]!r}; it has: {', '.join(CONDITIONS)}"
            )
        makers = {"evening": _evening, "winter": _winter, "summer": _summer}
        self._chains = {name: makers[name](kornia) for name in conditions.conditions}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The augmentations with their ranges, and the libraries' versions."""
        return {
            "engine": "classical",
            "images_are": IMAGES_ARE,
            "augmentations": {name: str(chain).splitlines() for name, chain in self._chains.items()},
            "black_bodies": {name: _BLACK_BODIES[name] for name in self._chains},
            "versions": versions("kornia", "torch"),
        }

    def vary(self, image: RgbImage, condition: str, seed: int) -> RgbImage:
        """Return the image under a condition (see `Engine`)."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        # kornia draws from torch's global generator.
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(seed)
            varied = self._chains[condition](pixels)
        return (varied[0].permute(1, 2, 0) * 255).round().clamp(0, 255).byte().numpy()


class _FallingSnow(nn.Module):
    """Adds flakes: single bright pixels, blurred to soft dots, large ones and small ones."""

    def __init__(self, kornia: Any) -> None:
        super().__init__()
        self.small = nn.Sequential(
            kornia.RandomSaltAndPepperNoise(amount=(0.004, 0.008), salt_vs_pepper=1.0, p=1.0),
            kornia.RandomGaussianBlur((3, 3), (0.5, 0.7), p=1.0),
        )
        self.large = nn.Sequential(
            kornia.RandomSaltAndPepperNoise(amount=(0.0008, 0.0015), salt_vs_pepper=1.0, p=1.0),
            kornia.RandomGaussianBlur((7, 7), (1.2, 1.6), p=1.0),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Add flakes to images [N, 3, H, W] in 0..1."""
        sky = torch.zeros_like(pixels)
        flakes = 1.5 * self.small(sky) + 8.0 * self.large(sky)
        return (pixels + flakes).clamp(0.0, 1.0)


def _evening(kornia: Any) -> nn.Module:
    """Little light, that of lamps: dark, warm, flat, one lamp nearby, dark corners, a noisy sensor."""
    return nn.Sequential(
        kornia.RandomGamma((1.5, 2.1), (0.5, 0.7), p=1.0),
        kornia.RandomPlanckianJitter("blackbody", _BLACK_BODIES["evening"], p=1.0),
        kornia.RandomSaturation((0.6, 0.85), p=1.0),
        kornia.RandomGaussianIllumination((0.12, 0.25), (0.1, 0.9), (0.15, 0.35), (1.0, 1.0), p=1.0),
        kornia.RandomLinearCornerIllumination((0.05, 0.15), (-1.0, -1.0), p=1.0),
        kornia.RandomGaussianNoise(0.0, 0.02, p=1.0),
    )


def _winter(kornia: Any) -> nn.Module:
    """Overcast and cold: little colour, dark ground turned white, flakes in the air."""
    return nn.Sequential(
        kornia.RandomPlanckianJitter("blackbody", _BLACK_BODIES["winter"], p=1.0),
        kornia.RandomSaturation((0.35, 0.6), p=1.0),
        kornia.RandomSnow((0.25, 0.45), (1.5, 2.2), p=1.0),
        kornia.RandomContrast((0.8, 0.95), p=1.0),
        _FallingSnow(kornia),
    )


def _summer(kornia: Any) -> nn.Module:
    """Harsh sun: bright, contrasty, saturated, warm, and a flare from one corner."""
    return nn.Sequential(
        kornia.RandomGamma((0.7, 0.9), p=1.0),
        kornia.RandomContrast((1.1, 1.35), p=1.0),
        kornia.RandomSaturation((1.3, 1.7), p=1.0),
        kornia.RandomPlanckianJitter("blackbody", _BLACK_BODIES["summer"], p=1.0),
        kornia.RandomLinearCornerIllumination((0.2, 0.4), (1.0, 1.0), p=1.0),
    )
