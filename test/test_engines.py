"""Engines: whatever runs a network gives the network's outputs."""

from __future__ import annotations

import copy
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_image
from golden_weights import golden, make_input
from small_networks import MULTI_SCENE, draw_inputs, small
from torch import Tensor

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint
from hyperpose_core.cli.main import main
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.build_engine import build_engine
from hyperpose_core.inference.engines.cuda import CudaEngine
from hyperpose_core.inference.engines.eager import EagerEngine
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.inference.engines.target import Target, has_packed_layers
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseArrays
from hyperpose_core.models.registry import MODEL_NAMES

CPU = torch.device("cpu")
SIZES = ((1, 64, 64), (3, 64, 96), (2, 70, 101))

needs_bfloat16 = pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(), reason="this CPU has no bfloat16 arithmetic"
)


def trained(name: str, **options: object) -> PoseModel:
    """A small network in which nothing is zero or one any more, as after training."""
    network = small(name, **options)
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if key.endswith("running_var"):
            tensor.data.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 or "generator" in key:
            tensor.data.add_(0.05 * torch.randn(tensor.shape))
    return network.eval().requires_grad_(False)


def checkpoint_of(network: PoseModel) -> Checkpoint:
    scenes = tuple(f"scene{index}" for index in range(network.scene_count or 0))
    return Checkpoint(network.architecture, network.options, network.state_dict(), Preprocessing(), scenes)


def ask(network: PoseModel, inputs: Tensor) -> PoseArrays:
    with torch.inference_mode():
        return network(inputs).arrays()


def error_of(output: PoseArrays, expected: PoseArrays) -> float:
    """The largest error of an output, each in units of the largest value expected of it."""
    errors = [0.0]
    for part, right in zip(output, expected, strict=True):
        assert (part is None) == (right is None)
        if part is not None and right is not None:
            assert part.dtype == np.float32 and part.shape == right.shape
            errors.append(float(np.abs(part - right).max() / np.abs(right).max()))
    return max(errors)


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_b0", "resnet34"])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_eager_gives_the_networks_outputs_for_any_batch_and_size(name: str, backbone: str) -> None:
    network = trained(name, backbone=backbone)
    engine = build_engine("eager", checkpoint_of(network), CPU, "float32", (64, 64))
    assert (engine.name, engine.precision) == ("eager", "float32")
    for count, height, width in SIZES:
        inputs = draw_inputs(count, height, width)
        assert error_of(engine(inputs), ask(network, inputs)) < 1e-4


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(
            True, marks=pytest.mark.skipif(not has_packed_layers(), reason="this PyTorch has no oneDNN")
        ),
        False,
    ],
)
@pytest.mark.parametrize("name", ["mshyperpose", "hyperpose"])
def test_packed_and_stock_layers_agree_with_the_network(name: str, packed: bool) -> None:
    network = trained(name)
    engine = EagerEngine(copy.deepcopy(network), Target(CPU, torch.float32, packed))
    # As many tokens as an ordinary image has, for which attention takes another way.
    inputs = draw_inputs(2, 192, 224)
    assert error_of(engine(inputs), ask(network, inputs)) < 1e-4


@needs_bfloat16
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_bfloat16_stays_close(name: str) -> None:
    # With one scene: between two of a random network, rounding decides.
    network = trained(name, **({"scene_count": 1} if name in MULTI_SCENE else {}))
    engine = build_engine("eager", checkpoint_of(network), CPU, "bfloat16")
    assert engine.precision == "bfloat16"
    for count, height, width in SIZES:
        inputs = draw_inputs(count, height, width)
        assert 0 < error_of(engine(inputs), ask(network, inputs)) < 0.05


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_way_of_cuda_gives_the_networks_outputs_on_the_cpu(name: str) -> None:
    network = trained(name)
    preprocessing = Preprocessing(resize=64, crop=64)
    engine = CudaEngine(copy.deepcopy(network), Target(CPU), preprocessing)
    pixels = torch.from_numpy(draw_image(3, 64, 64)).permute(2, 0, 1).unsqueeze(0)
    expected = ask(network, preprocessing.normalized(pixels))
    assert error_of(engine(pixels), expected) < 1e-4
    assert error_of(engine(preprocessing.normalized(pixels)), expected) < 1e-4


@pytest.mark.parametrize(
    "name",
    ["effposenet", "hyperpose", "atloc", "hyperatloc", "mstransposenet_7scenes", "mshyperpose_7scenes"],
)
def test_golden_outputs_come_through_the_engine(name: str) -> None:
    case = golden(name)
    engine = build_engine("auto", checkpoint_of(case.network()), CPU)
    expected, output = case.outputs(), engine(make_input())
    pose, right = np.hstack([output.position, output.orientation]), expected["pose"].numpy()
    assert np.abs(pose - right).max() <= 1e-4 * np.abs(right).max()
    if output.scene_log_probabilities is not None:
        scenes = expected["scene_log_probabilities"].numpy()
        assert np.abs(output.scene_log_probabilities - scenes).max() <= 1e-4 * np.abs(scenes).max()


def test_checkpoint_is_left_as_it_is() -> None:
    network = trained("mshyperpose")
    checkpoint = checkpoint_of(network)
    before = {name: tensor.clone() for name, tensor in checkpoint.state.items()}
    build_engine("eager", checkpoint, CPU)(draw_inputs(1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in checkpoint.state.items())


def test_threads_may_share_an_engine() -> None:
    engine = build_engine("eager", checkpoint_of(trained("mshyperpose")), CPU)
    inputs = [draw_inputs(1, 64, 64 + 32 * index) for index in range(4)]
    alone = [engine(images) for images in inputs]

    def repeat(index: int) -> float:
        return max(error_of(engine(inputs[index]), alone[index]) for _ in range(10))

    fresh = build_engine("eager", checkpoint_of(trained("mshyperpose")), CPU)
    with ThreadPoolExecutor(4) as threads:
        first = list(threads.map(fresh, inputs))
        assert max(threads.map(repeat, range(4))) < 1e-5
    assert max(error_of(output, right) for output, right in zip(first, alone, strict=True)) < 1e-5


def test_outputs_belong_to_the_caller() -> None:
    engine = build_engine("eager", checkpoint_of(trained("hyperpose")), CPU)
    first = engine(draw_inputs(1))
    kept = [None if part is None else part.copy() for part in first]
    inputs = draw_inputs(1) + 1
    same = inputs.clone()
    engine(inputs)
    assert torch.equal(inputs, same)
    assert all(part is None or np.array_equal(part, old) for part, old in zip(first, kept, strict=True))


def test_image_of_a_wrong_size_is_refused_in_one_line() -> None:
    engine: Engine = build_engine("eager", checkpoint_of(trained("mstransformer")), CPU)
    for shape, expected in (((1, 3, 20, 64), "too small"), ((1, 3, 64, 420), "too large")):
        with pytest.raises(HyperPoseError, match=expected):
            engine(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"engine": "warp"}, "engine 'warp' is unknown; use one of auto, eager"),
        ({"precision": "float8"}, "precision 'float8' is unknown; use one of auto, float32"),
        ({"precision": "float16"}, "float16 is for CUDA"),
    ],
)
def test_what_is_not_to_be_had_is_one_clear_error(
    tiny_checkpoint: Path, arguments: dict[str, str], expected: str
) -> None:
    with pytest.raises(HyperPoseError, match=expected) as raised:
        PoseEstimator.load(tiny_checkpoint, "cpu", **arguments)
    assert "\n" not in str(raised.value)


def test_estimator_says_which_engine_it_has_and_estimates_the_same(tiny_checkpoint: Path) -> None:
    network = dataclasses.replace(load_checkpoint(tiny_checkpoint))
    image = draw_image(7)
    auto, eager = PoseEstimator(network, "cpu"), PoseEstimator(network, "cpu", engine="eager")
    assert auto.engine.name == "eager" and auto.engine.precision == "float32"
    poses = [estimator.estimate([image])[0].pose for estimator in (auto, eager)]
    assert poses[0] is not None and poses[1] is not None
    assert (poses[0].position == poses[1].position).all()


@needs_bfloat16
def test_predict_takes_engine_and_precision(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    image = tmp_path / "image.png"
    cv2.imwrite(str(image), draw_image(1))
    command = ["predict", str(tiny_checkpoint), str(image), "--device", "cpu"]
    assert main([*command, "--engine", "eager", "--precision", "bfloat16"]) == 0
    assert "position" in capsys.readouterr().out
    assert main([*command, "--engine", "warp"]) == 2
    assert "engine 'warp' is unknown" in capsys.readouterr().err
