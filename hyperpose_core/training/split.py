"""Which frames are held out of training for validation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.training.recipe import ValidationRecipe

# Its multiples, modulo 1, lie as far from each other as any number's.
_GOLDEN_RATIO = 0.6180339887
_FEWEST_BLOCKS, _WANTED_BLOCKS = 2, 3
_SHORTEST_BLOCK = 5
_FEWEST_FRAMES = 10
_LARGEST_SHARE = 0.2


def split_blocks(images: tuple[PosedImage, ...], recipe: ValidationRecipe) -> tuple[list[int], list[int]]:
    """Divide records into training and validation by blocks of consecutive frames.

    Neighbouring frames of a video are nearly the same image: frames held out one by one would say nothing.
    The blocks are spread evenly over every sequence, so that validation sees all of the scene, and begin
    elsewhere in each, so that several drives along one road don't all leave out the same stretch of it.

    Where images are few, blocks of the recipe's length would be one or none, which cannot tell one image's
    errors from another's. Then blocks are as short as it takes to have some, of 5 frames at least, and of ten
    frames in all, as long as these are no more than a fifth of the images.

    Args:
        images: the records, sequence by sequence, in the order of their recording.
        recipe: the fraction held out and the frames a block.

    Returns:
        indices for training and for validation.
    """
    sequences = [
        list(group)
        for _, group in groupby(
            range(len(images)), key=lambda index: (images[index].scene, images[index].sequence)
        )
    ]
    validation = [
        index
        for number, indices in enumerate(sequences)
        for index in _spread_blocks(indices, recipe, phase=(0.5 + number * _GOLDEN_RATIO) % 1.0)
    ]
    if recipe.fraction > 0 and len(np.unique(block_numbers(validation))) < _FEWEST_BLOCKS:
        validation = _shorter_blocks(sequences, recipe) or validation
    held_out = set(validation)
    return [index for index in range(len(images)) if index not in held_out], validation


def block_numbers(held_out: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return which block of consecutive frames each of N frames held out, in rising order, is of, [N]."""
    indices = np.asarray(held_out, dtype=np.int64)
    return np.cumsum(np.diff(indices, prepend=indices[:1]) > 1)


def _spread_blocks(indices: Sequence[int], recipe: ValidationRecipe, phase: float) -> list[int]:
    """Return the frames of one sequence that are held out."""
    blocks = [indices[start : start + recipe.block] for start in range(0, len(indices), recipe.block)]
    return _evenly(blocks, min(round(len(blocks) * recipe.fraction), len(blocks) - 1), phase)


def _shorter_blocks(sequences: Sequence[Sequence[int]], recipe: ValidationRecipe) -> list[int]:
    """Return frames of few images that are held out; none where they would be too many of them."""
    count = sum(map(len, sequences))
    wanted = max(round(count * recipe.fraction), _FEWEST_FRAMES)
    if wanted > max(_LARGEST_SHARE, recipe.fraction) * count:
        return []
    length = min(recipe.block, max(_SHORTEST_BLOCK, wanted // _WANTED_BLOCKS))
    blocks = [
        indices[start : start + length]
        for indices in sequences
        for start in range(0, len(indices) - length + 1, length)
    ]
    return _evenly(blocks, min(max(_FEWEST_BLOCKS, round(wanted / length)), len(blocks) - 1), phase=0.5)


def _evenly(blocks: Sequence[Sequence[int]], wanted: int, phase: float) -> list[int]:
    chosen = [int((number + phase) * len(blocks) / wanted) for number in range(wanted)]
    return [index for block in chosen for index in blocks[block]]
