"""One training run and its errors on test images, made once: a run that is finished is not made again.

A run's folder holds what `hyperpose train` writes, `run.json` (what the run is, and whether it is finished)
and an `errors-*.json` for each set of test images (every frame's errors). An interrupted run goes on where
it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import FrameErrors, frame_errors
from hyperpose_core.evaluation.offline import estimate_dataset
from hyperpose_core.experiments.datasets import fingerprint
from hyperpose_core.files import read_bytes, replace_text
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.limits import LARGEST_TABLE_BYTES
from hyperpose_core.training.recipe import Recipe, recipe_to_dict
from hyperpose_core.training.report import write_training_report
from hyperpose_core.training.run_folder import RunFolder
from hyperpose_core.training.trainer import Trainer
from hyperpose_core.untrusted import parse_json, reading

RUN_FILE = "run.json"

_BATCH_SIZE = 16


@dataclass(frozen=True, eq=False)
class Run:
    """What to train, and what to score it on.

    Attributes:
        folder: where the run lives.
        recipe: how to train.
        seed: of everything random.
        training: images to train on.
        test: images to score on.
    """

    folder: Path
    recipe: Recipe
    seed: int
    training: PosedImageSet
    test: PosedImageSet


def make_run(run: Run, device: str = "auto") -> FrameErrors:
    """Train and score, or do what is left of it.

    Returns:
        the errors of each test frame, in the test images' order.

    Raises:
        HyperPoseError: the folder holds another run, or training or scoring fails.
    """
    checkpoint = _train(run, device)
    test = fingerprint(run.test)
    path = run.folder / f"errors-{test[:8]}.json"
    if (known := read_errors(path, test)) is not None:
        return known
    errors = frame_errors(estimate_dataset(PoseEstimator.load(checkpoint, device), run.test, _BATCH_SIZE))
    write_errors(path, test, errors)
    return errors


def trained_checkpoint(run: Run) -> Path:
    """Return the file of a finished run's network.

    Raises:
        HyperPoseError: the run's description is damaged.
    """
    return run.folder / str(_read(run.folder / RUN_FILE)["checkpoint"])


def read_errors(path: Path, test: str) -> FrameErrors | None:
    """Read errors that `write_errors` wrote for the same test images; None where there are none.

    Raises:
        HyperPoseError: the file is damaged.
    """
    document = _read(path) if path.exists() else {}
    if document.get("test") != test:
        return None
    with reading(path, "record of the errors"):
        return FrameErrors(_numbers(document["position_m"]), _numbers(document["orientation_deg"]))


def write_errors(path: Path, test: str, errors: FrameErrors) -> None:
    """Write the errors of test images whose fingerprint is given.

    Raises:
        HyperPoseError: the file cannot be written.
    """
    position, orientation = _plain(errors.position_m), _plain(errors.orientation_deg)
    _write(path, {"test": test, "position_m": position, "orientation_deg": orientation})


def _train(run: Run, device: str) -> Path:
    identity = {
        "recipe": recipe_to_dict(run.recipe),
        "seed": run.seed,
        "data": run.training.name,
        "images": fingerprint(run.training),
    }
    path = run.folder / RUN_FILE
    if path.exists():
        state = _read(path)
        if state.get("run") != identity:
            raise HyperPoseError(
                f"{path}: the run there has another recipe, seed or data; use another output folder or "
                "remove this one"
            )
        if state.get("checkpoint"):
            return run.folder / str(state["checkpoint"])
    else:
        _write(path, {"run": identity, "checkpoint": None})
    checkpoint = Trainer(run.recipe, run.training, run.folder, device, run.seed).run(resume=True)
    write_training_report(run.folder)
    _write(path, {"run": identity, "checkpoint": checkpoint.name})
    # Decoded images and the optimizer's state are many times the size of all the rest, and of no use to a
    # finished run.
    shutil.rmtree(run.folder / "cache", ignore_errors=True)
    RunFolder(run.folder).discard_state()
    return checkpoint


def _read(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(
            read_bytes(path, "record of the run", LARGEST_TABLE_BYTES), path, "record of the run"
        )
    except HyperPoseError as error:
        raise HyperPoseError(f"{error}; remove the folder to start it anew") from error
    return document if isinstance(document, dict) else {}


def _write(path: Path, document: dict[str, Any]) -> None:
    replace_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n", "record of the run")


def _plain(values: np.ndarray) -> list[float | None]:
    # JSON has no infinity: null is a frame without an estimate.
    return [float(value) if np.isfinite(value) else None for value in values]


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.inf if value is None else value for value in values], dtype=np.float64)
