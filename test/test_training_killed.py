"""A training run that is killed, as a power cut would, and taken up again from the command line."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import experiment_helpers
import torch

from hyperpose_core.checkpoint.file import load_checkpoint

STAGES = [{"trains": "everything"}, {"trains": "position"}]
EPOCHS = 8


def command(data: Path, recipe: Path, output: Path, *arguments: str) -> list[str]:
    program = [sys.executable, "-m", "hyperpose_core", "train"]
    options = ["--data", data, "--recipe", recipe, "--output", output, "--seed", "3", "--device", "cpu"]
    return [*program, *map(str, options), *arguments]


def finished_epochs(run: Path) -> int:
    history = run / "history.csv"
    return max(len(history.read_text().splitlines()) - 1, 0) if history.exists() else 0


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    tmp_path: Path, seven_scenes_folder: Path
) -> None:
    recipe = experiment_helpers.write_recipe(tmp_path, epochs=EPOCHS, stages=STAGES)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    subprocess.run(
        command(seven_scenes_folder, recipe, whole), check=True, env=environment, stderr=subprocess.DEVNULL
    )
    moments = random.Random(20261122)
    for kill in range(2):
        resume = ["--resume"] if kill else []
        process = subprocess.Popen(
            command(seven_scenes_folder, recipe, parts, *resume), env=environment, stderr=subprocess.DEVNULL
        )
        # Once in each stage, at a step of which nobody knows beforehand.
        until = kill * EPOCHS + moments.randrange(1, EPOCHS // 2)
        while finished_epochs(parts) < until and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert finished_epochs(parts) < 2 * EPOCHS
    subprocess.run(
        command(seven_scenes_folder, recipe, parts, "--resume"),
        check=True,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    for name in ("last", "best", "stage-1", "stage-2"):
        expected = load_checkpoint(whole / f"{name}.safetensors").state
        found = load_checkpoint(parts / f"{name}.safetensors").state
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items()), name
    assert finished_epochs(parts) == 2 * EPOCHS
