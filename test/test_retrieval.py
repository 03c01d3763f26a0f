"""`hyperpose baseline`: the nearest training frame as the answer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from experiment_helpers import run_verb

from hyperpose_core.datasets import PosedImageSet, open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import score
from hyperpose_core.experiments.retrieval import compare_matches, nearest_by_appearance, nearest_by_pose


def test_the_nearest_frame_is_the_same_frame_where_it_is_there(seven_scenes_folder) -> None:
    training = open_dataset(seven_scenes_folder, split="train")
    for matches in (
        nearest_by_appearance(training, training, device="cpu"),
        nearest_by_pose(training, training),
    ):
        assert matches.frames.tolist() == list(range(12))
        assert score(compare_matches(training, training, matches)).overall.position_m.maximum == 0.0


def test_poses_of_other_scenes_are_no_answer(seven_scenes_folder) -> None:
    training = open_dataset(seven_scenes_folder, split="train")
    elsewhere = tuple(dataclasses.replace(image, scene="hall") for image in training.images)
    both = PosedImageSet("both", elsewhere + training.images)
    assert nearest_by_pose(both, training).frames.tolist() == list(range(12, 24))
    with pytest.raises(HyperPoseError, match="no training frame of scene 'toyroom'"):
        nearest_by_pose(PosedImageSet("hall", elsewhere), training)


def test_the_baseline_on_the_real_kitchen(shared_data: Path, tmp_path: Path, capsys) -> None:
    """Measured by others: 0.083 m and 3.9 degrees; best possible 0.076 m and 3.8 degrees."""
    folder = shared_data / "7scenes"
    status = run_verb(
        "baseline",
        "--data",
        folder / "redkitchen_train.csv",
        "--test-data",
        folder / "redkitchen_test.csv",
        "--output",
        tmp_path,
        "--compare",
    )
    assert status == 0
    retrieved, best = (
        json.loads((path / "results.json").read_text())["overall"]
        for path in (tmp_path, tmp_path / "best_possible")
    )
    assert retrieved["frames"] == 130
    assert retrieved["position_m"]["median"] == pytest.approx(0.083, abs=0.004)
    assert retrieved["orientation_deg"]["median"] == pytest.approx(3.9, abs=0.3)
    assert best["position_m"]["median"] == pytest.approx(0.076, abs=0.002)
    assert best["orientation_deg"]["median"] == pytest.approx(3.8, abs=0.1)
    assert "MS-HyperPose" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists()


def test_a_scene_without_published_figures_is_named(seven_scenes_folder, tmp_path: Path, capsys) -> None:
    command = ["--compare", "--data", seven_scenes_folder, "--output", tmp_path / "out"]
    assert run_verb("baseline", *command) == 2
    assert "no published figures for scene 'toyroom'" in capsys.readouterr().err
