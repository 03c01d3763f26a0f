"""`hyperpose map` as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from landmark_images import CAMERA_OPTION, write_rooms
from landmark_scene import CAMERA, Room, tour

from hyperpose_core.cli.main import main
from hyperpose_core.command_line import USER_MISTAKE
from hyperpose_core.datasets import open_dataset
from hyperpose_core.landmarks.landmark_map import LandmarkMap

IMAGES = 28


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("hall"), {"hall": Room(1)}, tour(IMAGES))


def build_arguments(labels: Path, output: Path, *more: str) -> list[str]:
    return [
        *("map", "build", "--data", str(labels), "--data-option", CAMERA_OPTION, "--output", str(output)),
        *("--features", "700", "--no-calibration", *more),
    ]


@pytest.fixture(scope="module")
def built(labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map from the command line, with a budget and with features of a network."""
    output = tmp_path_factory.mktemp("maps") / "hall.map"
    assert main(build_arguments(labels, output, "--budget", "250kB")) == 0
    return output


def test_a_built_map_is_described(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert built.stat().st_size <= 250_000
    capsys.readouterr()
    assert main(["map", "info", str(built)]) == 0
    told = capsys.readouterr().out
    content = LandmarkMap.load(built)
    assert f"{IMAGES} images, {len(content.landmarks):,} landmarks" in told
    assert "320x240, fx 260.0" in told
    assert "budget" in told
    assert "reprojection error px" in told


def test_a_map_is_exported_and_drawn(
    built: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "export", str(built), "--output", str(tmp_path / "model")]) == 0
    images = open_dataset(tmp_path / "model", format="colmap", images=str(labels.parent))
    assert len(images.images) == IMAGES
    assert images.images[0].read().shape == (CAMERA.height, CAMERA.width, 3)
    picture = tmp_path / "hall.png"
    query = labels.parent / "hall-005.png"
    capsys.readouterr()
    assert main(["map", "view", str(built), "--output", str(picture), "--image", str(query)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"{query}: position [" in capsys.readouterr().out


def test_a_map_is_recorded_for_the_viewer(built: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="recordings need the extra `viewer`: rerun-sdk is not installed")
    recording = tmp_path / "hall.rrd"
    assert main(["map", "view", str(built), "--output", str(recording)]) == 0
    assert recording.read_bytes().startswith(b"RRF2")
    assert recording.stat().st_size > 12 * len(LandmarkMap.load(built).landmarks)


def test_features_of_a_network_are_kept(labels: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    output = tmp_path / "seen.map"
    assert main(build_arguments(labels, output, "--checkpoint", str(tiny_checkpoint))) == 0
    features = LandmarkMap.load(output).images.network_features
    assert features is not None
    assert features.shape[0] == IMAGES
    assert abs((features.astype(float) ** 2).sum(axis=1) - 1.0).max() < 1e-2
    assert len({row.tobytes() for row in features}) == IMAGES


def test_a_killed_build_goes_on(labels: Path, tmp_path: Path) -> None:
    output = tmp_path / "hall.map"
    command = [sys.executable, "-m", "hyperpose_core", *build_arguments(labels, output)]
    work = tmp_path / "hall.map.work"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not list(work.glob("features-*.npz")) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    done = len(list(work.glob("features-*.npz")))
    assert 0 < done
    assert not output.exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{IMAGES - done}/{IMAGES - done}" in again.stderr
    assert "landmarks" in again.stdout
    assert not work.exists()
    assert len(LandmarkMap.load(output).images) == IMAGES


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--budget", "huge"], "size 'huge': expected a number and a unit, such as 20MB"),
        (["--features", "0"], "--features is 0; it must be at least 1"),
        (
            ["--data-option", "camera=640,480,500,500,320,240"],
            "320x240 pixels, but the camera is for 640x480",
        ),
        (["--data", "missing.csv"], "missing.csv"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(build_arguments(labels, tmp_path / "hall.map", *more)) == USER_MISTAKE
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert message in lines[0]


def test_data_without_intrinsics_is_told_what_to_give(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["map", "build", "--data", str(labels), "--output", str(tmp_path / "hall.map")]
    assert main(arguments) == USER_MISTAKE
    assert "--data-option camera=WIDTH,HEIGHT,FX,FY,CX,CY (pixels)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(
    labels: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", "info", str(labels)]) == USER_MISTAKE
    assert "not a landmark map" in capsys.readouterr().err
    assert main(["map", "view", str(built), "--output", str(tmp_path / "hall.txt")]) == USER_MISTAKE
    assert "must end in .png, .svg, .pdf or .rrd" in capsys.readouterr().err
