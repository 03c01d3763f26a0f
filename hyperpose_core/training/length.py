"""How many epochs fit into a time, by the speed that is measured here and now."""

from __future__ import annotations

import io
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.training.recipe import Recipe, ValidationRecipe
from hyperpose_core.training.run_folder import RunFolder
from hyperpose_core.training.split import split_blocks
from hyperpose_core.training.trainer import Trainer

_SAMPLE = 96
_TRIAL_EPOCHS = 2  # the first one is slower


def fitted_to_time(recipe: Recipe, data: PosedImageSet, minutes: float, device: str = "auto") -> Recipe:
    """Return a recipe with as many epochs as fit into a time, at least one a stage.

    A short training on some of the images tells the speed; each stage keeps its share of the epochs.

    Args:
        recipe: what to train by.
        data: the images.
        minutes: for reading the images, estimating their depth, and training.
        device: where to train.

    Raises:
        HyperPoseError: the time is not above zero, or the recipe does not fit the data.
    """
    if not minutes > 0:
        raise HyperPoseError(f"--minutes is {minutes:g}; give a time above 0")
    preparing_s, images_per_second = _measured(recipe, data, device)
    training, _ = split_blocks(data.images, recipe.validation)
    left_s = 60.0 * minutes - preparing_s * len(data.images)
    planned = recipe.stage_epochs()
    ratio = left_s * images_per_second / max(1, len(training)) / sum(planned)
    counts = [max(1, int(epochs * ratio)) for epochs in planned]
    stages = [replace(stage, epochs=count) for stage, count in zip(recipe.stages, counts, strict=True)]
    if len(stages) == 1:
        return replace(recipe, epochs=counts[0], stages=[replace(stages[0], epochs=None)])
    return replace(recipe, stages=stages)


def _measured(recipe: Recipe, data: PosedImageSet, device: str) -> tuple[float, float]:
    """Return the seconds that preparing an image takes, and the images trained on a second."""
    # Neighbours, whose views overlap: depth is estimated from them.
    count = max(recipe.batch_size, min(_SAMPLE, len(data.images)))
    sample = replace(data, images=data.images[:count])
    trial = replace(
        recipe,
        epochs=_TRIAL_EPOCHS,
        stages=[replace(recipe.stages[0], epochs=None)],
        validation=ValidationRecipe(fraction=0.0),
    )
    with tempfile.TemporaryDirectory(prefix="hyperpose-") as name:
        begin = time.perf_counter()
        trainer = Trainer(trial, sample, Path(name), device)
        preparing_s = (time.perf_counter() - begin) / len(sample.images)
        # What a trial holds out and recommends is not what the training will.
        with redirect_stdout(io.StringIO()):
            trainer.run()
        history = RunFolder(Path(name)).history()
    return preparing_s, history[-1].images_per_second
