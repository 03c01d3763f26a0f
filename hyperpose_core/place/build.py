"""Trains a network, tries it and a landmark map on frames held out, and lays down what a robot loads."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hyperpose_core.checkpoint.place import CHECKPOINT_FILE
from hyperpose_core.choices import AUTO, BUILD_MINUTES, MOST_MAP_IMAGES
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import opened, replacing
from hyperpose_core.place.parts import Parts
from hyperpose_core.place.trial import Trial, try_out
from hyperpose_core.refinement.checkpoint_map import map_beside
from hyperpose_core.refinement.training_map import build_training_map, why_no_map
from hyperpose_core.training.choice import choose_recipe
from hyperpose_core.training.length import fitted_to_time
from hyperpose_core.training.recipe import Recipe, load_recipe, recipe_from_dict
from hyperpose_core.training.run_folder import has_run, read_identity
from hyperpose_core.training.trainer import Trainer

if TYPE_CHECKING:
    from hyperpose_core.landmarks.view_graph import Progress

NETWORK_FOLDER = "network"
REPORT_FOLDER = "evaluation"

Tell = Callable[[str], None]
"""Takes a line for the person who waits."""


@dataclass(frozen=True)
class BuildSettings:
    """How a place is built.

    Attributes:
        minutes: of training; None for as long as the recipe says.
        recipe: a shipped recipe's name, a YAML file, or `AUTO` to choose by the data.
        device: where networks run.
        seed: of everything random in training.
        most_map_images: a map is built from at most so many images, evenly spread.
    """

    minutes: float | None = BUILD_MINUTES
    recipe: str = AUTO
    device: str = "auto"
    seed: int = 0
    most_map_images: int = MOST_MAP_IMAGES


@dataclass(frozen=True, eq=False)
class Place:
    """What was built.

    Attributes:
        checkpoint: the network for the robot.
        map: the landmark map beside it, of all images; None where there is none.
        why_no_map: why not; None where there is one.
        trial: what network and map do on frames that neither has seen.
    """

    checkpoint: Path
    map: Path | None
    why_no_map: str | None
    trial: Trial


def build_place(parts: Parts, output: Path, settings: BuildSettings, tell: Tell, progress: Progress) -> Place:
    """Build a place from posed images; interrupted, the same call goes on where it was.

    The network learns from the training part. Network and a map of the same part are tried on the test part.
    The map for the robot is then built from all images: structure seen is structure known.

    Args:
        parts: the images.
        output: the place's folder.
        settings: see the class.
        tell: hears what is chosen and what comes of it.
        progress: shows how far the maps are.

    Raises:
        HyperPoseError: the recipe does not fit the data, an image is unreadable, or a file cannot be written.
    """
    trained = _train(parts, output / NETWORK_FOLDER, settings, tell)
    reason = why_no_map(parts.training)
    if reason is None:
        reason = _map(trained, parts, settings, progress)
    trial = try_out(parts, trained, output / REPORT_FOLDER, settings.device, tell)
    checkpoint = output / CHECKPOINT_FILE
    path = map_beside(checkpoint)
    is_kept = path.is_file() and checkpoint.is_file() and filecmp.cmp(trained, checkpoint, shallow=False)
    if not is_kept:
        path.unlink(missing_ok=True)
        with opened(trained) as source, replacing(checkpoint, "checkpoint") as copy:
            shutil.copyfileobj(source, copy)
        if reason is None:
            tell("building the map for the robot from all images")
            build_training_map(checkpoint, parts.whole, settings.device, settings.most_map_images, progress)
    return Place(checkpoint, path if reason is None else None, reason, trial)


def _train(parts: Parts, folder: Path, settings: BuildSettings, tell: Tell) -> Path:
    recipe = _recipe(parts, folder, settings, tell)
    return Trainer(recipe, parts.training, folder, settings.device, settings.seed).run(resume=True)


def _recipe(parts: Parts, folder: Path, settings: BuildSettings, tell: Tell) -> Recipe:
    """Return an interrupted run's recipe; else the one asked for, as long as there is time."""
    if has_run(folder):
        tell(f"going on with the training in {folder}")
        return recipe_from_dict(read_identity(folder)["recipe"], str(folder))
    if settings.recipe == AUTO:
        choice = choose_recipe(parts.training)
        recipe = choice.recipe
        for reason in choice.reasons:
            tell(f"recipe: {reason}")
    else:
        recipe = load_recipe(settings.recipe)
    if settings.minutes is not None:
        tell("measuring how fast training is here")
        recipe = fitted_to_time(recipe, parts.training, settings.minutes, settings.device)
        tell(f"recipe: {sum(recipe.stage_epochs())} epochs fit into {settings.minutes:g} minutes")
    return recipe


def _map(checkpoint: Path, parts: Parts, settings: BuildSettings, progress: Progress) -> str | None:
    """Build the map of the training part; return why there is none."""
    if map_beside(checkpoint).is_file():
        return None
    try:
        build_training_map(checkpoint, parts.training, settings.device, settings.most_map_images, progress)
    except ImportError as error:
        return f"the package {error.name} is missing (pip install {error.name})"
    except HyperPoseError as error:
        return str(error)
    return None
