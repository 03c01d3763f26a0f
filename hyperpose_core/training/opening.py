"""What is to be said before a training begins: what becomes of the images, and what is held out of it."""

from __future__ import annotations

import numpy as np

from hyperpose_core.images import Preprocessing
from hyperpose_core.training.recipe import Recipe
from hyperpose_core.training.recommendation import FEWEST_BLOCKS
from hyperpose_core.training.samples import Samples
from hyperpose_core.training.split import block_numbers

# As `uncertainty.fit` has it: every frame counts twice, and two blocks tell images apart.
_FEWEST_FRAMES, _FEWEST_TO_TELL_APART = 5, 2


def opening_notes(samples: Samples, recipe: Recipe, preprocessing: Preprocessing) -> list[str]:
    """Return sentences, one a line."""
    return [preprocessing.describe(*samples.image_size), _held_out(samples, recipe)]


def _held_out(samples: Samples, recipe: Recipe) -> str:
    """Say what is held out and what that means for the covariance and for the epoch that is recommended."""
    frames, total = len(samples.validation), len(samples.data.images)
    if not frames:
        why = "as the recipe says" if recipe.validation.fraction == 0 else f"{total} images are too few"
        return f"held out: none ({why}); the covariance is not measured, and the last epoch is recommended"
    blocks = len(np.unique(block_numbers(samples.validation)))
    if frames < _FEWEST_FRAMES:
        covariance = "too few to measure a covariance"
    elif blocks < _FEWEST_TO_TELL_APART:
        covariance = "which measure one covariance for all images"
    else:
        covariance = "which measure a covariance for each image"
    choice = (
        "the last epoch is recommended unless training goes astray: so few blocks cannot tell epochs apart"
        if blocks < FEWEST_BLOCKS
        else "the last epoch is recommended unless an earlier one is better beyond chance"
    )
    places = "block" if blocks == 1 else "blocks"
    return f"held out: {frames} of {total} images in {blocks} {places}, {covariance}; {choice}"
