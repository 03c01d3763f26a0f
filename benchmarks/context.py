"""What a section of the benchmark is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Effort
from benchmarks.subjects import Subject, untrained_network, write_untrained


@dataclass(frozen=True)
class Context:
    """Where a section works and how hard it tries.

    Attributes:
        folder: for files that may be deleted between runs.
        quick: only look whether everything runs.
        checkpoint: a trained single-scene network; None to take the demo's or to train one.
        data: the dataset whose test split it is scored on.
        multi_scene_checkpoint: a trained multi-scene network; None to train one.
        multi_scene_data: its dataset.
    """

    folder: Path
    quick: bool = False
    checkpoint: Path | None = None
    data: Path | None = None
    multi_scene_checkpoint: Path | None = None
    multi_scene_data: Path | None = None

    @property
    def made(self) -> Path:
        """The folder for networks and what is made of them, which each run makes anew."""
        return self.folder / "networks"

    def effort(self, seconds: float = 40.0) -> Effort:
        """Say how long to measure."""
        return Effort.chosen(self.quick, seconds)

    def untrained(self, architecture: str, scenes: int = 1) -> Subject:
        """Give a checkpoint with random weights, written once."""
        path = self.made / f"{architecture}_{scenes}.safetensors"
        if path.is_file():
            return Subject(path, path.parent)
        options = {"scene_count": scenes} if scenes > 1 else {}
        return write_untrained(path.parent, untrained_network(architecture, options))
