"""Covariances of single images: calibrated on held-out blocks, kept in the checkpoint, estimated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import draw_image, see_images
from experiment_helpers import TINY
from small_networks import HYPERNETWORKS, MULTI_SCENE, draw_inputs, small

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Array
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.trainer import Trainer
from hyperpose_core.uncertainty.covariance import Uncertainty
from hyperpose_core.uncertainty.feature_distance import Predictions, TrainingMemory
from hyperpose_core.uncertainty.fit import CHI_SQUARE_3, HeldOut, calibrate, squared_mahalanobis

STILL = np.array([[1.0, 0.0, 0.0, 0.0]])


def line_memory(scenes: int = 1) -> TrainingMemory:
    """Training images of each scene at features (0..1, 0), all seen from the origin."""
    count = 50 * scenes
    features = np.column_stack([np.tile(np.linspace(0, 1, 50), scenes), np.zeros(count)]).astype(np.float32)
    return TrainingMemory(
        features, np.zeros((count, 3)), np.repeat(STILL, count, axis=0), np.repeat(np.arange(scenes), 50)
    )


def held_out_at(
    generator: np.random.Generator,
    distances: Array,
    blocks: int,
    scenes: Array | None = None,
    scale: Array | float = 1.0,
    degrees_of_freedom: float | None = None,
) -> HeldOut:
    """Draw frames whose errors grow with the distance of their features from the line of training images.

    The position's deviations are 0.1 + 0.2 d, half of it along y; the rotation's a tenth.
    """
    count = len(distances)
    features = np.column_stack([generator.uniform(0, 1, count), distances]).astype(np.float32)
    chosen = np.zeros(count, dtype=np.int64) if scenes is None else scenes.astype(np.int64)
    normal = generator.normal(size=(2, count, 3)) * [1.0, 0.5, 1.0]
    if degrees_of_freedom is not None:
        normal /= np.sqrt(generator.chisquare(degrees_of_freedom, (2, count, 1)) / degrees_of_freedom)
    position, rotation = normal * (scale * (0.1 + 0.2 * distances))[:, np.newaxis]
    predictions = Predictions(features, np.zeros((count, 3)), np.repeat(STILL, count, axis=0), chosen)
    return HeldOut(predictions, position, rotation / 10.0, np.arange(count) * blocks // count)


def constant_of(held_out: HeldOut) -> Uncertainty:
    return Uncertainty.from_residuals(held_out.position_residuals, held_out.rotation_residuals, "drawn")


def coverage(covariances: Array, residuals: Array) -> tuple[float, float]:
    squares = squared_mahalanobis(residuals, covariances)
    narrow, wide = (float(np.mean(squares <= limit)) for limit in CHI_SQUARE_3.values())
    return narrow, wide


def negative_log_likelihood(covariances: Array, residuals: Array) -> float:
    squares = squared_mahalanobis(residuals, covariances)
    return float(np.mean(squares + np.linalg.slogdet(covariances)[1]) / 2)


@pytest.mark.parametrize("degrees_of_freedom", [None, 4.0])
def test_regions_hold_what_they_promise_on_new_frames(degrees_of_freedom: float | None) -> None:
    generator = np.random.default_rng(0)
    known, new = (
        held_out_at(generator, generator.uniform(0, 3, 1500), 15, degrees_of_freedom=degrees_of_freedom)
        for _ in range(2)
    )
    constant = constant_of(known)
    covariances = calibrate(constant, known, line_memory()).covariances(new.predictions)
    for part, residuals in (
        (slice(0, 3), new.position_residuals),
        (slice(3, 6), new.rotation_residuals),
    ):
        narrow, wide = coverage(covariances[:, part, part], residuals)
        assert narrow == pytest.approx(0.68, abs=0.05 if degrees_of_freedom is None else 0.1)
        assert wide == pytest.approx(0.95, abs=0.03 if degrees_of_freedom is None else 0.05)
        same = np.repeat(constant.covariance[np.newaxis, part, part], len(residuals), axis=0)
        own = covariances[:, part, part]
        assert negative_log_likelihood(own, residuals) < negative_log_likelihood(same, residuals) - 0.1


def test_few_blocks_that_differ_promise_less_than_their_errors_alone() -> None:
    """Each world has three held-out blocks, whose errors are of different size; the next is a block, too."""
    generator = np.random.default_rng(1)
    held: list[tuple[float, float]] = []
    naive: list[tuple[float, float]] = []
    for _ in range(40):
        scales = np.repeat(np.exp(generator.normal(0, 0.7, 4)), 40)
        drawn = held_out_at(generator, np.full(160, 1.0), 4, scale=scales)
        first, last = np.arange(160) < 120, np.arange(160) >= 120
        known = HeldOut(
            drawn.predictions.rows(first),
            drawn.position_residuals[first],
            drawn.rotation_residuals[first],
            drawn.blocks[first],
        )
        constant = constant_of(known)
        new = drawn.predictions.rows(last)
        for uncertainty, results in ((calibrate(constant, known, line_memory()), held), (constant, naive)):
            results.append(coverage(uncertainty.covariances(new)[:, :3, :3], drawn.position_residuals[last]))
    assert np.mean(held, axis=0)[1] > np.mean(naive, axis=0)[1] + 0.04
    assert np.mean(held, axis=0)[1] > 0.9


def test_beyond_all_that_was_measured_covariances_grow_steeply_and_never_past_half_a_turn() -> None:
    generator = np.random.default_rng(2)
    known = held_out_at(generator, generator.uniform(0, 3, 300), 6)
    uncertainty = calibrate(constant_of(known), known, line_memory())
    distances = np.array([0.0, 3.0, 6.0, 12.0, 1e4])
    predictions = held_out_at(generator, distances, 1).predictions
    covariances = uncertainty.covariances(predictions)
    position, rotation = (
        np.sqrt(np.trace(covariances[:, part, part], axis1=1, axis2=2)) for part in (slice(0, 3), slice(3, 6))
    )
    assert (np.diff(position) > 0).all()
    assert position[2] / position[1] > 5 and position[1] / position[0] < 10
    assert np.sqrt(covariances[:, 3:, 3:].max()) == pytest.approx(np.pi)
    assert (np.diff(rotation)[:3] > 0).all()


def test_an_estimate_away_from_all_training_poses_is_trusted_less() -> None:
    generator = np.random.default_rng(3)
    known = held_out_at(generator, np.full(300, 0.5), 6)
    away = generator.uniform(0, 4, 300)
    offsets = away[:, np.newaxis] * np.array([1.0, 0.0, 0.0])
    known = replace(
        known,
        predictions=known.predictions._replace(positions=offsets),
        position_residuals=known.position_residuals * (1 + 2 * away)[:, np.newaxis],
    )
    covariances = calibrate(constant_of(known), known, line_memory()).covariances(known.predictions)
    order = np.argsort(away)
    assert covariances[order[-1], 0, 0] > 9 * covariances[order[0], 0, 0]


def test_scenes_have_scales_of_their_own_where_enough_blocks_tell() -> None:
    generator = np.random.default_rng(4)
    scenes = np.repeat([0, 1, 2], [200, 200, 20])
    scale = np.array([1.0, 20.0, 1.0])[scenes]
    known = held_out_at(generator, np.full(420, 1.0), 21, scenes, scale)
    memory = line_memory(scenes=5)
    remembered = memory.scenes != 3
    memory = TrainingMemory(
        memory.features[remembered],
        memory.positions[remembered],
        memory.orientations[remembered],
        memory.scenes[remembered],
    )
    uncertainty = calibrate(constant_of(known), known, memory)
    new = held_out_at(generator, np.full(5, 1.0), 1, np.arange(5))
    covariances = uncertainty.covariances(new.predictions)
    deviations = np.sqrt(covariances[:, 0, 0])
    assert deviations[1] == pytest.approx(20 * deviations[0], rel=0.4)
    assert deviations[0] < deviations[2] < deviations[1], "one block of a scene: what all scenes say"
    assert deviations[4] == pytest.approx(deviations[2], rel=1e-3), "none of a scene: the same"
    np.testing.assert_array_equal(covariances[3], Uncertainty.unknown().covariance)


def test_one_block_or_none_tells_no_images_apart() -> None:
    known = held_out_at(np.random.default_rng(5), np.full(40, 1.0), 1)
    constant = constant_of(known)
    uncertainty = calibrate(constant, known, line_memory())
    np.testing.assert_array_equal(uncertainty.covariances(known.predictions)[7], constant.covariance)


def test_an_answer_that_is_not_finite_gets_the_largest_covariance() -> None:
    known = held_out_at(np.random.default_rng(6), np.full(60, 1.0), 3)
    uncertainty = calibrate(constant_of(known), known, line_memory())
    predictions = Predictions(*(values.copy() for values in known.predictions))
    predictions.positions[3, 1] = np.nan
    predictions.features[5, 0] = np.inf
    covariances = uncertainty.covariances(predictions)
    assert np.isfinite(covariances).all()
    unknown = Uncertainty.unknown().covariance
    assert [np.array_equal(covariance, unknown) for covariance in covariances[2:7]] == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("name", ["posenet", "atloc", *HYPERNETWORKS, "mstransformer"])
def test_every_network_summarises_what_it_sees(name: str) -> None:
    network = small(name).eval()
    inputs = draw_inputs(3)
    see_images(network, inputs)
    with torch.no_grad():
        output = network.eval()(inputs)
    assert output.features.shape[0] == 3 and output.features.shape[1] >= 100
    assert output.features[0].sub(output.features[1]).norm() > 0
    assert (output.scene_log_probabilities is not None) == (name in MULTI_SCENE)


@pytest.fixture(scope="module")
def calibrated_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network with a memory of ten drawn images, errors drawn for ten others."""
    estimator = PoseEstimator.load(tiny_checkpoint, "cpu")
    seen, held = (
        estimator.predict(torch.stack([estimator.preprocess(draw_image(seed)) for seed in seeds]))[0]
        for seeds in (range(10), range(10, 30))
    )
    memory = TrainingMemory(seen.features, seen.positions, seen.orientations, seen.scenes)
    generator = np.random.default_rng(0)
    distances = memory.distances(held).feature[:, np.newaxis]
    errors = generator.normal(size=(2, 20, 3)) * 0.02 * distances
    known = HeldOut(held, errors[0], errors[1], np.arange(20) // 5)
    path = tmp_path_factory.mktemp("calibrated") / "calibrated.safetensors"
    uncertainty = calibrate(constant_of(known), known, memory)
    save_checkpoint(path, replace(load_checkpoint(tiny_checkpoint), uncertainty=uncertainty))
    return path


def test_the_estimator_is_less_sure_of_images_unlike_training(calibrated_checkpoint: Path) -> None:
    estimator = PoseEstimator.load(calibrated_checkpoint, "cpu")
    images = {
        "seen": draw_image(4),
        "new": draw_image(99),
        "noise": np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8),
    }
    estimates = dict(zip(images, estimator.estimate(list(images.values())), strict=True))
    for part in (slice(0, 3), slice(3, 6)):
        seen, new, noise = (np.trace(estimates[name].covariance[part, part]) for name in images)
        assert 1.5 * seen < new < noise
    assert (np.linalg.eigvalsh(estimates["noise"].covariance) > 0).all()


def test_a_checkpoint_keeps_what_tells_images_apart(calibrated_checkpoint: Path, tmp_path: Path) -> None:
    first = load_checkpoint(calibrated_checkpoint)
    save_checkpoint(tmp_path / "copy.safetensors", first)
    images = [draw_image(seed) for seed in (3, 50)]
    estimates = [
        PoseEstimator.load(path, "cpu").estimate(images)
        for path in (calibrated_checkpoint, tmp_path / "copy.safetensors")
    ]
    for one, other in zip(*estimates, strict=True):
        np.testing.assert_array_equal(one.covariance, other.covariance)
    assert not np.array_equal(estimates[0][0].covariance, estimates[0][1].covariance)
    assert first.state.keys() == load_checkpoint(tmp_path / "copy.safetensors").state.keys()
    assert not any("uncertainty" in name for name in first.state), "the network's tensors are its own"


def test_a_file_whose_memory_is_gone_is_refused(calibrated_checkpoint: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(calibrated_checkpoint, framework="pt") as file:
        metadata = file.metadata()
    del metadata["crc32"]  # as older files: what is looked at here is the description
    tensors = load_file(calibrated_checkpoint)
    del tensors["uncertainty/features"]
    save_file(tensors, tmp_path / "damaged.safetensors", metadata=metadata)
    with pytest.raises(HyperPoseError, match="damaged.safetensors.*'features' is missing"):
        load_checkpoint(tmp_path / "damaged.safetensors")


def test_training_calibrates_on_its_held_out_blocks(seven_scenes_folder: Path, tmp_path: Path) -> None:
    recipe_file = tmp_path / "recipe.yaml"
    recipe = {**TINY, "epochs": 1, "batch_size": 2, "validation": {"fraction": 0.5, "block": 2}}
    recipe_file.write_text(yaml.safe_dump(recipe))
    data = open_dataset(seven_scenes_folder, split="train")
    run = Trainer(load_recipe(str(recipe_file)), data, tmp_path / "run", "cpu")
    checkpoint = load_checkpoint(run.run())
    per_image = checkpoint.uncertainty.per_image
    assert per_image is not None
    assert len(per_image.memory.scenes) == 6, "half of the twelve frames are training's"
    assert "6 frames in 3 blocks" in checkpoint.uncertainty.source
    positions = data.positions()
    assert {tuple(row) for row in per_image.memory.positions} < {tuple(row) for row in positions}
    estimator = PoseEstimator(checkpoint, "cpu")
    first, second = estimator.estimate([data.images[0].read(), draw_image(1)])
    assert not np.allclose(first.covariance, second.covariance, rtol=1e-3)
