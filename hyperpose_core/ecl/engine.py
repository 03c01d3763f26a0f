"""What makes a variant of an image: the interface, and what all engines share."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import version
from types import ModuleType
from typing import Any, Protocol

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import RgbImage


class Engine(Protocol):
    """Makes variants of images, the same ones for the same seed."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the images depend on beside source, condition and seed, as plain data for JSON.

        `engine` is its name, `images_are` a sentence for reports.
        """

    def vary(self, image: RgbImage, condition: str, seed: int) -> RgbImage:
        """Return an image under a condition.

        Args:
            image: RGB uint8 [H, W, 3].
            condition: a name of the conditions that the engine was made for.
            seed: of everything random.

        Returns:
            RGB uint8 [H, W, 3] of the same size.
        """


def require(*modules: str) -> list[ModuleType]:
    """Import libraries that the extra `ecl` brings.

    Raises:
        HyperPoseError: one is missing or broken; the extra is named.
    """
    imported = []
    for name in modules:
        try:
            imported.append(importlib.import_module(name))
        except ImportError as error:
            raise HyperPoseError(
                f"{name} cannot be imported ({error}); install it with: pip install 'hyperpose_ros[ecl]'"
            ) from error
    return imported


def versions(*packages: str) -> dict[str, str]:
    """Return the installed packages' versions."""
    return {package: version(package) for package in packages}
