"""Poses from images: a video of a painted room whose true poses are known, through the command."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycolmap", reason="pycolmap is missing: pip install 'hyperpose_ros[map]'")
pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg, which encodes the test's video, is missing")

from reconstruction_scene import CAMERA, TAG_SIDE_M, make_room, walk, write_images, write_video  # noqa: E402

from hyperpose_core.cli.main import main  # noqa: E402
from hyperpose_core.datasets import open_dataset  # noqa: E402
from hyperpose_core.datasets.records import PosedImageSet  # noqa: E402
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg, position_errors  # noqa: E402
from hyperpose_core.geometry.similarity import Similarity, fit_similarity  # noqa: E402

COUNT = 24
RATE = 10
TRUTH = walk(COUNT, 0.0, 0.5)


def reconstruct(*arguments: object) -> int:
    return main(["reconstruct", *map(str, arguments)])


def features_in(database: Path) -> int:
    """How many images have descriptors, without disturbing who writes them."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM descriptors").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = make_room()
    path = tmp_path_factory.mktemp("film") / "walk.mp4"
    write_video(path, [room.render(pose) for pose in TRUTH], RATE)
    return path


@pytest.fixture(scope="module")
def interrupted(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reconstruction that was killed while it looked for features."""
    place = tmp_path_factory.mktemp("places") / "room"
    command = [sys.executable, "-m", "hyperpose_core", "reconstruct", str(video), "--output", str(place)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        give_up = time.monotonic() + 300
        while features_in(place / "work" / "database.db") < 8:
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < give_up
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    return place


@pytest.fixture(scope="module")
def place(interrupted: Path, video: Path) -> Path:
    """The same reconstruction, gone on with and finished, its scale from the tags on the walls."""
    kept = features_in(interrupted / "work" / "database.db")
    assert 8 <= kept < COUNT
    before = sorted((interrupted / "images" / "walk").iterdir())
    written = [path.stat().st_mtime_ns for path in before]
    assert reconstruct(video, "--output", interrupted, "--tag-size", TAG_SIDE_M) == 0
    after = sorted((interrupted / "images" / "walk").iterdir())
    # Frames that were chosen before are not chosen anew.
    assert after == before
    assert [path.stat().st_mtime_ns for path in after] == written
    return interrupted


def frame_numbers(data: PosedImageSet) -> list[int]:
    return [int(image.path.stem) for image in data.images]


def fitted(data: PosedImageSet, truth: list[Pose]) -> tuple[Similarity, float, float]:
    """Where the data lies in the true world, and its largest errors there, metres and degrees."""
    positions = np.array([pose.position for pose in truth])
    fit = fit_similarity(data.positions(), positions)
    errors = position_errors(fit.transform(data.positions()), positions)
    turned = [fit.transform_pose(image.pose).orientation for image in data.images]
    return (
        fit,
        errors.max(),
        orientation_errors_deg(turned, [pose.orientation for pose in truth]).max(),
    )


def test_a_video_gets_poses_in_metres_upright_and_a_camera(place: Path) -> None:
    data = open_dataset(place / "labels.csv")
    assert len(data.images) >= 0.95 * COUNT
    fit, position_error, orientation_error = fitted(data, [TRUTH[n] for n in frame_numbers(data)])
    assert position_error < 0.03 and orientation_error < 0.5
    assert abs(fit.scale - 1.0) < 0.01
    assert (fit.pose.rotation() @ data.world.up)[2] > np.cos(np.radians(1.0))
    assert data.world.is_metric and "tags of 0.4 m" in data.world.description
    assert data.camera is not None
    assert (data.camera.width, data.camera.height) == (CAMERA.width, CAMERA.height)
    assert abs(data.camera.fx / CAMERA.fx - 1.0) < 0.01
    assert [image.stamp_ns for image in data.images] == [
        number * 1_000_000_000 // RATE for number in frame_numbers(data)
    ]
    assert {image.sequence for image in data.images} == {"walk"}
    assert all(image.read().shape == (CAMERA.height, CAMERA.width, 3) for image in data.images[:2])


def test_labels_are_split_and_the_folder_opens_like_the_file(place: Path) -> None:
    everything = open_dataset(place)
    train, test = open_dataset(place, split="train"), open_dataset(place, split="test")
    assert len(train.images) + len(test.images) == len(everything.images)
    assert len(train.images) > len(test.images) > 0


def test_colmaps_model_lies_in_the_same_world(place: Path) -> None:
    labels = open_dataset(place / "labels.csv")
    model = open_dataset(place, format="colmap")
    assert [image.path.name for image in model.images] == [image.path.name for image in labels.images]
    assert position_errors(model.positions(), labels.positions()).max() < 1e-5
    assert model.camera is not None and labels.camera is not None
    assert abs(model.camera.cx - labels.camera.cx) < 1e-6


def test_the_report_says_what_a_person_needs(place: Path) -> None:
    report = (place / "report" / "results.md").read_text()
    for name in ("registered", "reprojection", "camera", "scale", "loops closed"):
        assert name in report
    results = json.loads((place / "report" / "results.json").read_text())
    assert results["registered_share"] >= 0.95 and results["reprojection_error_px"] < 0.5
    assert results["is_metric"] is True and results["scale_deviation"] < 0.02
    assert (place / "report" / "plan.png").stat().st_size > 10_000


def test_without_anything_known_the_unit_is_said_not_to_be_the_metre(
    place: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconstruct(video, "--output", place) == 0
    assert "THE UNIT IS NOT THE METRE" in capsys.readouterr().out
    world = open_dataset(place).world
    assert not world.is_metric and "NOT THE METRE" in world.description
    assert "units, not metres" not in world.description
    assert json.loads((place / "report" / "results.json").read_text())["scale_from"] is None


def test_a_track_places_the_cameras_in_its_frame(
    place: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offset = 100.0
    body_in_camera = Pose([0.0, 0.3, -0.5], [1.0, 0.0, 0.0, 0.0])
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for number, pose in enumerate(TRUTH):
        body = pose @ body_in_camera
        w, x, y, z = body.orientation
        numbers = [offset + number / RATE, *body.position, x, y, z, w]
        lines.append(" ".join(f"{value:.9f}" for value in numbers))
    track = tmp_path / "odometry.txt"
    track.write_text("\n".join(lines))
    assert reconstruct(video, "--output", place, "--track", track) == 1
    assert "give --track-offset SECONDS (such as 100.00)" in capsys.readouterr().out
    assert reconstruct(video, "--output", place, "--track", track, "--track-offset", offset) == 0
    data = open_dataset(place)
    truth = [TRUTH[number] for number in frame_numbers(data)]
    # A camera that never rolls leaves open how high above the body it is.
    gaps = data.positions() - [pose.position for pose in truth]
    assert np.abs(gaps[:, :2]).max() < 0.03
    assert np.ptp(gaps[:, 2]) < 0.03
    orientations = [pose.orientation for pose in truth]
    # Over a way of two metres, errors of millimetres turn it all by a degree.
    assert orientation_errors_deg(data.orientations(), orientations).max() < 2.0
    assert data.world.up == (0.0, 0.0, 1.0) and data.world.is_metric


def test_a_track_of_another_way_is_refused_and_the_poses_are_kept(
    place: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    lines = [
        " ".join(f"{value:.6f}" for value in [number / RATE, *generator.normal(0, 5, 3), 0, 0, 0, 1])
        for number in range(COUNT)
    ]
    track = tmp_path / "elsewhere.txt"
    track.write_text("\n".join(lines))
    assert reconstruct(video, "--output", place, "--track", track) == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem")]
    assert len(problems) == 1 and "elsewhere.txt: does not fit" in problems[0]
    data = open_dataset(place)
    assert len(data.images) >= 0.95 * COUNT and not data.world.is_metric


def test_one_measured_distance_gives_the_scale(place: Path, video: Path) -> None:
    metres = float(np.linalg.norm(TRUTH[0].position - TRUTH[20].position))
    assert reconstruct(video, "--output", place, "--distance", "0", "2.0s", metres) == 0
    data = open_dataset(place)
    fit, *_ = fitted(data, [TRUTH[number] for number in frame_numbers(data)])
    assert abs(fit.scale - 1.0) < 0.01


def test_the_cameras_height_gives_the_scale(place: Path, video: Path) -> None:
    height = float(np.median([pose.position[2] for pose in TRUTH]))
    assert reconstruct(video, "--output", place, "--camera-height", height) == 0
    data = open_dataset(place)
    fit, *_ = fitted(data, [TRUTH[number] for number in frame_numbers(data)])
    assert abs(fit.scale - 1.0) < 0.05
    assert abs(np.median(data.positions()[:, 2]) - height) < 0.05


def test_no_tag_in_view_is_one_line_and_the_poses_are_kept(
    place: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconstruct(video, "--output", place, "--tag-size", 0.2, "--tag-dictionary", "7x7") == 1
    assert "no tag found" in capsys.readouterr().out
    assert len(open_dataset(place).images) >= 0.95 * COUNT


@pytest.fixture(scope="module")
def two_rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one room, cut, and another room; photographs of another size of the first."""
    folder = tmp_path_factory.mktemp("two")
    rooms = make_room(1, with_tags=False), make_room(2, with_tags=False)
    first = [rooms[0].render(pose) for pose in walk(14, 0.0, 0.3)]
    second = [rooms[1].render(pose) for pose in walk(10, 0.0, 0.22)]
    write_video(folder / "cut.mp4", [*first, *second])
    smaller = [image[:, 40:-40] for image in (rooms[0].render(pose) for pose in walk(6, 0.02, 0.15))]
    write_images(folder / "my photos", smaller)
    return folder


@pytest.mark.slow
def test_a_cut_between_two_places_keeps_both_apart_and_photographs_join_theirs(
    two_rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    assert reconstruct(two_rooms / "cut.mp4", two_rooms / "my photos", "--output", place) == 1
    output = capsys.readouterr().out
    assert "2 parts share no view (a cut, or several places)" in output
    assert "nothing joins cut/000014.jpg to the frames before it" in output
    data = open_dataset(place)
    frames = [int(image.path.stem) for image in data.images if image.sequence == "cut"]
    assert len(frames) >= 12 and max(frames) < 14
    # Photographs of another size are another camera's, in the same world.
    assert sum(image.sequence == "my photos" for image in data.images) >= 5
    assert data.camera is None
    assert "400x300" in output and "320x300" in output
    assert len(list((place / "sparse").iterdir())) == 2
    with (place / "labels.csv").open() as stream:
        assert all(" " not in row["img_path"] for row in csv.DictReader(stream))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("text", "cannot be decoded as a video"),
        ("still", "is of one view only"),
        ("dark", "too dark or without any texture in 12 of 12 frames"),
        ("missing", "no such video, folder or bag"),
        ("empty folder", "no images in it"),
    ],
)
def test_what_gives_no_poses_is_told_in_one_line(
    kind: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "film.mp4"
    generator = np.random.default_rng(0)
    view = make_room().render(TRUTH[0])
    if kind == "text":
        source.write_text("this is no film")
    elif kind == "still":
        write_video(source, [view] * 12)
    elif kind == "dark":
        write_video(source, [generator.integers(0, 4, view.shape).astype(np.uint8) for _ in range(12)])
    elif kind == "empty folder":
        source = tmp_path / "photos"
        source.mkdir()
    assert reconstruct(source, "--output", tmp_path / "place") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert said in line and str(source) in line


def test_a_folder_with_something_else_in_it_is_left_alone(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert reconstruct(video, "--output", tmp_path) == 2
    assert "is no reconstruction" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
