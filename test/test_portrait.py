"""Images on their side or of odd proportions: they keep their shape, and what is lost of them is said."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image
from experiment_helpers import run_verb

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.training.building import preprocessing_of
from hyperpose_core.training.recipe import load_recipe

HEADER = "scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"
RECIPE = """extends: small_data
model_options: {backbone: efficientnet_lite0, feature_map_channels: 4, hidden_width: 32, generator_width: 8}
pretrained: false
batch_size: 4
epochs: 1
resize: RESIZE
"""


def write_labels(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Write images of some heights and widths beside their labels."""
    folder.mkdir(exist_ok=True)
    rows = [HEADER]
    for number, size in enumerate(sizes):
        cv2.imwrite(str(folder / f"{number}.png"), draw_image(number, *size))
        rows.append(f"place,train,walk,{number}.png,{0.1 * number},0,0,1,0,0,0")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv"


def train(folder: Path, labels: Path, resize: str = "48") -> int:
    (folder / "recipe.yaml").write_text(RECIPE.replace("RESIZE", resize))
    arguments = ["--data", labels, "--recipe", folder / "recipe.yaml", "--output", folder / "run"]
    return run_verb("train", *arguments, "--unchecked", "--no-map")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (168, 224)),
        ((1280, 720), (299, 168)),
        ((720, 1280), (168, 299)),
        ((683, 1024), (168, 252)),
    ],
)
def test_the_usual_recipes_keep_proportions_and_orientation(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    for name in ("small_data", "virtual_turns", "accurate", "calibrated", "demo"):
        preprocessing = preprocessing_of(load_recipe(name))
        assert preprocessing.input_size(*size) == expected
        assert "whole and in their proportions" in preprocessing.describe(*size)


def test_what_is_lost_of_images_is_said() -> None:
    assert "squashed, their proportions changed by a factor of 2.37" in Preprocessing(
        (168, 224), None
    ).describe(1280, 720)
    said = Preprocessing(256, 224).describe(480, 640)
    assert "inputs of 224x224, 43 % of each image cut away" in said and "squashed" not in said


def test_portrait_images_train_and_are_asked_about_upright(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path, [(160, 90)] * 8)
    assert train(tmp_path, labels) == 0
    assert "images of 90x160 pixels become inputs of 48x85, whole" in capsys.readouterr().out
    path = tmp_path / "run" / "best.safetensors"
    checkpoint = load_checkpoint(path)
    assert checkpoint.preprocessing.resize == (85, 48) and checkpoint.options["input_size"] == [85, 48]
    cv2.imwrite(str(tmp_path / "landscape.png"), draw_image(3, 90, 160))
    assert run_verb("predict", path, tmp_path / "0.png", tmp_path / "landscape.png") == 0
    told = capsys.readouterr().err
    assert "0.png" not in told
    assert "landscape.png: images of 160x90 pixels are squashed: the network was trained on 90x160" in told
    estimator = PoseEstimator.load(path, "cpu")
    assert estimator.squash_note(320, 180) == "" == estimator.squash_note(161, 90)


def test_images_upright_and_on_their_side_in_one_dataset_are_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path, [(90, 160), (160, 90)] * 4)
    assert train(tmp_path, labels) == 2
    assert "train on images of one shape, or give the recipe an exact" in capsys.readouterr().err
    assert train(tmp_path, labels, resize="[48, 64]") == 0
    assert "proportions changed by a factor of 1.33" in capsys.readouterr().out


def test_checkpoints_from_before_stay_as_they_were(tiny_checkpoint: Path) -> None:
    """They do not say on what they were trained: nothing is said of other sizes."""
    estimator = PoseEstimator.load(tiny_checkpoint, "cpu")
    assert estimator.squash_note(1280, 720) == ""
    before = Preprocessing((168, 224), None)
    assert before.resized(np.zeros((1280, 720, 3), dtype=np.uint8)).shape == (3, 168, 224)
