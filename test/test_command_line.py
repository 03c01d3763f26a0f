"""The `hyperpose` command in a process of its own, as its user runs it."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image

from hyperpose_core.cli.main import main
from hyperpose_core.inference.estimator import PoseEstimator


def hyperpose(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hyperpose_core", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photographs") / "kitchen.png"
    cv2.imwrite(str(path), cv2.cvtColor(draw_image(5), cv2.COLOR_RGB2BGR))
    return path


def test_help_names_every_verb_and_says_how_to_train() -> None:
    done = hyperpose("--help")
    assert done.returncode == 0
    for verb in ("train", "evaluate", "predict", "info", "import", "simulate"):
        assert verb in done.stdout
    assert "--data" in hyperpose("train", "--help").stdout


def test_every_verb_that_help_names_has_a_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = re.findall(r"\w+", _error_of(["no-such-verb"], capsys).partition("choose from")[2])
    assert len(verbs) >= 12
    for verb in verbs:
        with pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert ended.value.code == 0
        assert f"usage: hyperpose {verb} " in capsys.readouterr().out


def _error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main(arguments)
    return capsys.readouterr().err


def test_predict_prints_and_writes_the_pose(tiny_checkpoint: Path, photograph: Path, tmp_path: Path) -> None:
    table = tmp_path / "poses.csv"
    done = hyperpose("predict", tiny_checkpoint, photograph, "--csv", table, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    pose = PoseEstimator.load(tiny_checkpoint, "cpu").estimate([draw_image(5)])[0].pose
    assert ", ".join(f"{value:.3f}" for value in pose.position) in done.stdout
    with table.open(newline="") as stream:
        row = next(csv.DictReader(stream))
    np.testing.assert_allclose([float(row[name]) for name in ("x", "y", "z")], pose.position, atol=1e-5)
    np.testing.assert_allclose(
        [float(row[name]) for name in ("qw", "qx", "qy", "qz")], pose.orientation, atol=1e-5
    )


def test_predict_goes_on_after_an_image_that_cannot_be_read(
    tiny_checkpoint: Path, photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, missing, table = tmp_path / "broken.png", tmp_path / "missing.png", tmp_path / "poses.csv"
    broken.write_bytes(photograph.read_bytes()[:100])
    images = list(map(str, (broken, photograph, missing)))
    assert main(["predict", str(tiny_checkpoint), *images, "--csv", str(table), "--device", "cpu"]) == 1
    told = capsys.readouterr().err
    assert "broken.png: a damaged PNG" in told and "missing.png: no such image" in told
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == images
    assert [row["x"] != "" for row in rows] == [False, True, False]
    table.unlink()
    none = ["predict", str(tiny_checkpoint), str(broken), str(missing), "--csv", str(table)]
    assert main([*none, "--device", "cpu"]) == 2
    assert "none of 2 images gave a pose" in capsys.readouterr().err
    assert not table.exists()


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["predict", "missing.safetensors", "PHOTOGRAPH"], "missing.safetensors: no such checkpoint"),
        (["predict", "CHECKPOINT", "missing.jpg"], "missing.jpg: no such image"),
        (["predict", "CHECKPOINT", "CHECKPOINT"], "tiny.safetensors: not an image"),
        (["predict", "CHECKPOINT", "PHOTOGRAPH", "--device", "tpu"], "device 'tpu' is unknown"),
        (["evaluate", "CHECKPOINT", "--data", "nowhere"], "nowhere: no such file or folder"),
        (["train", "--data", "SCENE", "--output", "OUT", "--recipe", "magic"], "recipe 'magic' is unknown"),
        (["train", "--data", "SCENE", "--output", "OUT", "--split", "holiday"], "no split 'holiday'"),
        (["train", "--data", "SCENE", "--output", "OUT", "--data-option", "colour"], "NAME=VALUE"),
        (["train", "--data", "SCENE", "--output", "OUT", "--epochs", "0"], "epochs.*greater than 0"),
        (["train", "--data", "SCENE"], "--output"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    culprit: str,
    tiny_checkpoint: Path,
    photograph: Path,
    seven_scenes_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "CHECKPOINT": tiny_checkpoint,
        "PHOTOGRAPH": photograph,
        "SCENE": seven_scenes_folder,
        "OUT": tmp_path / "run",
    }
    try:
        code = main([str(places.get(argument, argument)) for argument in arguments])
    except SystemExit as ended:  # argparse's own way out
        code = ended.code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert "error: " in last
    assert re.search(culprit, last), last


def test_the_process_ends_with_that_code_and_no_traceback(photograph: Path) -> None:
    done = hyperpose("predict", "missing.safetensors", photograph)
    assert done.returncode == 2
    assert done.stderr == "hyperpose: error: missing.safetensors: no such checkpoint file\n"
