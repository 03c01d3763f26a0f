"""The files of a training run: checkpoints, history, TensorBoard scalars and what resuming needs."""

from __future__ import annotations

import csv
import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from hyperpose_core.checkpoint.file import (
    Checkpoint,
    save_checkpoint,
)
from hyperpose_core.errors import HyperPoseError

BEST_CHECKPOINT = "best.safetensors"
LAST_CHECKPOINT = "last.safetensors"
_STATE_FILE = "training_state.pt"
_IDENTITY_FILE = "recipe.yaml"
_HISTORY_FILE = "history.csv"


def stage_checkpoint(folder: Path, number: int) -> Path:
    """Return where a run of several stages keeps what one of them, counted from 0, left."""
    return folder / f"stage-{number + 1}.safetensors"


@dataclass(frozen=True)
class EpochResult:
    """One epoch's outcome.

    Attributes:
        epoch: counted from 1 through all stages.
        stage: counted from 1.
        training_loss: mean of the total loss over the epoch's steps.
        position_median_m: on held-out blocks, metres; NaN where none are held out.
        orientation_median_deg: on held-out blocks, degrees; NaN where none are held out.
        images_per_second: images trained on a second, decoding and validation not counted.
    """

    epoch: int
    stage: int
    training_loss: float
    position_median_m: float
    orientation_median_deg: float
    images_per_second: float


class RunFolder:
    """One training run's folder."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is written yet."""
        self.path = path

    def open(self, identity: dict[str, Any], resume: bool, device: torch.device) -> dict[str, Any] | None:
        """Begin a run, or find the one to go on with.

        Args:
            identity: what makes it this run: recipe, data and seed, as plain data.
            resume: whether to go on with a run that is there.
            device: where to load the state to.

        Returns:
            the state that `save` was given last, or None for a new run.

        Raises:
            HyperPoseError: the folder holds a run and `resume` is not set, or another run, or a damaged one.
        """
        state_file, identity_file = self.path / _STATE_FILE, self.path / _IDENTITY_FILE
        if not state_file.exists():
            identity_file.write_text(yaml.safe_dump(identity, sort_keys=False), encoding="utf-8")
            (self.path / _HISTORY_FILE).unlink(missing_ok=True)
            return None
        if not resume:
            raise HyperPoseError(
                f"{self.path}: holds a training run; use --resume to go on, or another folder"
            )
        if yaml.safe_load(identity_file.read_text(encoding="utf-8")) != identity:
            raise HyperPoseError(
                f"{identity_file}: the run there has another recipe, seed or data; use another folder"
            )
        try:
            state: dict[str, Any] = torch.load(state_file, map_location=device, weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise HyperPoseError(f"{state_file}: damaged; remove the folder to start anew") from error
        self._forget_epochs_after(state["epochs"])
        return state

    def save(self, checkpoint: Checkpoint, state: dict[str, Any], is_best: bool) -> None:
        """Write the last checkpoint, the best where it is, and the state ("epochs": how many are done)."""
        save_checkpoint(self.path / LAST_CHECKPOINT, checkpoint)
        if is_best:
            save_checkpoint(self.path / BEST_CHECKPOINT, checkpoint)
        partial = self.path / (_STATE_FILE + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.path / _STATE_FILE)

    def discard_state(self) -> None:
        """Remove what only going on needs, several times the size of a checkpoint."""
        (self.path / _STATE_FILE).unlink(missing_ok=True)

    def record(self, result: EpochResult) -> None:
        """Add an epoch to the history and to TensorBoard."""
        row = vars(result)
        path = self.path / _HISTORY_FILE
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, fieldnames=list(row))
            if is_new:
                table.writeheader()
            table.writerow(row)
        with SummaryWriter(str(self.path / "tensorboard"), purge_step=result.epoch) as writer:
            for name, value in row.items():
                if name not in ("epoch", "stage") and np.isfinite(value):
                    writer.add_scalar(name, value, result.epoch)

    def history(self) -> list[EpochResult]:
        """Return the epochs so far."""
        path = self.path / _HISTORY_FILE
        if not path.exists():
            return []
        kinds = {field.name: int if field.type == "int" else float for field in fields(EpochResult)}
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                EpochResult(**{name: kinds[name](value) for name, value in row.items()})  # type: ignore[arg-type]
                for row in csv.DictReader(stream)
            ]

    def _forget_epochs_after(self, epochs: int) -> None:
        """Drop history that a kill between two writes left beyond the saved state."""
        kept = [result for result in self.history() if result.epoch <= epochs]
        path = self.path / _HISTORY_FILE
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, fieldnames=[field.name for field in fields(EpochResult)])
            table.writeheader()
            table.writerows(vars(result) for result in kept)
