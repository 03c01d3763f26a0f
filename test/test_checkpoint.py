"""The checkpoint file and the estimator that reads it."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_image
from safetensors.torch import load_file, save_file

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.world import World
from hyperpose_core.inference.estimator import PoseEstimator


def test_everything_comes_back_exactly(tiny_checkpoint: Path, tmp_path: Path) -> None:
    original = replace(
        load_checkpoint(tiny_checkpoint),
        world=World(
            "streets", np.array([620_021.123456789, 5_735_000.987654321, 110.5]), "30U", (0.0, 0.0, 1.0)
        ),
        camera=CameraModel(640, 480, 525.5, 525.5, 320, 240, (0.1, -0.2, 0.0, 0.0, 0.05)),
        training={"seed": 3, "recipe": {"epochs": 10}},
        validation={"position_error_median_m": None},
    )
    save_checkpoint(tmp_path / "copy.safetensors", original)
    copy = load_checkpoint(tmp_path / "copy.safetensors")
    assert copy.options == original.options
    assert copy.preprocessing == original.preprocessing
    assert copy.camera == original.camera
    assert copy.training == original.training
    assert copy.validation == original.validation
    assert copy.world.origin.tolist() == original.world.origin.tolist()
    assert copy.world.up == original.world.up
    assert copy.uncertainty.covariance.tolist() == original.uncertainty.covariance.tolist()
    assert all(torch.equal(copy.state[name], tensor) for name, tensor in original.state.items())


def test_estimates_are_reproducible_and_the_same_alone_and_in_a_batch(tiny_checkpoint: Path) -> None:
    images = [draw_image(seed) for seed in range(5)]
    estimator = PoseEstimator.load(tiny_checkpoint, "cpu")
    batch = estimator.estimate(images)
    alone = [PoseEstimator.load(tiny_checkpoint, "cpu").estimate([image])[0] for image in images]
    for one, other in zip(batch, alone, strict=True):
        np.testing.assert_allclose(one.pose.matrix(), other.pose.matrix(), atol=1e-4)
        np.testing.assert_array_equal(one.covariance, np.diag([0.1, 0.2, 0.3, 0.01, 0.02, 0.03]))
    positions = np.array([estimate.pose.position for estimate in batch])
    assert np.ptp(positions, axis=0).max() > 1e-3, "different images must give different poses"


def test_a_world_to_camera_network_is_turned_round(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    save_checkpoint(
        tmp_path / "inverse.safetensors", replace(checkpoint, orientation_convention="world_to_camera")
    )
    image = draw_image(1)
    plain = PoseEstimator.load(tiny_checkpoint).estimate([image])[0].pose
    turned = PoseEstimator.load(tmp_path / "inverse.safetensors").estimate([image])[0].pose
    np.testing.assert_allclose(turned.rotation(), plain.rotation().T, atol=1e-6)
    np.testing.assert_allclose(turned.position, plain.position)


def test_an_output_that_is_not_finite_is_no_pose(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint)
    state = dict(checkpoint.state)
    state["position_head.bias"] = torch.full((3,), float("nan"))
    save_checkpoint(tmp_path / "broken.safetensors", replace(checkpoint, state=state))
    assert PoseEstimator.load(tmp_path / "broken.safetensors").estimate([draw_image(1)])[0].pose is None


def rewrite_metadata(source: Path, target: Path, **changes: str) -> Path:
    from safetensors import safe_open

    with safe_open(source, framework="pt") as file:
        metadata = {**file.metadata(), **changes}
    del metadata["crc32"]  # as other writers' files: what is looked at here is the description
    save_file(load_file(source), target, metadata=metadata)
    return target


def damaged_document(source: Path, target: Path, **changes: object) -> Path:
    from safetensors import safe_open

    with safe_open(source, framework="pt") as file:
        document = json.loads(file.metadata()["hyperpose"])
    document.update(changes)
    return rewrite_metadata(source, target, hyperpose=json.dumps(document))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda source, path: path, "no such checkpoint"),
        (lambda source, path: path.write_bytes(source.read_bytes()[:5000]), "truncated"),
        (lambda source, path: path.write_bytes(source.read_bytes()[:-100]), "truncated"),
        (lambda source, path: path.write_bytes(b"not a checkpoint"), "not a .safetensors"),
        (lambda source, path: path.write_bytes(pickle.dumps({"weights": 1})), "not a .safetensors"),
        (
            lambda source, path: rewrite_metadata(source, path, hyperpose_format_version="99"),
            "version 99.*reads 1",
        ),
        (lambda source, path: rewrite_metadata(source, path, hyperpose="{"), "not JSON"),
        (lambda source, path: save_file(load_file(source), path), "hyperpose import"),
        (lambda source, path: damaged_document(source, path, architecture="resnet"), "'resnet'"),
        (lambda source, path: damaged_document(source, path, options={"depth": 3}), "'depth'"),
        (lambda source, path: damaged_document(source, path, options={"hidden_width": 16}), "don't fit"),
        (
            lambda source, path: damaged_document(source, path, uncertainty={"covariance": [], "source": ""}),
            "6x6",
        ),
        (lambda source, path: damaged_document(source, path, preprocessing={"size": 3}), "'size'"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(
    tiny_checkpoint: Path, tmp_path: Path, make, reason: str
) -> None:
    path = tmp_path / "wrong.safetensors"
    make(tiny_checkpoint, path)
    with pytest.raises(HyperPoseError, match=reason) as error:
        PoseEstimator.load(path)
    assert "wrong.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:97", "meta"])
def test_an_unknown_device_is_named(tiny_checkpoint: Path, device: str) -> None:
    with pytest.raises(HyperPoseError, match=device):
        PoseEstimator.load(tiny_checkpoint, device)
