"""`hyperpose train --set key=value`: keys of a recipe replaced on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from experiment_helpers import run_verb, write_recipe

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.recipe_settings import replace_keys


def test_keys_at_every_depth_are_replaced_and_the_others_stay() -> None:
    recipe = load_recipe("three_stages_demo")
    replaced = replace_keys(
        recipe,
        [
            "learning_rate=3e-4",
            "augmentation.brightness=0.3",
            "stages.1.epochs=5",
            "model_options.generator_width=32",
            "resize=[48, 64]",
            "crop=null",
        ],
    )
    assert replaced.learning_rate == 3e-4
    assert replaced.augmentation.brightness == 0.3
    assert replaced.augmentation.contrast == recipe.augmentation.contrast
    assert [stage.epochs for stage in replaced.stages][1] == 5
    assert replaced.stages[0] == recipe.stages[0]
    assert replaced.model_options["generator_width"] == 32
    assert (tuple(replaced.resize), replaced.crop) == ((48, 64), None)


def test_another_model_takes_the_options_that_it_has() -> None:
    recipe = replace_keys(
        load_recipe(
            "small_data", {"model_options": {"generator_width": 8, "backbone": "efficientnet_lite0"}}
        ),
        ["model=posenet"],
    )
    assert recipe.model == "posenet"
    assert recipe.model_options["backbone"] == "efficientnet_lite0"
    assert "generator_width" not in recipe.model_options


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (
            "augmentation.brightnes=0.3",
            "no key .*; did you mean augmentation.brightness",
        ),
        ("brightness=0.3", "did you mean augmentation.brightness"),
        ("model_options.hiden_width=8", "did you mean model_options.hidden_width"),
        ("stages.7.epochs=5", "no key 'stages.7.epochs'; did you mean stages.0.epochs"),
        ("xyzzy=1", "no key 'xyzzy'; one of: model, "),
        ("augmentation.brightness=bright", "augmentation.brightness: .*number.*'bright'"),
        ("epochs=0", "epochs: .*greater than 0"),
        ("epochs", "give key=value"),
        ("epochs={", "not YAML"),
    ],
)
def test_a_mistake_is_named_in_one_line_with_what_would_be_right(assignment: str, said: str) -> None:
    with pytest.raises(HyperPoseError, match=said) as raised:
        replace_keys(load_recipe("small_data"), [assignment])
    assert str(raised.value).startswith(f"--set {assignment}: ")
    assert "\n" not in str(raised.value)


def test_a_run_is_trained_with_what_was_set(
    tmp_path: Path, seven_scenes_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", seven_scenes_folder, "--recipe", write_recipe(tmp_path, epochs=3))
    run = tmp_path / "run"
    wrong = ("--output", run, "--set", "augmentation.hue=2")
    assert run_verb("train", *data, *wrong) == 2
    assert "--set augmentation.hue=2: augmentation.hue: " in capsys.readouterr().err
    right = ("--output", run, "--set", "epochs=1", "--set", "augmentation.hue=0.1")
    assert run_verb("train", *data, *right) == 0
    trained = yaml.safe_load((run / "recipe.yaml").read_text())["recipe"]
    assert (trained["epochs"], trained["augmentation"]["hue"]) == (1, 0.1)
    assert len((run / "history.csv").read_text().splitlines()) == 2
