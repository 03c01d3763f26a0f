"""The benchmark of training: the plain loop freezes what the recipe does, and both processes take turns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from experiment_helpers import write_recipe
from torch import Tensor

from benchmarks.plain.training import train_plainly
from benchmarks.training_speed import training_in_turns
from hyperpose_core.datasets import open_dataset
from hyperpose_core.training.building import network_of
from hyperpose_core.training.recipe import load_recipe

SQUARE = {"resize": 72, "crop": 64}


@pytest.mark.parametrize(
    ("changes", "changing"),
    [
        ({}, ("features.", "fc1", "fc2", "fc3", "hyper")),
        (
            {"frozen_backbone_stride": 8},
            ("features.4", "features.5", "features.6", "features.7", "features.8", "fc", "hyper"),
        ),
        ({"stages": [{"trains": "orientation"}]}, ("fc3", "hyper_in_rot", "hypernet_rot")),
    ],
)
def test_the_plain_loop_trains_what_the_recipe_trains(
    tmp_path: Path, seven_scenes_folder: Path, changes: dict[str, object], changing: tuple[str, ...]
) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path, **SQUARE, **changes)))
    network = network_of(recipe, 1, (64, 64), torch.device("cpu"))
    images = open_dataset(seven_scenes_folder, split="train").images
    epochs = train_plainly(images, recipe, network)
    states: list[dict[str, Tensor]] = []
    for plain, _ in zip(epochs, range(2), strict=False):
        states.append({name: tensor.clone() for name, tensor in plain.state_dict().items()})
    changed = {name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])}
    assert changed
    assert all(name.startswith(changing) for name in changed)
    assert all(any(name.startswith(start) for name in changed) for start in changing)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "project"])
def test_a_process_trains_an_epoch_a_turn(tmp_path: Path, seven_scenes_folder: Path, kind: str) -> None:
    changes = {"frozen_backbone_stride": 8, "feature_variants": 1, "epochs": 1000}
    recipe = write_recipe(tmp_path, **SQUARE, **changes)
    with training_in_turns(kind, seven_scenes_folder, recipe, tmp_path / kind) as train_an_epoch:
        train_an_epoch()
        train_an_epoch()
    assert not (tmp_path / kind / "history.csv").exists()
