"""Which checkpoint a training recommends, what it holds out of few images, and what it says of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from experiment_helpers import run_verb, write_recipe

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.datasets import PosedImage, open_dataset
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.training.recipe import ValidationRecipe, load_recipe
from hyperpose_core.training.recommendation import EpochScore, recommend
from hyperpose_core.training.run_folder import RunFolder
from hyperpose_core.training.split import block_numbers, split_blocks
from hyperpose_core.training.trainer import Trainer


def scores(blocks: int, better_by: float, seed: int, spread: float = 1.0) -> tuple[EpochScore, EpochScore]:
    """An early epoch and the last one on blocks of 20 frames, which fail together."""
    generator = np.random.default_rng(seed)
    last = 5.0 + np.repeat(generator.normal(0.0, spread, blocks), 20)
    early = last - better_by + np.repeat(generator.normal(0.0, spread / 2, blocks), 20)
    return EpochScore(4, early), EpochScore(10, last)


@pytest.mark.parametrize("blocks", [1, 3, 12, 16])
def test_an_epoch_that_is_better_by_luck_is_not_recommended(blocks: int) -> None:
    """Of epochs that are as good as the last one, the luckiest of ten is taken to be the least."""
    numbers = np.repeat(np.arange(blocks), 20)
    taken = 0
    for trial in range(40):
        rivals = [scores(blocks, 0.0, seed=10 * trial + number) for number in range(10)]
        lucky = min(rivals, key=lambda pair: pair[0].median - pair[1].median)
        if lucky[0].median < lucky[1].median:
            taken += recommend(*lucky, numbers).epoch == 4
    assert taken <= 2


def test_an_epoch_that_is_better_everywhere_is_recommended_where_blocks_are_enough() -> None:
    for blocks, epoch in ((12, 4), (3, 10)):
        recommendation = recommend(*scores(blocks, 2.0, seed=0), np.repeat(np.arange(blocks), 20))
        assert recommendation.epoch == epoch
        assert ("beyond chance" if epoch == 4 else "3 held-out blocks only") in recommendation.reason


@pytest.mark.parametrize("last", [np.full(20, 4.0), np.full(20, np.inf)])
def test_a_training_that_went_astray_is_not_recommended_on_however_few_blocks(last: np.ndarray) -> None:
    recommendation = recommend(EpochScore(7, np.ones(20)), EpochScore(10, last), np.zeros(20, dtype=np.int64))
    assert recommendation.epoch == 7 and "went astray" in recommendation.reason


def test_without_held_out_frames_the_last_epoch_is_recommended_and_the_reason_is_said() -> None:
    nothing = EpochScore(10, np.zeros(0))
    recommendation = recommend(nothing, nothing, np.zeros(0, dtype=np.int64))
    assert recommendation.epoch == 10 and "nothing was held out" in recommendation.reason


def frames(count: int, sequences: int = 1) -> tuple[PosedImage, ...]:
    return tuple(
        PosedImage(Path(f"{number}"), Pose.identity(), scene="s", sequence=str(number * sequences // count))
        for number in range(count)
    )


@pytest.mark.parametrize(
    ("count", "sequences", "fraction", "block", "held_out", "blocks"),
    [
        (610, 1, 0.1, 20, 60, 3),  # as ever
        (610, 1, 0.2, 50, 150, 3),
        (250, 1, 0.2, 50, 48, 3),  # one block of 50 told nothing of one image and the next
        (100, 1, 0.1, 20, 10, 2),
        (60, 10, 0.1, 20, 10, 2),  # sequences shorter than any block
        (36, 1, 0.1, 20, 0, 0),
        (12, 1, 0.25, 3, 3, 1),
        (300, 1, 0.0, 20, 0, 0),
    ],
)
def test_what_is_held_out_is_what_the_data_allows(
    count: int, sequences: int, fraction: float, block: int, held_out: int, blocks: int
) -> None:
    images = frames(count, sequences)
    training, validation = split_blocks(images, ValidationRecipe(fraction=fraction, block=block))
    assert sorted(training + validation) == list(range(count))
    assert validation == sorted(validation)
    assert abs(len(validation) - held_out) <= 2
    assert len(np.unique(block_numbers(validation))) == blocks


def spoilt(trainer: Trainer, epoch: int) -> None:
    """Have the network give nonsense after an epoch, without being told."""
    finish = trainer._finish_epoch

    def finish_badly(number: int, *arguments: object) -> None:
        if number == epoch:
            with torch.no_grad():
                trainer.network.position_head.bias.add_(1e6)
        finish(number, *arguments)

    trainer._finish_epoch = finish_badly


def test_best_is_the_last_epoch_and_says_why_wherever_one_looks(
    seven_scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, epochs=3)
    command = ["--data", seven_scenes_folder, "--recipe", recipe, "--output", tmp_path / "run", "--no-map"]
    assert run_verb("train", *command, "--unchecked") == 0
    told = capsys.readouterr().out
    assert "held out: 3 of 12 images in 1 block, too few to measure a covariance; the last epoch is" in told
    assert "best.safetensors is of epoch 3 of 3: the last one" in told
    best, last = (load_checkpoint(tmp_path / "run" / f"{name}.safetensors") for name in ("best", "last"))
    assert all(torch.equal(best.state[name], tensor) for name, tensor in last.state.items())
    assert best.training["epochs"] == 3 and "the last one" in best.training["chosen"]
    assert json.loads((tmp_path / "run" / "chosen.json").read_text())["epoch"] == 3
    assert "of epoch 3 of 3: the last one" in (tmp_path / "run" / "report.html").read_text()
    assert run_verb("train", *command, "--unchecked", "--resume") == 0
    again = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert all(torch.equal(best.state[name], tensor) for name, tensor in again.state.items())


def test_a_training_that_comes_apart_at_the_end_gives_the_epoch_before(
    seven_scenes_folder: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path, epochs=2)))
    trainer = Trainer(recipe, open_dataset(seven_scenes_folder, split="train"), tmp_path / "run", "cpu")
    spoilt(trainer, 1)
    best = load_checkpoint(trainer.run())
    assert best.training["epochs"] == 1 and "went astray" in best.training["chosen"]
    choice = RunFolder(tmp_path / "run").choice()
    assert choice is not None and choice.epoch == 1
    # What a resumed run knows is what it knew.
    again = Trainer(recipe, open_dataset(seven_scenes_folder, split="train"), tmp_path / "run", "cpu")
    assert load_checkpoint(again.run(resume=True)).training["epochs"] == 1
