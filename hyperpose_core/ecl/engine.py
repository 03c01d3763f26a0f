"""What makes a variant of an image: the interface, and the engines by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import version
from types import ModuleType
from typing import Any, Protocol

from hyperpose_core.ecl.conditions import Conditions
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import RgbImage

ENGINES = ("diffusers", "classical")


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


def open_engine(name: str, conditions: Conditions, weights: str | None, device: str) -> Engine:
    """Load an engine.

    Args:
        name: one of `ENGINES`.
        conditions: what it will be asked for.
        weights: for "diffusers", a pipeline's name on the Hugging Face hub or its folder; None takes the
            published InstructPix2Pix.
        device: for "diffusers", "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        HyperPoseError: the engine cannot make a condition, a library is missing, or the weights or the device
            are wrong.
    """
    if name == "classical":
        from hyperpose_core.ecl.classical import ClassicalEngine

        if weights is not None:
            raise HyperPoseError("--weights goes with --engine diffusers; the classical engine has none")
        return ClassicalEngine(conditions)
    from hyperpose_core.ecl.instruct_pix2pix import DEFAULT_WEIGHTS, InstructPix2PixEngine

    return InstructPix2PixEngine(conditions, weights or DEFAULT_WEIGHTS, device)


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
