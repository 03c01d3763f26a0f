"""A network and its landmark map together, as `predict` and `evaluate` show them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from evo.tools.file_interface import read_tum_trajectory_file
from landmark_images import CAMERA_OPTION, write_rooms
from landmark_scene import CAMERA, Room, landmark_map, looking, tour

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.cli.main import main
from hyperpose_core.command_line import USER_MISTAKE
from hyperpose_core.compression.compress import compress
from hyperpose_core.compression.plans import plans_of
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.experiments.refined_runs import refine_run
from hyperpose_core.experiments.runs import Run, make_run
from hyperpose_core.export.description import checkpoint_from_metadata, metadata_of
from hyperpose_core.geometry.poses import orientation_errors_deg
from hyperpose_core.geometry.world import World
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks.landmark_map import NETWORK_KEY, LandmarkMap
from hyperpose_core.refinement.checkpoint_map import check_map, load_map, map_beside
from hyperpose_core.refinement.training_map import thinned, why_no_map
from hyperpose_core.training.recipe import load_recipe

ROOM = Room(seed=1)
RECIPE = "extends: small_data\nresize: 64\ncrop: 64\nmodel_options: {hidden_width: 32}\n"
QUERIES = [looking(2.9, 2.6, yaw) for yaw in (20.0, 140.0, 260.0)]


@pytest.fixture(scope="module")
def room_map() -> LandmarkMap:
    return landmark_map({"room": ROOM}, tour(24))


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint, room_map, tmp_path_factory) -> Path:
    """An untrained network of the room, and the room's map beside it."""
    path = tmp_path_factory.mktemp("room") / "room.safetensors"
    known = load_checkpoint(tiny_checkpoint)
    save_checkpoint(path, dataclasses.replace(known, scenes=("room",), camera=CAMERA, world=World()))
    room_map.save(map_beside(path))
    return path


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    """Three views of the room and one of another room that is said to be taken in it."""
    folder = tmp_path_factory.mktemp("queries")
    path = write_rooms(folder, {"room": ROOM}, [*QUERIES, QUERIES[0]])
    _write_image(folder / "room-003.png", Room(seed=9).render(QUERIES[0]))
    return path


def _write_image(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_estimates_carry_the_networks_features(tiny_checkpoint):
    estimator = PoseEstimator.load(tiny_checkpoint, "cpu")
    first, second = estimator.estimate([ROOM.render(pose) for pose in QUERIES[:2]])
    assert first.features.ndim == 1 and len(first.features) >= 100
    assert np.abs(first.features - second.features).max() > 0.0


def test_predict_gives_the_maps_pose_where_the_map_confirms_it(checkpoint, labels, tmp_path, capsys):
    images = [labels.parent / "room-000.png", labels.parent / "room-003.png"]

    status = run("predict", checkpoint, *images, "--csv", tmp_path / "poses.csv", "--device", "cpu")

    assert status == 0
    with (tmp_path / "poses.csv").open() as stream:
        right, foreign = csv.DictReader(stream)
    assert (right["source"], right["verified"]) == ("map", "True")
    position = [float(right[axis]) for axis in "xyz"]
    orientation = [float(right[f"q{axis}"]) for axis in "wxyz"]
    assert np.linalg.norm(position - QUERIES[0].position) < 0.02
    assert orientation_errors_deg(np.array([orientation]), QUERIES[0].orientation[None])[0] < 0.3
    assert (foreign["source"], foreign["verified"]) == ("network", "False")
    printed = capsys.readouterr().out
    assert "room-000.png: verified by the map" in printed
    assert "room-003.png: the map does not confirm a pose" in printed


def test_predict_without_a_map_is_the_network_alone(checkpoint, labels, tmp_path, capsys):
    image = labels.parent / "room-000.png"
    assert run("predict", checkpoint, image, "--no-map", "--csv", tmp_path / "poses.csv") == 0
    assert "source" not in (tmp_path / "poses.csv").read_text()
    assert "map" not in capsys.readouterr().out


def test_predict_goes_on_where_images_have_no_intrinsics(checkpoint, tmp_path, capsys):
    _write_image(tmp_path / "tall.png", np.zeros((300, 100, 3), dtype=np.uint8))
    assert run("predict", checkpoint, tmp_path / "tall.png") == 0
    assert "not refined: no intrinsics for images of 100x300 pixels" in capsys.readouterr().out


def test_evaluate_sets_the_map_beside_the_network(checkpoint, labels, tmp_path, capsys):
    data = ["--data", labels, "--split", "train", "--data-option", CAMERA_OPTION]

    assert run("evaluate", checkpoint, *data, "--output", tmp_path, "--device", "cpu") == 0

    refined = json.loads((tmp_path / "results.json").read_text())["refined"]
    assert (refined["frames"], refined["verified"]) == (4, 3)
    assert refined["scores"]["overall"]["position_m"]["median"] < 0.02
    assert refined["scores"]["consistency"]["frames"] == 3
    assert refined["timing"]["median_ms"] > 0.0
    written = read_tum_trajectory_file(str(tmp_path / "refined.tum"))
    np.testing.assert_allclose(written.positions_xyz, [pose.position for pose in QUERIES], atol=0.03)
    printed = capsys.readouterr().out
    assert "map, where verified" in printed and "75.0 %" in printed
    assert "Network and map" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "network_and_map.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"world": World(origin=np.array([0.0, 3.0, 4.0]))}, "world's origin lies 5.000 m"),
        ({"world": World(utm_zone="30U")}, "in no UTM zone, the checkpoint's in UTM zone 30U"),
        ({"scenes": ("attic", "cellar")}, "it shows room, the checkpoint knows attic, cellar"),
        ({"camera": dataclasses.replace(CAMERA, fx=400.0, fy=400.0)}, "built with another camera"),
    ],
)
def test_a_map_that_is_not_the_checkpoints_is_refused(room_map, checkpoint, change, reason):
    other = dataclasses.replace(load_checkpoint(checkpoint), **change)
    with pytest.raises(HyperPoseError, match=f"other.map: not this checkpoint's map: .*{reason}"):
        check_map(Path("other.map"), room_map, other)


def test_features_of_another_network_are_told_and_not_used(checkpoint, room_map, tmp_path):
    known = load_checkpoint(checkpoint)
    features = np.ones((len(room_map.images), 128), dtype=np.float16)
    images = dataclasses.replace(room_map.images, network_features=features)
    path, told = tmp_path / "seen.map", []
    for network, lines in ((known.network_digest, 0), ("0123456789abcdef", 1)):
        dataclasses.replace(room_map, images=images, source={NETWORK_KEY: network}).save(path)
        loaded = load_map(path, known, told.append)
        assert len(told) == lines
        assert (loaded.images.network_features is None) == (lines == 1)
    assert "seen.map: its images' features are of network 0123456789abcdef" in told[0]


def test_a_network_is_known_again_compressed_and_exported_but_not_trained_on(checkpoint, tmp_path):
    known = load_checkpoint(checkpoint)
    save_checkpoint(tmp_path / "small.safetensors", compress(known, plans_of("int8", 0.99)[0]))
    trained_on = dataclasses.replace(
        known, state={name: tensor + 1 for name, tensor in known.state.items()}, network_digest=None
    )
    save_checkpoint(tmp_path / "further.safetensors", trained_on)
    assert load_checkpoint(tmp_path / "small.safetensors").network_digest == known.network_digest
    assert load_checkpoint(tmp_path / "further.safetensors").network_digest != known.network_digest
    metadata = metadata_of(known, {})
    assert checkpoint_from_metadata(tmp_path / "x.onnx", metadata).network_digest == known.network_digest


def test_a_damaged_map_is_told_in_a_line(checkpoint, labels, tmp_path, capsys):
    (tmp_path / "half.map").write_bytes(map_beside(checkpoint).read_bytes()[:1000])
    status = run("predict", checkpoint, labels.parent / "room-000.png", "--map", tmp_path / "half.map")
    assert status == USER_MISTAKE
    assert "half.map: truncated, or not a landmark map" in capsys.readouterr().err


def test_training_ends_with_a_map(tmp_path, capsys):
    data = write_rooms(tmp_path / "images", {"room": ROOM}, tour(52))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    common = ["--data", data, "--recipe", recipe, "--epochs", 1, "--no-pretrained", "--device", "cpu"]
    camera = ["--data-option", CAMERA_OPTION, "--map-images", 50]

    assert run("train", *common, *camera, "--output", tmp_path / "run") == 0

    built = LandmarkMap.load(tmp_path / "run" / "best.map")
    features = (
        PoseEstimator.load(tmp_path / "run" / "best.safetensors", "cpu")
        .estimate([ROOM.render(tour(52)[0])])[0]
        .features
    )
    assert len(built.images) == 50
    assert built.images.network_features.shape == (50, len(features))
    assert "50 of the 52 images" in capsys.readouterr().out
    stamp = (tmp_path / "run" / "best.map").stat().st_mtime_ns
    assert run("train", *common, *camera, "--output", tmp_path / "run", "--resume") == 0
    assert (tmp_path / "run" / "best.map").stat().st_mtime_ns == stamp


def test_a_reproduced_run_has_the_maps_errors_beside_its_own(labels, tmp_path):
    camera = CAMERA_OPTION.removeprefix("camera=")
    data = write_rooms(tmp_path / "images", {"room": ROOM}, tour(50))
    small = {
        "resize": 64,
        "crop": 64,
        "epochs": 1,
        "pretrained": False,
        "model_options": {"hidden_width": 32},
    }
    recipe = load_recipe("small_data", small)
    training, test = (open_dataset(path, split="train", camera=camera) for path in (data, labels))
    run_ = Run(tmp_path / "run", recipe, 0, training, test)
    make_run(run_, "cpu")

    errors = refine_run(run_, tmp_path / "maps", "cpu")

    assert np.isfinite(errors.position_m).tolist() == [True, True, True, False]
    assert errors.position_m[:3].max() < 0.05
    (built,) = (tmp_path / "maps").glob("*.map")
    built.unlink()
    again = refine_run(run_, tmp_path / "maps", "cpu")
    np.testing.assert_array_equal(again.position_m, errors.position_m)
    assert not built.exists()


def test_training_without_intrinsics_says_why_it_builds_no_map(tmp_path, capsys):
    data = write_rooms(tmp_path / "images", {"room": ROOM}, tour(20))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    arguments = ["--recipe", recipe, "--epochs", 1, "--batch-size", 8, "--no-pretrained", "--device", "cpu"]

    assert run("train", "--data", data, *arguments, "--output", tmp_path / "run") == 0

    assert "map: none: the camera's intrinsics are not known" in capsys.readouterr().out
    assert not (tmp_path / "run" / "best.map").exists()


def test_few_images_give_no_map(labels):
    data = open_dataset(labels, split="train", camera=CAMERA_OPTION.removeprefix("camera="))
    assert why_no_map(data) == "4 images are too few, 50 are needed"


def test_fewer_images_are_spread_over_every_scene():
    @dataclasses.dataclass
    class Image:
        scene: str
        number: int

    images = tuple(Image("a", number) for number in range(90)) + tuple(Image("b", n) for n in range(10))
    kept = thinned(images, 20)
    assert [image.number for image in kept if image.scene == "b"] == [0, 9]
    numbers = [image.number for image in kept if image.scene == "a"]
    assert len(numbers) == 18 and max(np.diff(numbers)) <= 6
