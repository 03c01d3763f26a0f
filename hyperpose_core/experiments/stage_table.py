"""What each stage of a training brings: the networks that its stages left, scored on the same frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import FrameErrors, frame_errors
from hyperpose_core.evaluation.offline import estimate_dataset
from hyperpose_core.evaluation.statistics import (
    DEFAULT_BOOTSTRAP,
    Bootstrap,
    Interval,
    compare_paired,
    confidence_interval,
)
from hyperpose_core.experiments.datasets import frame_groups
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.models.registry import restore_model
from hyperpose_core.training.recipe import Recipe, recipe_from_dict
from hyperpose_core.training.run_folder import stage_checkpoint

_BATCH_SIZE = 16


@dataclass(frozen=True)
class StageSummary:
    """What a stage did.

    Attributes:
        trains: what its recipe says: "everything", "position" or "orientation".
        epochs: of this stage.
        changed: parts of the network (`models.base.PARTS`) with a tensor that is not, bit for bit, what the
            stage before left; None for the first stage.
    """

    trains: str
    epochs: int
    changed: tuple[str, ...] | None


@dataclass(frozen=True)
class Progress:
    """One kind of error of a group of frames from stage to stage.

    Attributes:
        medians: after each stage.
        changes: from each stage to the next, paired by frame; one fewer than `medians`.
    """

    medians: tuple[Interval, ...]
    changes: tuple[Interval, ...]


@dataclass(frozen=True)
class StageGroup:
    """Test frames that are scored together.

    Attributes:
        label: "all", or a scene, a condition or both.
        frames: how many.
        position_m: median position errors, metres.
        orientation_deg: median orientation errors, degrees.
    """

    label: str
    frames: int
    position_m: Progress
    orientation_deg: Progress


@dataclass(frozen=True)
class StageTable:
    """What came out.

    Attributes:
        network: its architecture.
        training: name of the data trained on.
        test: name of the data scored on.
        stages: those that the run has finished.
        planned: how many its recipe has.
        groups: see `frame_groups`.
    """

    network: str
    training: str
    test: str
    stages: tuple[StageSummary, ...]
    planned: int
    groups: tuple[StageGroup, ...]


def score_stages(
    run: Path, test: PosedImageSet, device: str = "auto", bootstrap: Bootstrap = DEFAULT_BOOTSTRAP
) -> StageTable:
    """Score what each stage of a run left.

    Args:
        run: folder of a training whose recipe has several stages; what is finished of it is scored.
        test: images to score on; scenes and conditions are told apart.
        device: where to run the networks.
        bootstrap: how intervals are made.

    Raises:
        HyperPoseError: no stage of several is finished in the folder, or scoring fails.
    """
    checkpoints = _load_stages(run)
    recipe = recipe_from_dict(cast(Mapping[str, Any], checkpoints[0].training["recipe"]), str(run))
    errors = [
        frame_errors(estimate_dataset(PoseEstimator(checkpoint, device), test, _BATCH_SIZE))
        for checkpoint in checkpoints
    ]
    return StageTable(
        network=checkpoints[0].architecture,
        training=str(checkpoints[0].training["data"]),
        test=test.name,
        stages=_summaries(recipe, checkpoints),
        planned=len(recipe.stages),
        groups=tuple(_group(label, rows, errors, bootstrap) for label, rows in frame_groups(test)),
    )


def _load_stages(run: Path) -> list[Checkpoint]:
    if not run.is_dir():
        raise HyperPoseError(f"{run}: no such folder; give the --output of a training in several stages")
    checkpoints: list[Checkpoint] = []
    while (path := stage_checkpoint(run, len(checkpoints))).is_file():
        checkpoints.append(load_checkpoint(path))
    if not checkpoints:
        raise HyperPoseError(
            f"{run}: no {path.name} in it; its recipe has a single stage, or the first is not finished"
        )
    return checkpoints


def _summaries(recipe: Recipe, checkpoints: Sequence[Checkpoint]) -> tuple[StageSummary, ...]:
    changed = [None, *(_changed_parts(before, after) for before, after in pairwise(checkpoints))]
    epochs = recipe.stage_epochs()
    return tuple(
        StageSummary(recipe.stages[place].trains, epochs[place], parts) for place, parts in enumerate(changed)
    )


def _changed_parts(before: Checkpoint, after: Checkpoint) -> tuple[str, ...]:
    network = restore_model(after.architecture, after.options, after.state)
    parts = [
        network.part_of(name)
        for name, tensor in after.state.items()
        if not torch.equal(tensor, before.state[name])
    ]
    return tuple(dict.fromkeys(parts))


def _group(
    label: str, rows: NDArray[np.intp], errors: Sequence[FrameErrors], bootstrap: Bootstrap
) -> StageGroup:
    def progress(name: str) -> Progress:
        values = [getattr(stage, name)[rows] for stage in errors]
        return Progress(
            tuple(confidence_interval(stage, bootstrap=bootstrap) for stage in values),
            tuple(
                compare_paired(before, after, bootstrap=bootstrap).difference
                for before, after in pairwise(values)
            ),
        )

    return StageGroup(label, len(rows), progress("position_m"), progress("orientation_deg"))
