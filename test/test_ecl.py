"""`hyperpose ecl generate`: variants in other light and season, and what evaluations make of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image
from dataset_layouts import shots, write_bag, write_csv
from experiment_helpers import contents, generate, run_verb, write_cambridge

from hyperpose_core.datasets import PosedImageSet, open_dataset
from hyperpose_core.ecl.conditions import load_conditions
from hyperpose_core.ecl.open_engine import open_engine
from hyperpose_core.evaluation.condition_drop import pair_frames

CONDITIONS = ("evening", "winter", "summer")


def of_condition(data: PosedImageSet, condition: str) -> list[np.ndarray]:
    return [image.read() for image in data.images if image.condition == condition]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label CSV of ten frames with stamps, two of them for testing."""
    return write_csv(tmp_path_factory.mktemp("town"), shots())


@pytest.fixture(scope="module")
def variants(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The label CSV of its classical variants."""
    pytest.importorskip("kornia", reason="kornia is missing: pip install 'hyperpose_ros[ecl]'")
    output = tmp_path_factory.mktemp("variants")
    assert generate(labels, output) == 0
    return output / "labels_conditions.csv"


def test_variants_keep_poses_stamps_and_sizes(labels: Path, variants: Path) -> None:
    source, made = open_dataset(labels, split="test"), open_dataset(variants, split="test")
    assert [image.condition for image in made.images] == [
        condition for condition in ("original", *CONDITIONS) for _ in source.images
    ]
    for copy, image in zip(made.images, source.images * 4, strict=True):
        assert (copy.stamp_ns, copy.scene, copy.sequence) == (image.stamp_ns, image.scene, image.sequence)
        np.testing.assert_array_equal(copy.pose.position, image.pose.position)
        np.testing.assert_allclose(copy.pose.orientation, image.pose.orientation, atol=1e-15)
        assert copy.read().shape == image.read().shape
    for copy, image in zip(of_condition(made, "original"), source.images, strict=True):
        np.testing.assert_array_equal(copy, image.read())


def test_classical_conditions_look_like_what_they_are_called() -> None:
    pytest.importorskip("kornia", reason="kornia is missing: pip install 'hyperpose_ros[ecl]'")
    engine = open_engine("classical", load_conditions(), None, "cpu")
    grey = np.full((96, 128, 3), 120, dtype=np.uint8)
    for seed in range(10):
        means = {name: engine.vary(grey, name, seed).mean((0, 1)) for name in CONDITIONS}
        assert means["evening"].max() < 90 < 120 < means["summer"].min()
        redness = {name: mean[0] / mean[2] for name, mean in means.items()}
        assert redness["winter"] < 0.95 < 1.05 < min(redness["summer"], redness["evening"])


def test_an_image_does_not_depend_on_the_order_of_making(
    labels: Path, variants: Path, tmp_path: Path
) -> None:
    lines = labels.read_text().splitlines()
    reversed_labels = labels.with_name("reversed.csv")
    reversed_labels.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    assert generate(reversed_labels, tmp_path, "--conditions", "summer", "evening") == 0
    again, before = contents(tmp_path), contents(variants.parent)
    assert set(again) == {name for name in before if not name.startswith("winter")}
    assert all(before[name] == data for name, data in again.items())
    assert generate(labels, tmp_path / "other", "--seed", 1, "--conditions", "summer") == 0
    other = contents(tmp_path / "other")
    name = next(name for name in other if name.startswith("summer"))
    assert other[name] != before[name]


def test_the_settings_say_how_each_image_was_made(variants: Path) -> None:
    settings = json.loads((variants.parent / "ecl_settings.json").read_text())
    assert settings["engine"] == "classical" and "not the paper's" in settings["images_are"]
    assert set(settings["conditions"]) == set(CONDITIONS)
    assert set(settings["versions"]) == {"kornia", "torch"}
    seeds = [seed for frames in settings["seeds"].values() for seed in frames.values()]
    assert len(set(seeds)) == len(seeds) == 2 * 3


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_images(tmp_path: Path) -> None:
    pytest.importorskip("kornia", reason="kornia is missing: pip install 'hyperpose_ros[ecl]'")
    cv2.imwrite(str(tmp_path / "a.png"), draw_image(1, 240, 320))
    rows = [f"hall,test,seq{place},a.png,{place},0,0,1,0,0,0" for place in range(40)]
    (tmp_path / "data.csv").write_text(
        "\n".join(["scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4", *rows]) + "\n"
    )
    command = [sys.executable, "-m", "hyperpose_core", "ecl", "generate", "--engine", "classical"]
    command += ["--data", str(tmp_path / "data.csv"), "--output", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(contents(tmp_path / "killed")) < 6 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("*.png")}
    assert 6 <= len(finished) < 160
    assert not (tmp_path / "killed" / "data_conditions.csv").exists()

    assert generate(tmp_path / "data.csv", tmp_path / "killed") == 0
    assert all(path.stat().st_mtime_ns == made for path, made in finished.items())
    assert generate(tmp_path / "data.csv", tmp_path / "whole") == 0
    resumed, whole = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert len(whole) == 160 and resumed == whole
    assert not list((tmp_path / "killed").rglob("*.partial"))
    for name in ("data_conditions.csv", "ecl_settings.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "1"], "made with other seed (0, now 1); use another output folder"),
        (["--conditions", "winter"], "made with other conditions"),
        (["--conditions", "rain"], "condition 'rain' has no prompt; there are: evening, winter, summer"),
        (["--prompts", "prompts.yaml"], "--prompts goes with --engine diffusers"),
        (["--weights", "somewhere"], "--weights goes with --engine diffusers"),
        (["--split", "train"], "made with other seeds"),
    ],
)
def test_a_folder_of_other_images_is_refused(labels, variants, arguments, message, capsys) -> None:
    before = contents(variants.parent)
    assert generate(labels, variants.parent, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("hyperpose: error:") == 1
    assert contents(variants.parent) == before


def test_images_that_something_else_made_are_not_taken_for_finished_ones(labels, tmp_path, capsys) -> None:
    pytest.importorskip("kornia", reason="kornia is missing: pip install 'hyperpose_ros[ecl]'")
    (tmp_path / "evening/toytown/seq1").mkdir(parents=True)
    (tmp_path / "evening/toytown/seq1/00008.png").write_bytes(b"theirs")
    assert generate(labels, tmp_path) == 2
    assert "00008.png: exists, but no ecl_settings.json" in capsys.readouterr().err
    assert (tmp_path / "evening/toytown/seq1/00008.png").read_bytes() == b"theirs"


def test_variants_are_not_varied_again(variants: Path, tmp_path: Path, capsys) -> None:
    assert generate(variants, tmp_path) == 2
    assert "shows evening already" in capsys.readouterr().err


def test_frames_of_a_bag_are_told_apart_by_their_stamps(tmp_path: Path) -> None:
    pytest.importorskip("kornia", reason="kornia is missing: pip install 'hyperpose_ros[ecl]'")
    bag = write_bag(tmp_path / "drive", shots())
    source = open_dataset(bag, split="test")
    assert generate(bag, tmp_path / "out", "--conditions", "evening") == 0
    made = open_dataset(next((tmp_path / "out").glob("*.csv")), split="test")
    assert len({image.path for image in made.images}) == 2 * len(source.images) == len(made.images)
    assert [image.stamp_ns for image in made.images] == [image.stamp_ns for image in source.images] * 2


def test_cambridge_variants_lie_as_the_published_ones(tmp_path: Path, capsys) -> None:
    pytest.importorskip("kornia", reason="kornia is missing: pip install 'hyperpose_ros[ecl]'")
    for scene in ("ShopFacade", "StMarysChurch"):
        write_cambridge(tmp_path / "Cambridge", scene)
    assert generate(tmp_path / "Cambridge", tmp_path / "ECL", "--conditions", "evening", "winter") == 0
    assert (tmp_path / "ECL/winter/ShopFacade/seq2/frame00003_winter.png").is_file()
    assert len(contents(tmp_path / "ECL")) == 2 * 2 * 10
    options = {"extended": str(tmp_path / "ECL"), "conditions": "all"}
    made = open_dataset(tmp_path / "Cambridge", split="test", **options)
    originals = open_dataset(tmp_path / "Cambridge", split="test")
    for condition in ("original", "evening", "winter"):
        own = [image for image in made.images if image.condition == condition]
        poses = {image.sequence + image.scene: image.pose.position.tolist() for image in own}
        assert poses == {i.sequence + i.scene: i.pose.position.tolist() for i in originals.images}
        assert all(image.read().shape == (96, 128, 3) for image in own)
    printed = capsys.readouterr().out
    assert f"--data-option extended={tmp_path / 'ECL'} --data-option conditions=all" in printed
    assert run_verb("reproduce", "ecl", "--data", tmp_path, "--plan") == 0
    assert "ShopFacade: recipe posenet_cambridge" in (plan := capsys.readouterr().out)
    assert "scored on 30" in plan


def test_evaluate_reports_a_row_a_condition_and_the_drop(tiny_checkpoint, variants, tmp_path, capsys) -> None:
    assert run_verb("evaluate", tiny_checkpoint, "--data", variants, "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    medians = {
        summary["label"]: (summary["position_m"]["median"], summary["orientation_deg"]["median"])
        for summary in results["conditions"]
    }
    assert list(medians) == ["original", *CONDITIONS]
    assert [drop["condition"] for drop in results["drops"]] == list(CONDITIONS)
    for drop in results["drops"]:
        for place, kind in enumerate(("position", "orientation")):
            comparison = drop["position_m" if place == 0 else "orientation_deg"]
            now, before = medians[drop["condition"]][place], medians["original"][place]
            assert drop["frames"] == 2
            assert comparison["first"]["estimate"] == pytest.approx(before)
            assert comparison["difference"]["estimate"] == pytest.approx(now - before)
            assert comparison["difference"]["low"] <= now - before <= comparison["difference"]["high"]
            assert drop[f"{kind}_ratio"] == pytest.approx(now / before)
    assert "against original" in printed
    assert "not the paper's" in results["metadata"]["conditions_made_by"]
    page = (tmp_path / "report.html").read_text()
    assert "Against the original images" in page and "One frame in every condition" in page
    assert "not the paper&#39;s" in page
    assert cv2.imread(str(tmp_path / "drop_by_condition.png")).shape[1] > 500


def test_conditions_of_other_drives_are_not_paired() -> None:
    """Frames are the same where their true poses are; a camera that stands still is paired in its order."""
    positions = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [9, 0, 0], [1, 0, 1e-9]])
    conditions = ["", "", "", "dusk", "dusk", "rain", "dusk"]
    pairs = pair_frames(conditions, ["hall"] * 7, positions, np.tile([1.0, 0, 0, 0], (7, 1)))
    (pair,) = pairs
    assert (pair.condition, pair.original.tolist(), pair.variant.tolist()) == ("dusk", [0, 1], [3, 4])
    elsewhere = ["hall"] * 3 + ["yard"] * 4
    assert pair_frames(conditions, elsewhere, positions, np.tile([1.0, 0, 0, 0], (7, 1))) == []
