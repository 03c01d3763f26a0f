"""Which frames are held out of training for validation."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.training.recipe import ValidationRecipe

# Its multiples, modulo 1, lie as far from each other as any number's.
_GOLDEN_RATIO = 0.6180339887


def split_blocks(images: tuple[PosedImage, ...], recipe: ValidationRecipe) -> tuple[list[int], list[int]]:
    """Divide records into training and validation by blocks of consecutive frames.

    Neighbouring frames of a video are nearly the same image: frames held out one by one would say nothing.
    The blocks are spread evenly over every sequence, so that validation sees all of the scene, and begin
    elsewhere in each, so that several drives along one road don't all leave out the same stretch of it.

    Args:
        images: the records, sequence by sequence, in the order of their recording.
        recipe: the fraction held out and the frames a block.

    Returns:
        indices for training and for validation.
    """
    training: list[int] = []
    validation: list[int] = []
    sequences = groupby(range(len(images)), key=lambda index: (images[index].scene, images[index].sequence))
    for number, (_, group) in enumerate(sequences):
        indices = list(group)
        held_out = _spread_blocks(len(indices), recipe, phase=(0.5 + number * _GOLDEN_RATIO) % 1.0)
        for place, index in enumerate(indices):
            (validation if held_out[place] else training).append(index)
    return training, validation


def _spread_blocks(count: int, recipe: ValidationRecipe, phase: float) -> np.ndarray:
    blocks = np.arange(count) // recipe.block
    block_count = int(blocks[-1]) + 1 if count else 0
    wanted = min(round(block_count * recipe.fraction), block_count - 1)
    if wanted < 1:
        return np.zeros(count, dtype=bool)
    chosen = np.floor((np.arange(wanted) + phase) * block_count / wanted).astype(int)
    return np.isin(blocks, chosen)
