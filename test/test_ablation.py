"""`hyperpose ablate`: with and without hypernetwork, paired by seed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from experiment_helpers import run_verb, write_recipe

from hyperpose_core.cli.main import main
from hyperpose_core.datasets import PosedImage, PosedImageSet, World, open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import score
from hyperpose_core.evaluation.offline import estimate_dataset
from hyperpose_core.experiments.ablation import ABLATION_PAIRS, recipe_for
from hyperpose_core.experiments.datasets import frame_groups, join_datasets
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.models.registry import build_model
from hyperpose_core.training.recipe import load_recipe, recipe_to_dict
from hyperpose_core.training.trainer import Trainer


@pytest.fixture(scope="module")
def ablation(tmp_path_factory, seven_scenes_folder) -> tuple[Path, list[object]]:
    """A finished ablation's folder and the command line that made it."""
    folder = tmp_path_factory.mktemp("ablation")
    command = ["--data", seven_scenes_folder, "--recipe", write_recipe(folder), "--seeds", 2]
    command += ["--output", folder / "out"]
    assert run_verb("ablate", *command) == 0
    return folder / "out", command


def test_an_ablation_reports_the_medians_of_its_networks(ablation, seven_scenes_folder) -> None:
    output, _ = ablation
    results = json.loads((output / "results.json").read_text())
    assert (results["with_hypernetwork"], results["without"]) == ("hyperpose", "posenet")
    (group,) = results["groups"]
    assert (group["label"], group["frames"]) == ("all", 12)
    test = open_dataset(seven_scenes_folder, split="test")
    for seed in (0, 1):
        for column, model in enumerate(("posenet", "hyperpose")):
            checkpoint = output / "runs" / f"{model}-seed{seed}" / "best.safetensors"
            overall = score(estimate_dataset(PoseEstimator.load(checkpoint, "cpu"), test)).overall
            assert group["position_by_seed"][seed][column] == pytest.approx(
                overall.position_m.median, rel=1e-4
            )
            assert group["orientation_by_seed"][seed][column] == pytest.approx(
                overall.orientation_deg.median, rel=1e-4
            )
    for kind, by_seed in (("position_m", "position_by_seed"), ("orientation_deg", "orientation_by_seed")):
        medians = np.mean(group[by_seed], axis=0)
        comparison = group[kind]
        assert comparison["first"]["estimate"] == pytest.approx(medians[0])
        assert comparison["difference"]["estimate"] == pytest.approx(medians[1] - medians[0])
        assert comparison["difference"]["low"] <= comparison["difference"]["high"]
    markdown = (output / "results.md").read_text()
    assert "![](ablation.png)" in markdown and "does the hypernetwork help" in markdown
    assert cv2.imread(str(output / "ablation.png")).shape[0] > 300


def test_finished_runs_are_not_made_again_and_new_test_data_is_scored(
    ablation, seven_scenes_folder, tmp_path, capsys
) -> None:
    output, command = ablation
    shutil.copytree(output, tmp_path / "out")
    command = [*command[:-1], tmp_path / "out"]
    checkpoints = sorted((tmp_path / "out").glob("runs/*/*.safetensors"))
    before = [path.stat().st_mtime_ns for path in checkpoints]
    other = tmp_path / "other" / seven_scenes_folder.name
    shutil.copytree(seven_scenes_folder, other)
    for path in other.glob("seq-02/*.pose.txt"):
        matrix = np.loadtxt(path)
        matrix[0, 3] += 5.0
        np.savetxt(path, matrix)
    assert run_verb("ablate", *command, "--test-data", seven_scenes_folder, "--test-data", other) == 0
    assert [path.stat().st_mtime_ns for path in checkpoints] == before
    groups = json.loads((tmp_path / "out" / "results.json").read_text())["groups"]
    original = json.loads((output / "results.json").read_text())["groups"][0]
    assert [group["label"] for group in groups] == [str(seven_scenes_folder), str(other)]
    np.testing.assert_allclose(groups[0]["position_by_seed"], original["position_by_seed"], rtol=1e-4)
    assert np.min(groups[1]["position_by_seed"]) > 3.0
    assert str(other) in capsys.readouterr().out


def test_conditions_of_the_test_frames_are_judged_apart(ablation, seven_scenes_folder, tmp_path) -> None:
    pytest.importorskip("kornia", reason="kornia is missing: pip install 'hyperpose_ros[ecl]'")
    output, command = ablation
    shutil.copytree(output, tmp_path / "out")
    variants = ["--data", seven_scenes_folder, "--output", tmp_path / "variants", "--engine", "classical"]
    assert run_verb("ecl", "generate", *variants) == 0
    (labels,) = (tmp_path / "variants").glob("*.csv")
    assert run_verb("ablate", *command[:-1], tmp_path / "out", "--test-data", labels) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    groups = {group["label"]: group for group in results["groups"]}
    assert list(groups) == ["original", "evening", "winter", "summer"]
    before = json.loads((output / "results.json").read_text())["groups"][0]
    np.testing.assert_allclose(groups["original"]["position_by_seed"], before["position_by_seed"], rtol=1e-4)
    for side, drops in (("first", results["drops_without"]), ("second", results["drops_with"])):
        assert [drop["condition"] for drop in drops] == ["evening", "winter", "summer"]
        for drop in drops:
            medians = [
                groups[name]["position_m"][side]["estimate"] for name in ("original", drop["condition"])
            ]
            assert drop["position_m"]["difference"]["estimate"] == pytest.approx(medians[1] - medians[0])
    markdown = (tmp_path / "out" / "results.md").read_text()
    assert "against original" in markdown and "not the paper's InstructPix2Pix images" in markdown


def test_an_interrupted_ablation_goes_on_where_it_was(
    ablation, seven_scenes_folder, tmp_path, monkeypatch
) -> None:
    whole, command = ablation
    command = [*command[:-1], tmp_path / "out"]
    train, calls = Trainer.run, []

    def interrupted(trainer: Trainer, resume: bool) -> Path:
        calls.append(trainer)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(trainer, resume)

    monkeypatch.setattr(Trainer, "run", interrupted)
    assert run_verb("ablate", *command) == 130
    first = tmp_path / "out" / "runs" / "hyperpose-seed0" / "best.safetensors"
    made = first.stat().st_mtime_ns
    assert run_verb("ablate", *command) == 0
    assert len(calls) == 5
    assert first.stat().st_mtime_ns == made
    results = [json.loads((folder / "results.json").read_text()) for folder in (whole, tmp_path / "out")]
    assert results[0]["groups"] == results[1]["groups"]


def test_an_ablation_with_another_recipe_needs_another_folder(ablation, capsys) -> None:
    _, command = ablation
    assert run_verb("ablate", *command, "--epochs", 2) == 2
    assert "another recipe, seed or data; use another output folder" in capsys.readouterr().err


@pytest.mark.parametrize("pair", ABLATION_PAIRS)
def test_a_pair_differs_in_the_hypernetwork_alone(pair: str) -> None:
    """Same recipe but for the model, same option values, same weights at the start in what both have."""
    options = {"backbone": "efficientnet_lite0", "generator_width": 4, "dropout": 0.3}
    if pair == "mshyperpose":
        options |= {"width": 32, "scene_count": 2, "position_generated_widths": [8, 8]}
    recipe = dataclasses.replace(load_recipe("small_data"), model=pair, model_options=options)
    recipes = {
        name: recipe_for(recipe, name, partner)
        for name, partner in ((pair, ABLATION_PAIRS[pair]), (ABLATION_PAIRS[pair], pair))
    }
    plain = [{**recipe_to_dict(value), "model": "", "model_options": {}} for value in recipes.values()]
    assert plain[0] == plain[1]
    networks = {}
    for name, own in recipes.items():
        torch.manual_seed(3)
        networks[name] = build_model(name, own.model_options)
    known = networks[ABLATION_PAIRS[pair]].options
    assert {key: networks[pair].options.get(key, known[key]) for key in known} == known
    states = [networks[name].state_dict() for name in (pair, ABLATION_PAIRS[pair])]
    only_with = {networks[pair].part_of(key) for key in states[0].keys() - states[1].keys()}
    assert only_with == {"position_hypernetwork", "orientation_hypernetwork"}
    assert states[1].keys() <= states[0].keys()
    assert all(torch.equal(states[0][key], tensor) for key, tensor in states[1].items())


def test_frames_are_judged_by_condition_and_scene() -> None:
    def frames(scene: str, condition: str) -> tuple[PosedImage, ...]:
        return (PosedImage(Path("a.png"), Pose.identity(), scene=scene, condition=condition),) * 2

    def labels(*parts: tuple[str, str]) -> list[str]:
        images = tuple(image for part in parts for image in frames(*part))
        return [name for name, _ in frame_groups(PosedImageSet("set", images))]

    assert labels(("hall", "")) == ["all"]
    assert labels(("hall", ""), ("yard", "")) == ["hall", "yard", "all"]
    assert labels(("hall", "noon"), ("hall", "dusk")) == ["noon", "dusk"]
    assert labels(("hall", "noon"), ("yard", "dusk")) == ["noon, hall", "dusk, yard"]


def test_joined_datasets_share_one_world() -> None:
    def part(name: str, easting: float, zone: str = "30U") -> PosedImageSet:
        image = PosedImage(Path(name), Pose([1.0, 2.0, 3.0], [1, 0, 0, 0]), scene="town")
        return PosedImageSet(name, (image,), World(origin=np.array([easting, 0.0, 0.0]), utm_zone=zone))

    joined = join_datasets([part("a", 500.0), part("b", 510.0)], "both", by_part=True)
    np.testing.assert_allclose(joined.positions(), [[1, 2, 3], [11, 2, 3]])
    assert [image.condition for image in joined.images] == ["a", "b"]
    with pytest.raises(HyperPoseError, match="b lies in UTM zone 31U, a in 30U"):
        join_datasets([part("a", 500.0), part("b", 510.0, "31U")], "both")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ablate", "--seeds", "0"], "--seeds is 0"),
        (["ablate", "--confidence", "95"], "--confidence is 95"),
        (["ablate", "--block", "0"], "--block is 0"),
        (["ablate", "--test-data", "nowhere"], "nowhere: no such file"),
    ],
)
def test_a_mistake_is_named(arguments, message, seven_scenes_folder, tmp_path, capsys) -> None:
    command = [*arguments, "--data", str(seven_scenes_folder), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert message in capsys.readouterr().err


def test_an_option_that_no_network_has_is_refused(tmp_path: Path, seven_scenes_folder, capsys) -> None:
    recipe = write_recipe(tmp_path, model_options={"wings": 2})
    command = ["--data", seven_scenes_folder, "--recipe", recipe, "--output", tmp_path / "out"]
    assert run_verb("ablate", *command) == 2
    assert "model hyperpose has no option 'wings'" in capsys.readouterr().err
