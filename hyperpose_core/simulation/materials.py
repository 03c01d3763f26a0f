"""What walls, roofs and trees are made of, before anything is painted on them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.simulation import painting
from hyperpose_core.simulation.painting import Image
from hyperpose_core.simulation.town import FLOOR_M, Building


def paint_wall(
    rng: np.random.Generator, building: Building, height: int, width: int, density: float
) -> Image:
    """Return a bare wall [height, width, 3] in a building's style, `density` pixels a metre."""
    color = building.wall
    if building.style in ("brick", "warehouse"):
        joint = [min(1.0, value * 0.8 + 0.2) for value in color]
        base = painting.rough(rng, height, width, color, 0.05)
        return painting.masonry(rng, base, 0.16 * density, 0.46 * density, joint, 0.14)
    if building.style == "stone":
        joint = [value * 0.62 for value in color]
        base = painting.rough(rng, height, width, color, 0.07)
        return painting.masonry(rng, base, 0.5 * density, 1.0 * density, joint, 0.12)
    if building.style == "timber":
        return _timber(painting.rough(rng, height, width, (0.92, 0.89, 0.80), 0.04), building, density)
    if building.style == "panels":
        base = painting.rough(rng, height, width, color, 0.03)
        return painting.masonry(rng, base, FLOOR_M * density, 3.2 * density, [v * 0.55 for v in color], 0.05)
    if building.style == "glass":
        return painting.rough(rng, height, width, [value * 0.55 for value in color], 0.02)
    if building.style == "deco":
        base = painting.rough(rng, height, width, color, 0.03)
        pale = [min(1.0, value * 0.5 + 0.5) for value in color]
        for stripe in range(0, height, round(1.55 * density)):
            painting.rectangle(base, 0, stripe, width, stripe + 0.35 * density, pale)
        return base
    return painting.rough(rng, height, width, color, 0.05)


def _timber(image: Image, building: Building, density: float) -> Image:
    """Draw the beams of a half-timbered wall in a dark shade of the building's colour."""
    height, width = image.shape[:2]
    beam = [value * 0.38 for value in building.wall]
    thickness = max(1, round(0.2 * density))
    floor, bay = FLOOR_M * density, width / max(2, round(building.width / 1.9))
    for row in np.arange(height, -floor, -floor):
        painting.rectangle(image, 0, row - thickness, width, row, beam)
    for index, column in enumerate(np.arange(0, width + bay / 2, bay)):
        painting.rectangle(image, column - thickness / 2, 0, column + thickness / 2, height, beam)
        for row in np.arange(height - floor, 0, -floor):
            if (index + int(row)) % 3 == 0:
                start, end = (round(column), round(row)), (round(column + bay), round(row - floor))
                cv2.line(image, start, end, beam, thickness, cv2.LINE_AA)
    return image


def paint_roof() -> npt.NDArray[np.uint8]:
    """Return grey roof tiles as RGB uint8 [128, 128, 3], which repeat."""
    rng = np.random.default_rng(41)
    base = painting.rough(rng, 128, 128, (0.9, 0.9, 0.9), 0.05)
    return painting.to_bytes(painting.masonry(rng, base, 10.7, 12.8, (0.55, 0.55, 0.55), 0.13))


def paint_leaves(seed: int) -> npt.NDArray[np.uint8]:
    """Return grey foliage as RGB uint8 [128, 128, 3], which repeats sideways."""
    rng = np.random.default_rng([seed, 42])
    tone = (
        0.78 + 0.16 * painting.noise(rng, 128, 128, (24, 24)) + 0.12 * painting.noise(rng, 128, 128, (60, 60))
    )
    tone[:, -16:] = tone[:, -16:] * np.linspace(1, 0, 16) + tone[:, :16] * np.linspace(0, 1, 16)
    return painting.to_bytes(np.repeat(np.clip(tone, 0.25, 1.0)[..., None], 3, axis=2).astype(np.float32))
