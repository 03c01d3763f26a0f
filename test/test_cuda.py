"""The engine for CUDA on a GPU: equality, half precision, replayed graphs."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from small_networks import MULTI_SCENE, draw_inputs
from test_engines import ask, checkpoint_of, error_of, trained

from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.build_engine import build_engine
from hyperpose_core.inference.engines.cuda import CudaEngine
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.models.registry import MODEL_NAMES

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 rounds float32 products to 11 bits: the comparisons are about everything else."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_gives_the_networks_outputs_for_any_batch_and_size(name: str) -> None:
    network = trained(name)
    engine = build_engine("auto", checkpoint_of(network), torch.device("cuda"))
    assert engine.device == "cuda"
    for count, height, width in ((1, 64, 64), (3, 64, 96), (1, 64, 64)):
        inputs = draw_inputs(count, height, width)
        assert error_of(engine(inputs), ask(network, inputs)) < 1e-3


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_half_precision_stays_close(name: str, precision: str) -> None:
    if precision == "bfloat16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no bfloat16 arithmetic")
    network = trained(name, **({"scene_count": 1} if name in MULTI_SCENE else {}))
    engine = build_engine("auto", checkpoint_of(network), torch.device("cuda"), precision)
    assert engine.precision == precision
    inputs = draw_inputs(2)
    assert error_of(engine(inputs), ask(network, inputs)) < 0.05


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_replays_follow_the_images_and_leave_earlier_outputs_alone(name: str) -> None:
    network = trained(name)
    engine = build_engine("auto", checkpoint_of(network), torch.device("cuda"))
    batches = [draw_inputs(2, 64, 64) + shift for shift in (0.0, 0.3, -0.2, 0.0)]
    outputs = [engine(batch) for batch in batches]
    for output, batch in zip(outputs, batches, strict=True):
        assert error_of(output, ask(network, batch)) < 1e-3
    assert np.array_equal(outputs[0].position, outputs[3].position)


def test_more_shapes_than_graphs_are_kept_are_answered_all_the_same() -> None:
    network = trained("hyperpose")
    engine = build_engine("auto", checkpoint_of(network), torch.device("cuda"))
    for count in range(1, 12):
        inputs = draw_inputs(count)
        assert error_of(engine(inputs), ask(network, inputs)) < 1e-3


def test_bytes_are_normalised_on_the_device() -> None:
    network = trained("posenet")
    preprocessing = Preprocessing(resize=64, crop=64)
    engine = CudaEngine(copy.deepcopy(network), Target(torch.device("cuda")), preprocessing)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = ask(network, preprocessing.normalized(pixels))
    assert error_of(engine(pixels), expected) < 1e-3


def test_estimator_agrees_with_the_cpus(tiny_checkpoint) -> None:  # type: ignore[no-untyped-def]
    from conftest import draw_image

    image = draw_image(2)
    poses = [
        PoseEstimator.load(tiny_checkpoint, device).estimate([image])[0].pose for device in ("cpu", "cuda")
    ]
    assert abs(poses[0].position - poses[1].position).max() < 1e-3
