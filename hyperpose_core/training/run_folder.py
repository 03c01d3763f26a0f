"""The files of a training run: checkpoints, history, TensorBoard scalars and what resuming needs."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from hyperpose_core.checkpoint.file import Checkpoint, save_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import lock_folder, read_bytes, read_text, replace_text, replacing
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES
from hyperpose_core.pickled_tensors import load_pickled_tensors
from hyperpose_core.training.recommendation import Recommendation
from hyperpose_core.untrusted import parse_json, parse_yaml, reading, reason_of

BEST_CHECKPOINT = "best.safetensors"
LAST_CHECKPOINT = "last.safetensors"
_STATE_FILE = "training_state.pt"
_IDENTITY_FILE = "recipe.yaml"
_HISTORY_FILE = "history.csv"
_CHOICE_FILE = "chosen.json"
_STATE_KEYS = {"epochs", "least_epoch", "least_errors", "last_errors", "network", "loss", "optimizer"}


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
        position_median_m: on held-out blocks, metres; NaN where none are held out, infinite where half of the
            answers are not finite.
        orientation_median_deg: the same of orientations, degrees.
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
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the folder and keep other processes' trainings out of it, until `release` or this one's end.

        Raises:
            HyperPoseError: another process trains there, or the folder cannot be written to.
        """
        self._lock = lock_folder(self.path, "training")

    def release(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open(self, identity: dict[str, Any], resume: bool, device: torch.device) -> dict[str, Any] | None:
        """Begin a run, or find the one to go on with; of several processes, the first one's part.

        Args:
            identity: what makes it this run: recipe, data and seed, as plain data.
            resume: whether to go on with a run that is there.
            device: where to load the state to.

        Returns:
            the state that `save` was given last, or None for a new run.

        Raises:
            HyperPoseError: the folder holds a run and `resume` is not set, or another run, or a damaged one.
        """
        if not (self.path / _STATE_FILE).exists():
            replace_text(self.path / _IDENTITY_FILE, yaml.safe_dump(identity, sort_keys=False), "recipe")
            for name in (_HISTORY_FILE, _CHOICE_FILE):
                (self.path / name).unlink(missing_ok=True)
            return None
        if not resume:
            raise HyperPoseError(
                f"{self.path}: holds a training run; use --resume to go on, or another folder"
            )
        state = self.state(identity, device)
        if state is not None:
            with reading(self.path / _STATE_FILE, "state of the training"):
                self._forget_epochs_after(int(state["epochs"]))
        return state

    def state(self, identity: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
        """Return the state that `save` was given last, None where there is none; writes nothing.

        Raises:
            HyperPoseError: it is another run's, or damaged.
        """
        state_file = self.path / _STATE_FILE
        if not state_file.exists():
            return None
        if read_identity(self.path) != identity:
            raise HyperPoseError(
                f"{self.path / _IDENTITY_FILE}: the run there has another recipe, seed or data; use another "
                "folder"
            )
        with reading(state_file, "state of the training"):
            state: dict[str, Any] = load_pickled_tensors(state_file, device)
            if not set(state) >= _STATE_KEYS:
                raise KeyError(min(_STATE_KEYS - set(state)))
        return state

    def save(self, checkpoint: Checkpoint, state: dict[str, Any], is_best: bool) -> None:
        """Write the last checkpoint, the best so far where it is, and the state ("epochs": those done)."""
        save_checkpoint(self.path / LAST_CHECKPOINT, checkpoint)
        if is_best:
            save_checkpoint(self.path / BEST_CHECKPOINT, checkpoint)
        path = self.path / _STATE_FILE
        try:
            with replacing(path, "state of the training") as stream:
                torch.save(state, stream)
        except RuntimeError as error:  # what PyTorch's writer makes of a full disk
            raise HyperPoseError(f"{path}: cannot write the state: {reason_of(error)}") from error

    def choose(self, recommendation: Recommendation) -> None:
        """Write down which epoch is recommended."""
        text = json.dumps(asdict(recommendation), indent=2)
        replace_text(self.path / _CHOICE_FILE, text + "\n", "recommended epoch")

    def choice(self) -> Recommendation | None:
        """Return which epoch is recommended; None before the run has ended."""
        path = self.path / _CHOICE_FILE
        if not path.exists():
            return None
        with reading(path, "recommended epoch"):
            content = parse_json(read_bytes(path, "recommended epoch"), path)
            return Recommendation(int(content["epoch"]), str(content["reason"]))

    def discard_state(self) -> None:
        """Remove what only going on needs, several times the size of a checkpoint."""
        (self.path / _STATE_FILE).unlink(missing_ok=True)

    def record(self, result: EpochResult) -> None:
        """Add an epoch to the history and to TensorBoard."""
        self._write_history([*self.history(), result])
        try:
            self._record_scalars(result)
        except OSError as error:
            raise HyperPoseError(f"{self.path / 'tensorboard'}: cannot write: {error.strerror}") from error

    def _record_scalars(self, result: EpochResult) -> None:
        with SummaryWriter(str(self.path / "tensorboard"), purge_step=result.epoch) as writer:
            for name, value in vars(result).items():
                if name not in ("epoch", "stage") and np.isfinite(value):
                    writer.add_scalar(name, value, result.epoch)

    def history(self) -> list[EpochResult]:
        """Return the epochs so far."""
        path = self.path / _HISTORY_FILE
        if not path.exists():
            return []
        kinds = {field.name: int if field.type == "int" else float for field in fields(EpochResult)}
        rows = csv.DictReader(io.StringIO(read_text(path, "history"), newline=""))
        with reading(path, "history"):
            return [
                EpochResult(**{name: kinds[name](value) for name, value in row.items()})  # type: ignore[arg-type]
                for row in rows
            ]

    def _forget_epochs_after(self, epochs: int) -> None:
        """Drop history that a kill between two writes left beyond the saved state."""
        self._write_history([result for result in self.history() if result.epoch <= epochs])

    def _write_history(self, history: Sequence[EpochResult]) -> None:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, fieldnames=[field.name for field in fields(EpochResult)])
        table.writeheader()
        table.writerows(vars(result) for result in history)
        replace_text(self.path / _HISTORY_FILE, text.getvalue(), "history")


def has_run(folder: Path) -> bool:
    """Tell whether a folder holds a run that can be gone on with, or is finished."""
    return (folder / _STATE_FILE).is_file() and (folder / _IDENTITY_FILE).is_file()


def read_identity(folder: Path) -> dict[str, Any]:
    """Return what made a folder's run this run: recipe, data and seed, as plain data.

    Raises:
        HyperPoseError: there is no such record, or it is damaged.
    """
    path = folder / _IDENTITY_FILE
    identity = parse_yaml(read_bytes(path, "recipe of the run", LARGEST_DOCUMENT_BYTES), path)
    if not isinstance(identity, dict):
        raise HyperPoseError(f"{path}: damaged: no mapping of keys to values")
    return identity
