"""`hyperpose train`: a recipe and a dataset in, a checkpoint out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from hyperpose_core.choices import AUTO, FEWEST_MAP_IMAGES
from hyperpose_core.cli.common import open_dataset_from
from hyperpose_core.dataset_check.image_evidence import SampleSize
from hyperpose_core.dataset_check.pose_check import check_poses
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.refinement.checkpoint_map import map_beside
from hyperpose_core.refinement.training_map import build_training_map, why_no_map
from hyperpose_core.training.choice import choose_recipe
from hyperpose_core.training.length import fitted_to_time
from hyperpose_core.training.recipe import Recipe, load_recipe, recipe_from_dict
from hyperpose_core.training.recipe_settings import replace_keys
from hyperpose_core.training.report import write_training_report
from hyperpose_core.training.run_folder import has_run, read_identity
from hyperpose_core.training.trainer import Trainer

SAMPLE_BEFORE_TRAINING = SampleSize(sequences=4, anchors=16)
"""Enough of the images to find the usual mistakes in seconds."""


def run(arguments: argparse.Namespace) -> int:
    """Train as the arguments say.

    Raises:
        HyperPoseError: the recipe, the data or the device is wrong.
    """
    if arguments.map_images < FEWEST_MAP_IMAGES:
        raise HyperPoseError(
            f"--map-images is {arguments.map_images}; a map needs {FEWEST_MAP_IMAGES} (--no-map builds none)"
        )
    if arguments.minutes is not None and arguments.epochs is not None:
        raise HyperPoseError("--minutes and --epochs exclude each other; give one")
    data = open_dataset_from(arguments)
    for cause, count in data.dropped.items():
        print(f"{data.name}: left out {count} frames: {cause}")
    if _is_first_process() and not arguments.resume:
        require_agreement(data, arguments.unchecked)
    recipe = _recipe(arguments, data)
    trainer = Trainer(recipe, data, arguments.output, arguments.device, arguments.seed)
    checkpoint = trainer.run(resume=arguments.resume)
    if _is_first_process():
        print(f"report: {write_training_report(arguments.output)}")
        print(f"checkpoint: {checkpoint}")
        if not arguments.no_map:
            print(f"map: {_map(checkpoint, data, arguments)}")
    return 0


def _recipe(arguments: argparse.Namespace, data: PosedImageSet) -> Recipe:
    """Return the recipe asked for; a run that was measured before keeps the length that it was given."""
    overrides = _overrides(arguments)
    is_measured = arguments.recipe == AUTO or arguments.minutes is not None
    if is_measured and arguments.resume and has_run(arguments.output):
        return recipe_from_dict(read_identity(arguments.output)["recipe"], str(arguments.output))
    if arguments.recipe == AUTO:
        choice = choose_recipe(data, overrides)
        recipe = choice.recipe
        print("\n".join(f"recipe: {reason}" for reason in choice.reasons))
    else:
        recipe = load_recipe(arguments.recipe, overrides)
    recipe = replace_keys(recipe, arguments.set)
    if arguments.minutes is not None:
        recipe = fitted_to_time(recipe, data, arguments.minutes, arguments.device)
        print(f"recipe: {sum(recipe.stage_epochs())} epochs fit into {arguments.minutes:g} minutes")
    return recipe


def require_agreement(data: PosedImageSet, unchecked: bool) -> None:
    """Hold the labels against a sample of the images, and say what comes of it.

    Args:
        data: the images.
        unchecked: only warn where they contradict each other.

    Raises:
        HyperPoseError: they contradict each other, and nobody said to train all the same.
    """
    check = check_poses([data], SAMPLE_BEFORE_TRAINING)
    for note in check.notes():
        print(note)
    if not check.mistakes:
        return
    more = f" (and {len(check.mistakes) - 1} more)" if len(check.mistakes) > 1 else ""
    message = f"{data.name}: the images contradict the labels: {check.mistakes[0]}{more}"
    if not unchecked:
        raise HyperPoseError(f"{message}; mend them, or give --unchecked to train all the same")
    print(f"warning: {message}")


def _map(checkpoint: Path, data: PosedImageSet, arguments: argparse.Namespace) -> str:
    """Build the checkpoint's map, unless a finished run's is there; say what came of it.

    Whatever is wrong with the map, the training is whole.
    """
    path = map_beside(checkpoint)
    if arguments.resume and path.is_file():
        return f"{path} (kept)"
    if (reason := why_no_map(data)) is not None:
        return f"none: {reason}"
    if len(data.images) > arguments.map_images:
        print(f"the map is built from {arguments.map_images} of the {len(data.images)} images, evenly spread")
    try:
        # A package that only maps need must not keep anyone from training.
        from hyperpose_core.cli.map import show_progress

        built = build_training_map(checkpoint, data, arguments.device, arguments.map_images, show_progress)
    except ImportError as error:
        return f"none: the package {error.name} is missing (pip install {error.name})"
    except HyperPoseError as error:
        return f"none: {error}"
    return f"{path}, {len(built.landmarks)} landmarks"


def _is_first_process() -> bool:
    """Tell whether this is the one of torchrun's processes that speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "epochs", "batch_size", "learning_rate")
    values = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.no_pretrained:
        values["pretrained"] = False
    if arguments.backbone is not None:
        values["model_options"] = {"backbone": arguments.backbone}
    return values
