"""`hyperpose build`: from posed images to a folder that the localizer runs from, as a user does it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from landmark_images import CAMERA_OPTION, write_rooms
from landmark_scene import CAMERA, Room, tour

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.cli.main import main
from hyperpose_core.command_line import USER_MISTAKE
from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.training.choice import choose_recipe
from hyperpose_core.training.length import fitted_to_time
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.run_folder import read_identity

IMAGES = 58
HELD_OUT = 6
RECIPE = """
extends: small_data
resize: [60, 80]
batch_size: 8
model_options: {backbone: efficientnet_lite0, hidden_width: 32, feature_map_channels: 8}
validation: {fraction: 0.2, block: 5}
"""


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = write_rooms(tmp_path_factory.mktemp("hall"), {"hall": Room(1)}, tour(IMAGES))
    lines = labels.read_text().splitlines()
    lines[-HELD_OUT:] = [line.replace(",train,", ",test,") for line in lines[-HELD_OUT:]]
    labels.write_text("\n".join(lines) + "\n")
    return labels


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def place(labels: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("places") / "hall"
    assert main(arguments(labels, recipe, output)) == 0
    return output


def arguments(labels: Path, recipe: Path, output: Path, *more: str) -> list[str]:
    return [
        *("build", str(labels), "--data-option", CAMERA_OPTION, "--output", str(output)),
        *("--recipe", str(recipe), "--minutes", "0.1", *more),
    ]


def test_a_place_holds_what_a_robot_loads(place: Path) -> None:
    checkpoint = load_checkpoint(place / "place.safetensors")
    assert checkpoint.camera is not None and checkpoint.camera.width == CAMERA.width
    assert checkpoint.uncertainty.covariance is not None
    # The robot's map is of all images, the one that was tried of those that are not held out.
    assert len(LandmarkMap.load(place / "place.map").images) == IMAGES
    assert len(LandmarkMap.load(place / "network" / "best.map").images) == IMAGES - HELD_OUT
    assert (place / "evaluation" / "report.html").is_file()


def test_a_finished_build_keeps_its_network_and_says_how_good_it_is(
    labels: Path, recipe: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = read_identity(place / "network")["recipe"]["epochs"]
    before = (place / "place.safetensors").read_bytes(), (place / "place.map").read_bytes()
    assert main(arguments(labels, recipe, place)) == 0
    told = capsys.readouterr().out
    assert read_identity(place / "network")["recipe"]["epochs"] == epochs
    assert "going on with the training" in told
    assert re.search(r"network +\d+\.\d{3} m, \d+\.\d\d deg", told)
    assert re.search(r"map +0\.0\d\d m, \d+\.\d\d deg, (9\d|100)% verified", told)
    assert "nearest training frame" in told
    assert f"localize.launch.py place:={place}" in told
    assert before == ((place / "place.safetensors").read_bytes(), (place / "place.map").read_bytes())


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["{labels}", "{labels}"], "labels.csv: has poses, and there are other sources beside it"),
        (["{dark}"], "no features in any image: too dark, blurred or blank"),
        (["missing.mp4"], "missing.mp4: no such"),
    ],
)
def test_a_source_that_gives_no_place_is_told_in_one_line(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sources: list[str], message: str
) -> None:
    dark = tmp_path / "dark"
    dark.mkdir()
    for number in range(3):
        cv2.imwrite(str(dark / f"{number}.png"), np.zeros((48, 64, 3), np.uint8))
    paths = [source.format(labels=labels, dark=dark) for source in sources]
    assert main(["build", *paths, "--output", str(tmp_path / "place")]) == USER_MISTAKE
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]


def images_on_a_line(count: int, step_m: float, camera: CameraModel | None, scenes: int = 1) -> PosedImageSet:
    records = tuple(
        PosedImage(
            Path(f"{number}.png"),
            Pose(np.array([number * step_m, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0])),
            scene=f"scene{number % scenes}",
        )
        for number in range(count)
    )
    return PosedImageSet("line", records, World(), camera)


def test_the_recipe_follows_from_the_data() -> None:
    room = choose_recipe(images_on_a_line(400, 0.01, CAMERA)).recipe
    assert 0.0 < room.augmentation.virtual_translation_m <= 0.1
    assert room.augmentation.virtual_rotation_deg > 0 and room.validation.fraction > 0
    street = choose_recipe(images_on_a_line(400, 0.5, CAMERA)).recipe
    assert street.augmentation.virtual_rotation_deg > 0 and not street.augmentation.synthesizes_views
    unknown = choose_recipe(images_on_a_line(400, 0.01, None)).recipe
    assert unknown.augmentation.virtual_rotation_deg == 0 and not unknown.augmentation.synthesizes_views
    several = choose_recipe(images_on_a_line(400, 0.01, CAMERA, scenes=3)).recipe
    assert several.model == "mshyperpose" and several.balance_scenes
    few = choose_recipe(images_on_a_line(40, 0.01, CAMERA))
    assert few.recipe.validation.fraction == 0 and any("none is held out" in line for line in few.reasons)
    # A unit that is not the metre changes nothing but the numbers.
    data = images_on_a_line(400, 10.0, CAMERA)
    other_unit = choose_recipe(replace(data, world=World(is_metric=False))).recipe
    assert other_unit.augmentation.synthesizes_views


def test_training_is_as_long_as_is_said(
    labels: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = open_dataset(labels, split="train", **{"camera": CAMERA_OPTION.removeprefix("camera=")})
    short, long = (fitted_to_time(load_recipe(str(recipe)), data, minutes).epochs for minutes in (0.02, 2.0))
    assert long > short >= 1
    command = ["train", "--data", str(labels), "--recipe", str(recipe), "--output", str(tmp_path / "run")]
    assert main([*command, "--unchecked", "--minutes", "0"]) == USER_MISTAKE
    assert "--minutes is 0; give a time above 0" in capsys.readouterr().err
    assert main([*command, "--minutes", "1", "--epochs", "2"]) == USER_MISTAKE
    assert "--minutes and --epochs exclude each other" in capsys.readouterr().err


def test_the_localizer_runs_from_a_place(place: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("rclpy", reason="rclpy is missing")
    pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from lifecycle_msgs.msg import Transition
    from localizer_helpers import RELIABLE, message_of
    from ros_helpers import send_until, wait_until
    from sensor_msgs.msg import Image

    start, peer = request.getfixturevalue("start"), request.getfixturevalue("peer")
    localizer = start("placed", "autostart:=false", f"place:={tmp_path}", remaps=("image:=/placed_camera",))
    wait_until(lambda: localizer.values().get("state") == "unconfigured", "the localizer to be there")
    assert not peer.change_state("/placed", Transition.TRANSITION_CONFIGURE)
    assert f"{tmp_path}: no place: place.safetensors is missing" in localizer.process.output
    assert peer.set_parameter("/placed", "place", str(place)).successful
    assert peer.change_state("/placed", Transition.TRANSITION_CONFIGURE)
    assert peer.change_state("/placed", Transition.TRANSITION_ACTIVATE)
    verified = peer.collect(PoseWithCovarianceStamped, "/placed/verified_pose")
    camera = peer.publisher(Image, "/placed_camera", RELIABLE)
    true = tour(IMAGES)[IMAGES // 2]
    message = message_of(Room(1).render(true, CAMERA), 1_403_774_720 * 10**9)
    send_until(camera, message, lambda: verified or None, "a pose that the map of the place verifies")
    position = verified[0].pose.pose.position
    assert np.allclose([position.x, position.y, position.z], true.position, atol=0.05)
