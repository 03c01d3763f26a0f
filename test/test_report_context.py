"""What stands beside a network's errors in its report: retrieval, where it was trained, which epoch it is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image
from experiment_helpers import run_verb, write_recipe

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.evaluation.plot_style import TRAINING

HEADER = "scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk of 60 frames to train on, and the same places again, 0.2 m aside, for testing."""
    folder = tmp_path_factory.mktemp("walk")
    rows = [HEADER]
    for number in range(60):
        cv2.imwrite(str(folder / f"{number}.png"), draw_image(number, 48, 64))
        rows.append(f"walk,train,go,{number}.png,{0.1 * number:.2f},0,0,1,0,0,0")
    for number in range(0, 60, 6):
        rows.append(f"walk,test,back,{number}.png,{0.1 * number:.2f},0,0.2,1,0,0,0")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv"


def test_a_report_has_retrieval_training_positions_and_the_epoch(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path, validation={"fraction": 0.2, "block": 5}, batch_norm_momentum=0.9)
    run = tmp_path / "run"
    train = ["--data", labels, "--recipe", recipe, "--output", run, "--unchecked", "--no-map"]
    assert run_verb("train", *train) == 0
    assert "which measure a covariance for each image" in capsys.readouterr().out
    report = tmp_path / "report"
    assert run_verb("evaluate", run / "best.safetensors", "--data", labels, "--output", report) == 0
    assert "training image that looks most alike" in capsys.readouterr().out
    page = (report / "report.html").read_text()
    assert "Network and retrieval" in page and "The network is of epoch 1: the last one" in page
    results = json.loads((report / "results.json").read_text())
    # The very same images are among those remembered, but for the ones held out: 0.2 m aside.
    assert results["retrieval"]["position_m"]["median"] == pytest.approx(0.2, abs=0.05)
    assert results["retrieval"]["orientation_deg"]["median"] == pytest.approx(0.0, abs=1e-6)
    colour = np.array([int(TRAINING[place : place + 2], 16) for place in (5, 3, 1)])
    pixels = cv2.imread(str(report / "trajectory.png")).reshape(-1, 3)
    assert (np.abs(pixels.astype(int) - colour).max(axis=1) <= 2).sum() > 30


def test_where_no_training_image_is_remembered_that_is_said(
    tiny_checkpoint: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_checkpoint(tiny_checkpoint).uncertainty.per_image is None
    assert run_verb("evaluate", tiny_checkpoint, "--data", labels, "--output", tmp_path) == 0
    assert "retrieval beside the network: not measured" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "Network and retrieval" not in page and "hyperpose baseline" in page
