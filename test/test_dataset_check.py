"""`hyperpose dataset check`: what it says, what it finds, and that nothing brings it down."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image
from dataset_layouts import (
    LAYOUTS,
    PERIOD_NS,
    START_NS,
    BagContent,
    changed,
    shots,
    write_bag,
    write_cambridge,
    write_csv,
    write_transforms,
)

from hyperpose_core.cli.main import main
from hyperpose_core.dataset_check.check import check_dataset
from hyperpose_core.dataset_check.coverage import measure_coverage
from hyperpose_core.datasets import PosedImage, PosedImageSet
from hyperpose_core.geometry.poses import Pose, rotation_vector_to_quaternion


def check(path: Path, *options: str) -> int:
    return main(["dataset", "check", str(path), *options])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sound_dataset_has_no_problems(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "toytown"
    if layout != "rosbag":
        place.mkdir()
    path = LAYOUTS[layout][0](place, shots())
    assert check(path) == 0
    text = capsys.readouterr().out
    assert f"(format {LAYOUTS[layout][1]})" in text
    assert "no problems found" in text
    assert "128x96" in text
    report = check_dataset(path)
    assert {part.split: part.frames for part in report.parts} == {"train": 8, "test": 2}
    assert all(part.sizes == {"128x96": part.frames} for part in report.parts)
    assert report.coverage[0].distance_m.shape == (2,)


def test_extents_steps_and_distances_are_right(tmp_path: Path) -> None:
    """Ten cameras half a metre and 0.1 rad apart, the last two for testing."""
    report = check_dataset(write_csv(tmp_path, shots()))
    training = report.parts[0]
    assert training.motion.extent_m == pytest.approx((3.5, 0.0, 0.0))
    assert training.motion.travelled_m == pytest.approx(3.5)
    assert training.motion.median_step_m == pytest.approx(0.5)
    assert training.motion.median_turn_deg == pytest.approx(np.degrees(0.1))
    assert training.stamps.duration_s == pytest.approx(0.7)
    assert training.stamps.median_period_s == pytest.approx(0.1)
    (coverage,) = report.coverage
    np.testing.assert_allclose(coverage.distance_m, [0.5, 1.0])
    np.testing.assert_allclose(coverage.angle_deg, np.degrees([0.1, 0.2]))
    assert [image.path.name for image in coverage.nearest] == ["00007.png", "00007.png"]


def test_jumps_and_gaps_in_time_are_counted(tmp_path: Path) -> None:
    frames = changed(shots(30), 15, position=np.array([60.0, 2.0, 3.0]))
    frames = [frame for frame in frames if frame.index not in (20, 21, 22, 23, 24, 25)]
    report = check_dataset(write_csv(tmp_path, [f for f in frames if f.index < 8 or f.index > 9]))
    test = report.parts[1]
    assert test.motion.jumps == 2
    assert test.motion.largest_step_to == "seq1/00015.png"
    assert test.stamps.gaps == 1
    assert test.stamps.longest_gap_s == pytest.approx(0.7)


def test_the_nearest_training_frame_looks_the_same_way(tmp_path: Path) -> None:
    """Where the camera turns on the spot, the frame nearest in position alone shows something else."""

    def data(*views: tuple[float, float]) -> PosedImageSet:
        poses = [
            Pose(np.array([x, 0.0, 0.0]), rotation_vector_to_quaternion([0.0, np.radians(yaw), 0.0]))
            for x, yaw in views
        ]
        return PosedImageSet("d", tuple(PosedImage(tmp_path / f"{p}", p, scene="s") for p in poses))

    near = {"train": data((0.05, 86.0), (0.3, 22.0), (4.0, 0.0)), "test": data((0.0, 0.0))}
    (room,) = measure_coverage(near)
    np.testing.assert_allclose([room.distance_m[0], room.angle_deg[0]], [0.3, 22.0], atol=1e-6)
    far = {"train": data((2.0, 170.0), (6.0, 3.0), (-300.0, 0.0)), "test": data((0.0, 0.0), (300.0, 0.0))}
    (street,) = measure_coverage(far)
    np.testing.assert_allclose([street.distance_m[0], street.angle_deg[0]], [6.0, 3.0], atol=1e-6)


def test_a_report_is_written(tmp_path: Path) -> None:
    output = tmp_path / "found" / "here"
    assert check(write_csv(tmp_path, shots()), "--output", str(output)) == 0
    content = json.loads((output / "check.json").read_text())
    assert content["nearest_training_frame"][0]["distance_median_m"] == pytest.approx(0.75)
    assert content["parts"][0]["frames"] == 8
    rows = list(csv.DictReader((output / "nearest_training_frames.csv").open()))
    assert [float(row["distance_m"]) for row in rows] == [0.5, 1.0]
    plot = cv2.imread(str(output / "coverage.png"))
    assert plot is not None
    assert plot.std() > 5


def test_unreadable_images_are_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_cambridge(tmp_path, shots())
    images = sorted((tmp_path / "seq1").glob("*.png"))
    images[0].unlink()
    jpeg = cv2.imencode(".jpg", draw_image(1, 480, 640))[1].tobytes()
    images[1].write_bytes(jpeg[: len(jpeg) // 2])
    images[2].unlink()
    images[2].mkdir()
    images[3].write_bytes(b"")
    assert check(path) == 1
    text = capsys.readouterr().out
    assert "4 images cannot be read" in text
    for image in images[:4]:
        assert image.name in text
    assert images[4].name not in text
    assert check(path, "--no-images") == 1
    assert "2 images cannot be read" in capsys.readouterr().out


def test_stamps_that_come_twice_or_not_in_order_are_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = changed(shots(), 3, stamp_ns=START_NS + 2 * PERIOD_NS)
    frames = changed(frames, 6, stamp_ns=START_NS)
    path = write_csv(tmp_path, frames)
    assert check(path) == 1
    text = capsys.readouterr().out
    assert "train, toytown: 2 duplicated time stamps" in text
    assert "train, toytown: 1 time stamps out of order" in text
    path.write_text(path.read_text().replace(f",{START_NS + PERIOD_NS}\n", ",\n"))
    assert check(path) == 1
    assert "1 frames without a time stamp, 7 with one" in capsys.readouterr().out


def test_faults_that_an_adapter_put_right_are_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = changed(shots(), 3, position=np.array([3e9, 2.0, 3.0]))
    frames = changed(frames, 8, norm=2.0)
    assert check(write_cambridge(tmp_path / "GreatCourt", frames)) == 1
    text = capsys.readouterr().out
    assert "bad rows: 1 x position more than 100 km" in text
    assert "GreatCourt/seq1/frame00003.png" in text
    assert "bad rows: 1 x quaternion not of unit norm, normalised (GreatCourt/seq2/frame00008.png)" in text


def test_images_outside_of_the_ground_truth_are_no_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamps = [START_NS + index * PERIOD_NS for index in range(2, 10)]
    assert check(write_bag(tmp_path / "run", shots(), BagContent(truth_stamps_ns=stamps))) == 0
    assert "left out: 2 x outside the time of the ground truth" in capsys.readouterr().out


def test_frames_in_both_splits_and_scenes_without_training_are_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_csv(tmp_path, shots())
    lines = path.read_text().splitlines()
    lines.append(lines[1].replace("train", "test"))
    lines.append(lines[-2].replace("toytown,", "moon,"))
    lines.append(lines[2])
    path.write_text("\n".join(lines) + "\n")
    assert check(path) == 1
    text = capsys.readouterr().out
    assert "1 images are both in train and in test" in text
    assert "scene moon has test frames but no training frames" in text
    assert "train: 1 images come more than once" in text


def test_a_split_that_cannot_be_opened_is_a_problem_and_a_missing_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_csv(tmp_path, shots(8))
    assert check(path) == 0
    assert "no split test" in capsys.readouterr().out
    path = write_csv(tmp_path, changed(shots(), 8, position=np.array([np.nan, 0, 0])))
    assert check(path) == 1
    assert "split test cannot be opened: " in capsys.readouterr().out


def test_test_frames_may_be_elsewhere(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real split: its README says 0.08 m and 4 degrees, medians."""
    folder = shared_data / "7scenes"
    test = folder / "redkitchen_test.csv"
    output = tmp_path / "check"
    assert (
        check(
            folder / "redkitchen_train.csv", "--test-data", str(test), "--no-images", "--output", str(output)
        )
        == 0
    )
    (scene,) = json.loads((output / "check.json").read_text())["nearest_training_frame"]
    assert scene["test_frames"] == 130
    assert scene["distance_median_m"] == pytest.approx(0.08, abs=0.005)
    assert scene["angle_median_deg"] == pytest.approx(3.8, abs=0.2)


def test_extended_cambridge_is_checked_with_its_conditions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_cambridge(tmp_path / "ShopFacade", shots())
    for frame in shots(1, 8):
        frame.save(scene / "winter" / f"seq2/frame{frame.index:05d}.png")
    assert check(scene) == 1
    text = capsys.readouterr().out
    assert "1 images cannot be read" in text
    assert "frame00009_winter.png" in text
    assert {part.condition for part in check_dataset(scene).parts} == {"original", "winter"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such file or folder"),
        (["empty"], "layout not recognised"),
        (["empty", "--format", "colmap"], "no COLMAP model"),
        (["toytown", "--data-option", "colour=red"], "no option 'colour'"),
        (["toytown", "--data-option", "colour"], "not of the form NAME=VALUE"),
        (["toytown", "--data-option", "block=many"], "option block is 'many'"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "toytown").mkdir()
    write_transforms(tmp_path / "toytown", shots(3))
    assert check(tmp_path / arguments[0], *arguments[1:]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.strip().count("\n") == 0
    assert captured.out == ""
