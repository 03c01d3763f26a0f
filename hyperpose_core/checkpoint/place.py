"""What a place's folder holds for a robot: `hyperpose build` writes it, the localizer's `place` names it."""

from __future__ import annotations

from pathlib import Path

from hyperpose_core.errors import HyperPoseError

CHECKPOINT_FILE = "place.safetensors"
"""The trained network, with the camera; the landmark map lies beside it, as beside any checkpoint."""


def checkpoint_of_place(folder: Path) -> Path:
    """Return the checkpoint in a place's folder.

    Raises:
        HyperPoseError: there is none.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise HyperPoseError(
            f"{folder}: no place: {CHECKPOINT_FILE} is missing; make it with "
            f"`hyperpose build SOURCE --output {folder}`"
        )
    return path
