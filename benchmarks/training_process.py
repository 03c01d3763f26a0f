"""One process that trains an epoch for every line it reads, and says so with a line of its own.

    python -m benchmarks.training_process {plain,project} --data DATASET --recipe FILE --output FOLDER

Training changes how a process gets its memory, so what is compared must not share one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.plain.training import train_plainly
from hyperpose_core.datasets import open_dataset
from hyperpose_core.training.building import network_of
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.trainer import Trainer


class PausedTrainer(Trainer):
    """The project's trainer, which waits after each epoch instead of scoring and saving."""

    def _finish_epoch(self, *_: object) -> None:
        _wait_for_turn()


def main() -> None:
    """Train until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("plain", "project"))
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cpu", help="for the project's trainer")
    options = parser.parse_args()
    recipe, data = load_recipe(options.recipe), open_dataset(options.data, split="train")
    if options.kind == "project":
        PausedTrainer(recipe, data, options.output, options.device).run()
        return
    assert isinstance(recipe.crop, int)
    network = network_of(recipe, len(data.scenes), (recipe.crop, recipe.crop), torch.device("cpu"))
    for _ in train_plainly(data.images, recipe, network):
        _wait_for_turn()


def _wait_for_turn() -> None:
    print("trained", flush=True)
    if not sys.stdin.readline():
        raise SystemExit


if __name__ == "__main__":
    main()
