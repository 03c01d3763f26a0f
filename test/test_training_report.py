"""The report that ends a training run."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from experiment_helpers import run_verb, write_recipe

from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.report import write_training_report
from hyperpose_core.training.trainer import Trainer


def test_a_training_run_ends_with_a_report(seven_scenes_folder, tmp_path: Path, capsys) -> None:
    stages = [{"trains": "everything"}, {"trains": "position"}]
    recipe = write_recipe(tmp_path, stages=stages)
    command = ["--data", seven_scenes_folder, "--recipe", recipe, "--output", tmp_path / "run"]
    assert run_verb("train", *command) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert str(tmp_path / "run" / "report.html") in capsys.readouterr().out
    assert "Training of hyperpose on" in page and "2 stages" in page
    assert page.count("data:image/png;base64,") == 2 and 'src="http' not in page
    assert "generator_width: 8" in page
    for name in ("loss.png", "held_out_errors.png"):
        assert cv2.imread(str(tmp_path / "run" / name)).shape[1] > 500


def test_a_report_without_held_out_frames_says_so(seven_scenes_folder, tmp_path: Path) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path, validation={"fraction": 0.0})))
    with pytest.raises(HyperPoseError, match="no finished epoch"):
        write_training_report(tmp_path)
    Trainer(recipe, open_dataset(seven_scenes_folder, split="train"), tmp_path / "run", "cpu").run()
    page = write_training_report(tmp_path / "run").read_text()
    assert "No frames were held out" in page
    assert not (tmp_path / "run" / "held_out_errors.png").exists()
