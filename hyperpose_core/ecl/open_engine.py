"""Engines: ways to make a variant of an image, chosen by name."""

from __future__ import annotations

from hyperpose_core.ecl.conditions import Conditions
from hyperpose_core.ecl.engine import Engine
from hyperpose_core.errors import HyperPoseError


def open_engine(name: str, conditions: Conditions, weights: str | None, device: str) -> Engine:
    """Load an engine.

    Args:
        name: one of `ECL_ENGINES`.
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
