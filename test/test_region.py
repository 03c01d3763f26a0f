"""Where a network was trained: distances on real and made trajectories, and the way into a checkpoint."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from experiment_helpers import write_recipe
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.split import split_blocks
from hyperpose_core.training.trainer import Trainer
from hyperpose_core.uncertainty.region import MOST_POSITIONS, TrainedRegion


def one_scene(positions: np.ndarray) -> TrainedRegion:
    return TrainedRegion.from_positions(positions, np.zeros(len(positions), dtype=np.int64))


def positions_of(path: Path) -> np.ndarray:
    with path.open(newline="") as stream:
        return np.array([[float(row[f"t{axis}"]) for axis in "123"] for row in csv.DictReader(stream)])


def test_in_a_real_kitchen_the_test_frames_lie_as_near_as_they_do(shared_data: Path) -> None:
    training = positions_of(shared_data / "7scenes" / "redkitchen_train.csv")
    region = one_scene(training)
    for position in positions_of(shared_data / "7scenes" / "redkitchen_test.csv"):
        nearest = np.linalg.norm(training - position, axis=1).min()
        assert region.distance(position) == pytest.approx(nearest, abs=1e-12)
        assert region.distance(position + [0.0, 0.0, 30.0]) > 20.0


def test_a_long_drive_is_thinned_without_leaving_holes() -> None:
    """5000 frames round a block, of which the robot stood still for the last 500."""
    angle = np.minimum(np.arange(5000), 4500) * 2 * np.pi / 4501
    drive = np.stack([100 * np.cos(angle), 100 * np.sin(angle), np.full_like(angle, 1.5)], axis=1)
    region = one_scene(drive)
    assert len(region.positions[0]) == MOST_POSITIONS
    assert 0.3 < region.spacing[0] < 1.3, "628 m of road"
    assert max(region.distance(position) for position in drive) <= region.spacing[0]
    assert region.distance([120.0, 0.0, 1.5]) == pytest.approx(20.0, abs=0.1)
    assert region.distance([0.0, 0.0, 1.5]) == pytest.approx(100.0, abs=0.1)


def test_scenes_are_apart() -> None:
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [500, 0, 0]])
    region = TrainedRegion.from_positions(positions, np.array([0, 0, 0, 1]))
    assert region.distance([500.0, 0, 2], 1) == 2.0
    assert region.distance([500.0, 0, 2], 0) == pytest.approx(np.hypot(497, 2))
    assert region.distance([500.0, 0, 2]) == 2.0
    assert region.spacing == (1.0, 0.0)
    assert (region.typical_spacing(1), region.typical_spacing()) == (0.0, 1.0)


@pytest.mark.parametrize("positions", [np.zeros((0, 3)), np.array([[0.0, np.nan, 0.0]])])
def test_a_region_of_nothing_is_refused(positions: np.ndarray) -> None:
    with pytest.raises(ValueError, match="positions"):
        one_scene(positions)


def test_a_checkpoint_keeps_it_exactly(tiny_checkpoint: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    positions = np.array([620_021.123456789, 5_735_000.987654321, 0.0]) + generator.normal(size=(40, 3))
    region = TrainedRegion.from_positions(positions, np.repeat([0, 1], 20))
    path = tmp_path / "region.safetensors"
    save_checkpoint(path, replace(load_checkpoint(tiny_checkpoint), region=region))
    copy = load_checkpoint(path).region
    assert copy is not None and copy.spacing == region.spacing
    for kept, original in zip(copy.positions, region.positions, strict=True):
        np.testing.assert_array_equal(kept, original)


def rewrite(source: Path, target: Path, region: object, drop: bool = False) -> Path:
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    del metadata["crc32"]  # as older files: what is looked at here is the description
    document = json.loads(metadata["hyperpose"])
    document["region"] = region
    if drop:
        del document["region"]
    save_file(load_file(source), target, metadata={**metadata, "hyperpose": json.dumps(document)})
    return target


def test_an_older_file_has_none(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = rewrite(tiny_checkpoint, tmp_path / "older.safetensors", None, drop=True)
    assert load_checkpoint(older).region is None
    assert main(["info", str(older)]) == 0
    assert "positions: not known" in capsys.readouterr().out


@pytest.mark.parametrize(
    "region",
    [
        {"positions": [], "spacing": []},
        {"positions": [[[0, 0, 0]]], "spacing": []},
        {"positions": [[]], "spacing": [1.0]},
        {"positions": [[[0, 0]]], "spacing": [1.0]},
        {"positions": [[[0, 0, None]]], "spacing": [1.0]},
        {"spacing": [1.0]},
    ],
)
def test_a_damaged_region_is_one_line_that_names_the_file(
    tiny_checkpoint: Path, tmp_path: Path, region: object
) -> None:
    path = rewrite(tiny_checkpoint, tmp_path / "damaged.safetensors", region)
    with pytest.raises(HyperPoseError, match=r"damaged.safetensors: .*description is damaged"):
        load_checkpoint(path)


def test_training_writes_where_it_trained_and_not_what_it_held_out(
    tmp_path: Path, seven_scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path, epochs=1)))
    data = open_dataset(seven_scenes_folder, split="train")
    best = Trainer(recipe, data, tmp_path / "run", "cpu").run()
    training, held_out = split_blocks(data.images, recipe.validation)
    region = load_checkpoint(best).region
    assert region is not None and held_out
    assert all(region.distance(data.positions()[index]) == 0.0 for index in training)
    assert min(region.distance(data.positions()[index]) for index in held_out) > 0.09
    capsys.readouterr()
    assert main(["info", str(best)]) == 0
    assert f"{len(training)} kept, 0.1 m apart" in capsys.readouterr().out
