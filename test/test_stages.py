"""`hyperpose stages`: what each stage of a training brings, on a run of three stages over two towns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from experiment_helpers import run_verb, write_recipe
from small_towns import simulate_small

from hyperpose_core.datasets import open_dataset
from hyperpose_core.evaluation.metrics import frame_errors
from hyperpose_core.evaluation.offline import estimate_dataset
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.training.recipe import load_recipe

pytest.importorskip("panda3d", reason="the simulation needs panda3d: pip install hyperpose_ros[simulation]")

MS_HYPERPOSE = {
    "backbone": "efficientnet_lite0",
    "position_layers": [1, 1],
    "orientation_layers": [1, 1],
    "position_generated_widths": [16, 16],
    "orientation_generated_widths": [16, 16],
    "generator_width": 8,
}
STAGES = [{"trains": "everything", "epochs": 2}, {"trains": "position"}, {"trains": "orientation"}]


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two towns of two training runs and a test run, 8 images each."""
    return simulate_small(tmp_path_factory.mktemp("towns") / "towns", scenes=2, frames=8).output


@pytest.fixture(scope="module")
def run(towns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three stages."""
    folder = tmp_path_factory.mktemp("stages")
    recipe = write_recipe(
        folder, model="mshyperpose", model_options=MS_HYPERPOSE, stages=STAGES, batch_norm_momentum=0.5
    )
    assert run_verb("train", "--data", towns, "--recipe", recipe, "--output", folder / "run") == 0
    return folder / "run"


@pytest.fixture(scope="module")
def output(run: Path, towns: Path) -> Path:
    """The folder of the run's table of stages."""
    assert run_verb("stages", run, "--data", towns) == 0
    return run / "stages"


def medians(run: Path, towns: Path, number: int) -> dict[str, tuple[float, float]]:
    """Median errors of a stage, by scene and of all frames, found another way."""
    test = open_dataset(towns, split="test")
    estimator = PoseEstimator.load(run / f"stage-{number}.safetensors", "cpu")
    errors = frame_errors(estimate_dataset(estimator, test, 16))
    scenes = np.array([image.scene for image in test.images])
    rows = {scene: scenes == scene for scene in test.scenes} | {"all": scenes != ""}
    return {
        name: (np.median(errors.position_m[chosen]), np.median(errors.orientation_deg[chosen]))
        for name, chosen in rows.items()
    }


def test_every_stage_has_its_row_by_scene_and_overall(run: Path, output: Path, towns: Path) -> None:
    results = json.loads((output / "results.json").read_text())
    assert [stage["trains"] for stage in results["stages"]] == ["everything", "position", "orientation"]
    assert [stage["epochs"] for stage in results["stages"]] == [2, 1, 1]
    groups = {group["label"]: group for group in results["groups"]}
    assert {name: group["frames"] for name, group in groups.items()} == {"abbey": 8, "market": 8, "all": 16}
    for place in range(3):
        for name, expected in medians(run, towns, place + 1).items():
            for kind, value in zip(("position_m", "orientation_deg"), expected, strict=True):
                assert groups[name][kind]["medians"][place]["estimate"] == pytest.approx(value, rel=1e-4)
    for group in groups.values():
        for kind in ("position_m", "orientation_deg"):
            estimates = [median["estimate"] for median in group[kind]["medians"]]
            changes = [change["estimate"] for change in group[kind]["changes"]]
            assert changes == pytest.approx(np.diff(estimates))
    assert cv2.imread(str(output / "stages.png")).shape[0] > 100


def test_the_later_stages_change_one_branch_and_leave_the_other_branch_alone(output: Path) -> None:
    results = json.loads((output / "results.json").read_text())
    first, second, third = (stage["changed"] for stage in results["stages"])
    assert first is None
    assert sorted(second) == ["position_head", "position_hypernetwork"]
    assert sorted(third) == ["orientation_head", "orientation_hypernetwork"]
    for group in results["groups"]:
        still = group["orientation_deg"]["changes"][0], group["position_m"]["changes"][1]
        assert all((change["low"], change["high"]) == (0.0, 0.0) for change in still)
        assert group["position_m"]["changes"][0]["low"] < group["position_m"]["changes"][0]["high"]
    assert "the same" in (output / "results.md").read_text()


def test_an_unfinished_run_is_scored_as_far_as_it_is(run: Path, towns: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(run / "stage-1.safetensors", tmp_path)
    assert run_verb("stages", tmp_path, "--data", towns, "--output", tmp_path / "table") == 0
    printed = capsys.readouterr().out
    assert "1: everything" in printed and "2: position" not in printed
    assert "The run has finished 1 of 3 stages." in printed
    assert str(tmp_path / "table" / "results.md") in printed


def test_a_run_without_stages_is_named(towns: Path, tmp_path: Path, capsys) -> None:
    assert run_verb("stages", tmp_path, "--data", towns) == 2
    assert f"{tmp_path}: no stage-1.safetensors in it" in capsys.readouterr().err
    assert run_verb("stages", tmp_path / "nowhere", "--data", towns) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_the_demo_of_the_stages_is_a_recipe_of_three() -> None:
    recipe = load_recipe("three_stages_demo")
    assert [stage.trains for stage in recipe.stages] == ["everything", "position", "orientation"]
