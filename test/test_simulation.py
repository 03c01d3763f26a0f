"""The simulated RobotCar: its files, its geometry, and that the pictures show what the poses say."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_towns import simulate_small

from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose, orientation_errors_deg
from hyperpose_core.images import debayer
from hyperpose_core.simulation.camera import simulated_camera
from hyperpose_core.simulation.conditions import CONDITIONS
from hyperpose_core.simulation.layout import build_town
from hyperpose_core.simulation.mesh import MeshBuilder
from hyperpose_core.simulation.options import SimulationOptions, SimulationSummary
from hyperpose_core.simulation.renderer import Renderer
from hyperpose_core.simulation.run import Run
from hyperpose_core.simulation.scenery import Scenery, build_scenery
from hyperpose_core.simulation.sensors import Place
from hyperpose_core.simulation.simulate import simulate
from hyperpose_core.simulation.utm import grid_convergence, utm_to_geodetic

pytest.importorskip("panda3d", reason="the simulation needs panda3d: pip install hyperpose_ros[simulation]")

TINY = SimulationOptions(
    scenes=2,
    train=("noon",),
    test=("dusk",),
    frames=4,
    width=64,
    height=48,
    length_m=40.0,
    width_m=36.0,
    texture_scale=0.1,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate_small(tmp_path_factory.mktemp("simulated") / "town")


def options_of(summary: SimulationSummary) -> SimulationOptions:
    stored = json.loads((summary.output / "simulation.json").read_text())["options"]
    return SimulationOptions(**{**stored, "train": tuple(stored["train"]), "test": tuple(stored["test"])})


def test_a_robotcar_user_finds_what_he_knows(small: SimulationSummary) -> None:
    for run in small.runs:
        folder = small.output / run.date
        stamps = [line.split()[0] for line in (folder / "stereo.timestamps").read_text().splitlines()]
        images = sorted(path.stem for path in (folder / "stereo" / "centre").glob("*.png"))
        assert stamps == images and len(stamps) == run.frames
        mosaic = cv2.imread(str(folder / "stereo" / "centre" / f"{stamps[0]}.png"), cv2.IMREAD_UNCHANGED)
        assert mosaic.shape == (120, 160) and mosaic.dtype == np.uint8
        ins = (folder / "gps" / "ins.csv").read_text().splitlines()
        assert ins[0].startswith("timestamp,ins_status,latitude,longitude,altitude,northing,easting,down")
        assert all(",INS_SOLUTION_GOOD," in line for line in ins[1:])
        assert int(ins[1].split(",")[0]) < int(stamps[0]) < int(stamps[-1]) < int(ins[-1].split(",")[0])
    trained = (small.output / "train_split.txt").read_text().split()
    tested = (small.output / "test_split.txt").read_text().split()
    conditions = json.loads((small.output / "conditions.json").read_text())
    assert [conditions[date] for date in trained + tested] == ["noon", "overcast", "autumn"]


def test_the_adapter_gets_the_true_poses_back(small: SimulationSummary) -> None:
    opened = open_dataset(small.output, split="test")
    run = Run(options_of(small), 0, "test", 0)
    drive = run.drive()
    true = [drive.camera_at(float(time)) for time in drive.image_times]
    local = np.array([run.place.easting, run.place.northing, 110.0]) - opened.world.origin
    offsets = opened.positions() - np.array([pose.position for pose in true]) - local
    assert np.linalg.norm(offsets, axis=1).max() < 0.15
    turns = orientation_errors_deg(opened.orientations(), np.array([pose.orientation for pose in true]))
    assert turns.max() < 0.5
    assert not opened.dropped and {image.condition for image in opened.images} == {"autumn"}


def test_the_loop_is_closed_and_the_test_run_keeps_its_distance() -> None:
    options = SimulationOptions(frames=120)
    drives = [Run(options, 0, "train", number).drive() for number in range(len(options.train))]
    test = Run(options, 0, "test", 0).drive()
    town = build_town(0, options.length_m, options.width_m)
    assert town.loop.perimeter >= 60 and town.loop.extent == 80.0
    lap = (test.times >= 0) & (test.times <= town.loop.perimeter / options.speed_m_s)
    yaw = test.angles[lap, 2]
    assert abs(yaw[-1] - yaw[0]) == pytest.approx(2 * np.pi, abs=0.15)
    ends = test.positions[lap][[0, -1], :2]
    assert np.linalg.norm(ends[1] - ends[0]) < 1.0
    for drive in drives:
        gaps = np.linalg.norm(test.positions[lap][::10, None, :2] - drive.positions[None, ::4, :2], axis=-1)
        assert np.median(gaps.min(axis=1)) >= 0.5


def test_a_pixel_shows_the_point_that_the_pose_projects_there() -> None:
    camera = simulated_camera(320, 240)
    drive = Run(SimulationOptions(), 0, "test", 0).drive()
    pose = drive.camera_at(3.0)
    places = np.array([[-2.2, -1.1, 9.0], [3.1, 0.8, 7.0], [0.4, -2.5, 12.0], [-4.0, 1.0, 10.0]])
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]])
    builder = MeshBuilder()
    for place, color in zip(places, colors, strict=True):
        right, up = pose.rotation()[:, 0] * 0.4, -pose.rotation()[:, 1] * 0.4
        builder.add_panel("plain", pose.transform(place) - right / 2 - up / 2, right, up, albedo=color / 255)
    white = np.full((8, 8, 3), 255, dtype=np.uint8)
    surfaces = tuple(builder.surfaces)
    scenery = Scenery(surfaces, tuple(each.albedo for each in surfaces), {"plain": white}, white)
    renderer = Renderer(scenery, camera)
    picture = renderer.render(pose)
    renderer.close()
    for place, color in zip(places, colors, strict=True):
        rows, columns = np.nonzero((np.abs(picture - color.astype(float)) < 12).all(axis=-1))
        u = camera.fx * place[0] / place[2] + camera.cx
        v = camera.fx * place[1] / place[2] + camera.cy
        assert (columns.mean(), rows.mean()) == pytest.approx((u, v), abs=0.5)


def test_the_files_poses_reproduce_the_files_pictures(small: SimulationSummary) -> None:
    """Rendered again from the poses that the adapter reads, pictures fit; from half a metre off not."""
    opened = open_dataset(small.output, split="test")
    options = options_of(small)
    run, condition = Run(options, 0, "test", 0), CONDITIONS["autumn"]
    scenery = build_scenery(run.town(), condition, 1, options.texture_scale)
    assert opened.camera is not None
    camera = simulated_camera(opened.camera.width, opened.camera.height)
    assert opened.camera.fx == pytest.approx(camera.fx, abs=1e-5)
    assert (opened.camera.cx, opened.camera.cy) == pytest.approx((camera.cx, camera.cy), abs=1e-5)
    renderer = Renderer(scenery, camera)
    origin = opened.world.origin - np.array([run.place.easting, run.place.northing, 110.0])

    def difference(index: int, forwards: float, turn: float) -> float:
        image = opened.images[index]
        moved = Pose([0.0, 0.0, forwards], [np.cos(turn / 2), 0.0, np.sin(turn / 2), 0.0])
        pose = Pose(image.pose.position + origin, image.pose.orientation) @ moved
        again, taken = renderer.render(pose).astype(float), image.read().astype(float)
        again *= taken.mean() / again.mean()
        return float(np.abs(again - taken).mean())

    for index in (2, 6, 11, 14):
        there = difference(index, 0.0, 0.0)
        for forwards, turn in ((0.6, 0.0), (-0.6, 0.0), (0.0, 0.04), (0.0, -0.04)):
            assert difference(index, forwards, turn) > 1.1 * there
    renderer.close()


def test_pictures_of_one_place_differ_by_condition_and_places_differ_from_each_other(
    small: SimulationSummary,
) -> None:
    trained = open_dataset(small.output, split="train").images
    noon, overcast = trained[: len(trained) // 2], trained[len(trained) // 2 :]
    thumbnails = [
        cv2.resize(image.read(), (40, 30), interpolation=cv2.INTER_AREA).astype(float) for image in noon
    ]
    apart = [np.abs(a - b).mean() for k, a in enumerate(thumbnails) for b in thumbnails[:k]]
    assert min(apart) > 8.0
    assert abs(noon[3].read().mean() - overcast[3].read().mean()) > 2.0


def test_visual_odometry_drives_along_the_optical_axis(small: SimulationSummary) -> None:
    by_ins = open_dataset(small.output, split="test")
    by_odometry = open_dataset(small.output, split="test", pose_source="vo")
    drift = np.linalg.norm(by_ins.positions() - by_odometry.positions(), axis=1)
    assert 0.0 < drift[-1] < 0.1 * small.loop_length_m
    for before, after in zip(by_ins.images[:3], by_ins.images[1:4], strict=True):
        step = before.pose.inverse().transform(after.pose.position)
        assert step[2] > 0.8 * np.linalg.norm(step)


def test_a_finished_run_is_kept_and_a_broken_one_is_made_again_the_same(tmp_path: Path) -> None:
    options = dataclasses.replace(TINY, scenes=1)
    first = simulate(tmp_path, options)
    train, test = (tmp_path / run.date for run in first.runs)
    kept = sorted((train / "stereo" / "centre").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    before = {path.relative_to(test): path.read_bytes() for path in test.rglob("*") if path.is_file()}
    (test / "simulated.json").write_text("{}\n")
    sorted((test / "stereo" / "centre").iterdir())[2].unlink()
    again = simulate(tmp_path, options)
    assert [run.rendered for run in again.runs] == [False, True]
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert {path.relative_to(test): path.read_bytes() for path in test.rglob("*") if path.is_file()} == before
    other = simulate(tmp_path, dataclasses.replace(options, test=("snow",)))
    assert [run.rendered for run in other.runs] == [False, True] and not test.exists()


def test_several_scenes_are_several_towns_of_one_dataset(tmp_path: Path) -> None:
    summary = simulate(tmp_path, TINY)
    opened = open_dataset(tmp_path, split="train")
    assert list(opened.scenes) == sorted(scene.name for scene in summary.scenes) == ["abbey", "market"]
    assert summary.scenes[0].loop_length_m != summary.scenes[1].loop_length_m
    assert build_town(0, 60.0, 40.0).buildings != build_town(1, 60.0, 40.0).buildings


def test_the_utm_grid_is_the_surveyors() -> None:
    """A row of a real RobotCar log, which gives both, and its published convergence of 1.37 degrees."""
    latitude, longitude = utm_to_geodetic(620156.025017, 5736388.378995, 30)
    assert (latitude, longitude) == pytest.approx((51.765474, -1.258766), abs=6e-7)
    assert np.degrees(grid_convergence(latitude, longitude, 30)) == pytest.approx(1.368, abs=1e-3)
    assert Place(620156.0, 5736388.0).zone_name == "30U"


def test_the_mosaic_is_gbrg(small: SimulationSummary) -> None:
    image = open_dataset(small.output, split="train").images[0]
    mosaic = cv2.imread(str(image.path), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(image.read(), debayer(mosaic, "gbrg"))
    sky = image.read()[:12].reshape(-1, 3).mean(axis=0)
    assert image.condition == "noon" and sky[2] > sky[0] + 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": ("noon", "fog")}, "no condition is called 'fog'; there are noon"),
        ({"scenes": 99}, "scenes: 1 to"),
        ({"width": 33}, "width: an even number"),
        ({"length_m": 10.0}, "length_m and width_m: at least"),
        ({"frames": 1}, "frames: at least"),
    ],
)
def test_impossible_options_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(HyperPoseError, match=message):
        dataclasses.replace(TINY, **change)


def test_the_command_line_refuses_a_folder_that_is_not_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert main(["simulate", str(tmp_path), "--frames", "4"]) == 2
    assert "holds files that no simulation wrote" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_command_line_simulates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--train",
        "noon",
        "--test",
        "overcast",
        "--frames",
        "4",
        "--size",
        "64x48",
        "--block",
        "40x36",
    ]
    assert main(["simulate", str(tmp_path / "new"), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "a loop of 135 m" in printed and "overcast" in printed and "nearest training run" in printed
    assert len(open_dataset(tmp_path / "new").images) == 8


def test_without_panda3d_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "panda3d", None)
    with pytest.raises(HyperPoseError, match=r"pip install hyperpose_ros\[simulation\]"):
        simulate(tmp_path, TINY)
