"""`hyperpose evaluate` from end to end."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from evo.tools.file_interface import read_tum_trajectory_file
from robotcar_layout import write_run, write_sdk

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.cli import evaluate
from hyperpose_core.cli.main import build_parser
from hyperpose_core.datasets import World, open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.estimator import PoseEstimator


def run_evaluate(*arguments) -> int:
    parsed = build_parser("evaluate").parse_args(["evaluate", *(str(argument) for argument in arguments)])
    return evaluate.run(parsed)


def test_evaluate_scores_every_test_frame(tiny_checkpoint, seven_scenes_folder, tmp_path, capsys):
    output = tmp_path / "report"

    status = run_evaluate(
        tiny_checkpoint,
        "--data",
        seven_scenes_folder,
        "--output",
        output,
        "--device",
        "cpu",
        "--batch-size",
        5,
    )

    assert status == 0
    results = json.loads((output / "results.json").read_text())
    printed = capsys.readouterr().out
    assert results["overall"]["frames"] == 12
    assert results["overall"]["timing"]["median_ms"] > 0.0
    assert results["metadata"]["architecture"] == "hyperpose"
    assert "12 frames, no alignment" in printed
    assert str(output / "report.html") in printed
    assert read_tum_trajectory_file(str(output / "ground_truth.tum")).num_poses == 12
    page = (output / "report.html").read_text()
    assert "Worst frames" in page and "toyroom/seq-02/frame-0000" in page


def test_evaluate_gives_the_errors_of_the_estimator(tiny_checkpoint, seven_scenes_folder, tmp_path):
    run_evaluate(tiny_checkpoint, "--data", seven_scenes_folder, "--output", tmp_path, "--device", "cpu")

    estimator = PoseEstimator.load(tiny_checkpoint, "cpu")
    estimates = [
        estimator.estimate([image.read()])[0]
        for image in open_dataset(seven_scenes_folder, split="test").images
    ]
    written = read_tum_trajectory_file(str(tmp_path / "estimate.tum"))
    expected = np.array([estimate.pose.position for estimate in estimates])
    np.testing.assert_allclose(written.positions_xyz, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--compare"], r"'toyroom'.*redkitchen"),
        (["--batch-size", "0"], r"--batch-size is 0"),
        (["--device", "abacus"], r"device 'abacus'"),
        (["--split", "validation"], r"no split 'validation'"),
    ],
)
def test_evaluate_names_the_users_mistake(tiny_checkpoint, seven_scenes_folder, tmp_path, extra, message):
    with pytest.raises(HyperPoseError, match=message):
        run_evaluate(tiny_checkpoint, "--data", seven_scenes_folder, "--output", tmp_path, *extra)


@pytest.fixture
def town(tmp_path):
    """A folder in RobotCar's layout and the dataset that the adapter makes of it."""
    folder = tmp_path / "town"
    write_sdk(folder)
    write_run(folder, "2014-06-23-15-36-04")
    return folder, open_dataset(folder)


def in_world(checkpoint_file, world, path):
    save_checkpoint(path, dataclasses.replace(load_checkpoint(checkpoint_file), world=world))
    return path


def test_truth_is_taken_to_the_checkpoints_world(tiny_checkpoint, town, tmp_path):
    folder, data = town
    world = World(
        origin=data.world.origin + [100.0, -20.0, 5.0], utm_zone=data.world.utm_zone, up=(0.0, 0.0, 1.0)
    )
    checkpoint = in_world(tiny_checkpoint, world, tmp_path / "elsewhere.safetensors")

    run_evaluate(
        checkpoint, "--data", folder, "--split", "loop/test1", "--output", tmp_path / "report", "--compare"
    )

    truth = read_tum_trajectory_file(str(tmp_path / "report" / "ground_truth.tum"))
    np.testing.assert_allclose(truth.positions_xyz, data.positions() - [100.0, -20.0, 5.0], atol=1e-6)
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["published"][0]["scene"] == "LOOP1"


def test_a_world_in_another_utm_zone_is_refused(tiny_checkpoint, town, tmp_path):
    folder, _ = town
    checkpoint = in_world(tiny_checkpoint, World(utm_zone="56H"), tmp_path / "sydney.safetensors")
    with pytest.raises(HyperPoseError, match="UTM zone 30U.*56H"):
        run_evaluate(checkpoint, "--data", folder, "--split", "loop/test1", "--output", tmp_path / "report")


def test_evaluate_finds_out_early_that_it_cannot_write(tiny_checkpoint, seven_scenes_folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HyperPoseError, match=r"file: cannot make the report's folder"):
        run_evaluate(tiny_checkpoint, "--data", seven_scenes_folder, "--output", tmp_path / "file")
