"""Data whose unit is not the metre says so wherever lengths are told."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from conftest import draw_image
from experiment_helpers import run_verb, write_recipe

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.cli.main import main

NOTE = "the unit of this world is not known"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    rows = ["scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"]
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), draw_image(number))
        split = "test" if number == 4 else "train"
        rows.append(f"place,{split},walk,{number}.png,{0.1 * number},0,0,1,0,0,0")
    (folder / "labels.csv").write_text("\n".join(rows))
    world = {"description": "place", "origin": [0, 0, 0], "utm_zone": None, "up": None, "is_metric": False}
    (folder / "labels.json").write_text(json.dumps({"camera": None, "world": world}))
    return folder / "labels.csv"


def test_checks_training_checkpoints_and_reports_say_it(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "check", str(labels)]) in (0, 1)
    assert NOTE in capsys.readouterr().out
    run = tmp_path / "run"
    recipe = write_recipe(tmp_path, epochs=1)
    data = ["--data", labels, "--split", "train"]
    assert run_verb("train", *data, "--output", run, "--recipe", recipe, "--no-map") == 0
    assert NOTE in capsys.readouterr().out
    assert any(NOTE in path.read_text() for path in run.glob("*.html"))
    checkpoint = run / "last.safetensors"
    assert not load_checkpoint(checkpoint).world.is_metric
    assert main(["info", str(checkpoint)]) == 0
    assert "NOT METRES" in capsys.readouterr().out
    assert main(["predict", str(checkpoint), str(labels.parent / "4.png")]) == 0
    assert NOTE in capsys.readouterr().err
    report = tmp_path / "evaluation"
    data = ["--data", labels, "--split", "test"]
    assert run_verb("evaluate", checkpoint, *data, "--output", report) == 0
    assert NOTE in capsys.readouterr().out
    assert any(NOTE in path.read_text() for path in report.glob("*.html"))


def test_a_companion_that_is_none_is_told(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    companion = labels.with_suffix(".json")
    kept = companion.read_text()
    companion.write_text('{"frames": []}')
    assert main(["dataset", "check", str(labels)]) == 2
    said = "labels.json: the description of camera and world is damaged: 'camera' is missing"
    assert said in capsys.readouterr().err
    companion.write_text(kept)
