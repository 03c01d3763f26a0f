"""Does the hypernetwork help? The same training with and without it, several times, paired by seed.

Both networks of a pair start from the same weights where they have the same parts, see the same batches in
the same order and vary every image in the same way; all that differs is the generated heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.choices import ABLATION_PAIRS
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.ecl.settings import describe_variants
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.condition_drop import ConditionDrop, condition_drops, pair_frames
from hyperpose_core.evaluation.metrics import FrameErrors
from hyperpose_core.evaluation.statistics import (
    DEFAULT_BOOTSTRAP,
    Bootstrap,
    PairedComparison,
    compare_paired,
)
from hyperpose_core.experiments.datasets import frame_groups
from hyperpose_core.experiments.runs import Run, make_run
from hyperpose_core.models.registry import default_options
from hyperpose_core.training.recipe import Recipe


@dataclass(frozen=True)
class Group:
    """Test frames that are scored together.

    Attributes:
        label: "all", or a condition, a scene or both.
        frames: how many.
        position_m: without (first) against with (second) hypernetwork, median errors in metres.
        orientation_deg: likewise in degrees.
        position_by_seed: median errors of each seed, (without, with), metres.
        orientation_by_seed: likewise in degrees.
    """

    label: str
    frames: int
    position_m: PairedComparison
    orientation_deg: PairedComparison
    position_by_seed: tuple[tuple[float, float], ...]
    orientation_by_seed: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Ablation:
    """What came out.

    Attributes:
        with_hypernetwork: that network's name.
        without: the other's.
        seeds: of the runs.
        training: name of the data trained on.
        test: name of the data scored on.
        groups: see `frame_groups`.
        drops_without: each condition against the original images, without hypernetwork; empty where the test
            images have no conditions that share frames.
        drops_with: likewise with hypernetwork.
        conditions_made_by: what made the conditions' images, where `hyperpose ecl generate` did.
    """

    with_hypernetwork: str
    without: str
    seeds: tuple[int, ...]
    training: str
    test: str
    groups: tuple[Group, ...]
    drops_without: tuple[ConditionDrop, ...] = ()
    drops_with: tuple[ConditionDrop, ...] = ()
    conditions_made_by: str = ""


def pair_of(recipe: Recipe, pair: str | None = None) -> tuple[str, str]:
    """Return the names of the networks with and without hypernetwork.

    Args:
        recipe: its model tells the pair where none is named.
        pair: one of `ABLATION_PAIRS`.

    Raises:
        HyperPoseError: there is no such pair.
    """
    for name, without in ABLATION_PAIRS.items():
        if pair == name or (pair is None and recipe.model in (name, without)):
            return name, without
    raise HyperPoseError(f"pair {pair or recipe.model!r} is unknown; use one of {', '.join(ABLATION_PAIRS)}")


def recipe_for(recipe: Recipe, model: str, partner: str) -> Recipe:
    """Return the recipe for one network of a pair: everything the same, as far as the network has it.

    Args:
        recipe: for either network of the pair, or for another whose options they share.
        model: the network wanted.
        partner: the other of the pair.

    Raises:
        HyperPoseError: the recipe has an option that its own model does not know.
    """
    known = default_options(recipe.model)
    unknown = [option for option in recipe.model_options if option not in known]
    if unknown:
        raise HyperPoseError(f"recipe: model {recipe.model} has no option {unknown[0]!r}")
    base = (
        recipe.model
        if recipe.model in (model, partner)
        else max(model, partner, key=ABLATION_PAIRS.__contains__)
    )
    options = {**default_options(base), **recipe.model_options}
    own = default_options(model)
    chosen = {
        option: value
        for option, value in options.items()
        if option in own and (option in recipe.model_options or own[option] != value)
    }
    if "heads_per_scene" in own:
        # MS-HyperPose's fixed heads are shared by all scenes; heads a scene would be a second difference.
        chosen["heads_per_scene"] = False
    return dataclasses.replace(recipe, model=model, model_options=chosen)


def run_ablation(
    recipe: Recipe,
    training: PosedImageSet,
    test: PosedImageSet,
    output: Path,
    *,
    pair: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "auto",
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> Ablation:
    """Make every run that is not made yet, and compare.

    Args:
        recipe: how to train.
        training: images to train on.
        test: images to score on; conditions and scenes are told apart.
        output: folder whose `runs` holds a folder a run.
        pair: one of `ABLATION_PAIRS`; None takes it from the recipe's model.
        seeds: a pair of runs is made for each.
        device: where to train.
        bootstrap: how intervals are made.

    Raises:
        HyperPoseError: the recipe or the data is wrong, or the folder holds other runs.
    """
    names = pair_of(recipe, pair)
    recipes = {name: recipe_for(recipe, name, names[1 - place]) for place, name in enumerate(names)}
    errors: dict[str, list[FrameErrors]] = {name: [] for name in names}
    for number, seed in enumerate(seeds):
        for place, name in enumerate(names):
            print(f"run {2 * number + place + 1} of {2 * len(seeds)}: {name}, seed {seed}", flush=True)
            folder = output / "runs" / f"{name}-seed{seed}"
            errors[name].append(make_run(Run(folder, recipes[name], seed, training, test), device))
    groups = [
        _compare(label, rows, errors[names[1]], errors[names[0]], bootstrap)
        for label, rows in frame_groups(test)
    ]
    return Ablation(
        with_hypernetwork=names[0],
        without=names[1],
        seeds=tuple(seeds),
        training=training.name,
        test=test.name,
        groups=tuple(groups),
        drops_without=_drops(test, errors[names[1]], bootstrap),
        drops_with=_drops(test, errors[names[0]], bootstrap),
        conditions_made_by=describe_variants(test.images),
    )


def _drops(
    test: PosedImageSet, runs: Sequence[FrameErrors], bootstrap: Bootstrap
) -> tuple[ConditionDrop, ...]:
    pairs = pair_frames(
        [image.condition for image in test.images],
        [image.scene for image in test.images],
        test.positions(),
        test.orientations(),
    )
    position, orientation = (
        np.array([getattr(errors, name) for errors in runs]) for name in ("position_m", "orientation_deg")
    )
    return condition_drops(pairs, position, orientation, bootstrap)


def _compare(
    label: str,
    rows: NDArray[np.intp],
    without: Sequence[FrameErrors],
    with_hypernetwork: Sequence[FrameErrors],
    bootstrap: Bootstrap,
) -> Group:
    def paired(name: str) -> tuple[PairedComparison, tuple[tuple[float, float], ...]]:
        first = np.array([getattr(errors, name)[rows] for errors in without])
        second = np.array([getattr(errors, name)[rows] for errors in with_hypernetwork])
        by_seed = zip(np.median(first, axis=1).tolist(), np.median(second, axis=1).tolist(), strict=True)
        return compare_paired(first, second, bootstrap=bootstrap), tuple(by_seed)

    position, position_by_seed = paired("position_m")
    orientation, orientation_by_seed = paired("orientation_deg")
    return Group(label, len(rows), position, orientation, position_by_seed, orientation_by_seed)
