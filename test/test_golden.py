"""The networks against the outputs of the released ones: same weights, same input, same poses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from golden_weights import GOLDENS, Golden, make_input

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.cli.network_sizes import UNUSED_CLASSIFIER_PARAMETERS
from hyperpose_core.images import Preprocessing
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.registry import restore_model


@dataclass(frozen=True)
class Case:
    golden: Golden
    network: PoseModel
    output: PoseOutput


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return make_input()


@pytest.fixture(scope="module", params=GOLDENS, ids=lambda golden: golden.name)
def case(request: pytest.FixtureRequest, images: torch.Tensor) -> Iterator[Case]:
    network = request.param.network()
    with torch.inference_mode():
        output = network(images)
    yield Case(request.param, network, output)


def test_output_is_the_released_networks(case: Case) -> None:
    expected = case.golden.outputs()
    pose = torch.cat([case.output.position, case.output.orientation], dim=1)
    assert (pose - expected["pose"]).abs().max() <= 1e-4 * expected["pose"].abs().max()
    if case.golden.scenes is None:
        assert case.output.scene_log_probabilities is None
    else:
        scenes = expected["scene_log_probabilities"]
        assert (case.output.scene_log_probabilities - scenes).abs().max() <= 1e-4 * scenes.abs().max()


def test_parameters_are_the_released_networks_but_for_the_unused_classifier(case: Case) -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    released = sum(
        math.prod(shape) for key, shape in case.golden.shapes().items() if not key.endswith(buffers)
    )
    left_out = 0 if "atloc" in case.golden.name else UNUSED_CLASSIFIER_PARAMETERS
    assert sum(parameter.numel() for parameter in case.network.parameters()) == released - left_out


def test_saved_and_loaded_again_gives_the_same_bits(case: Case, images: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    network = case.network
    scenes = case.golden.scenes or ()
    save_checkpoint(
        path, Checkpoint(network.architecture, network.options, network.state_dict(), Preprocessing(), scenes)
    )
    checkpoint = load_checkpoint(path)
    path.unlink()
    restored = restore_model(checkpoint.architecture, checkpoint.options, checkpoint.state).eval()
    with torch.inference_mode():
        output = restored(images)
    for again, before in zip(output, case.output, strict=True):
        assert (again is None and before is None) or torch.equal(again, before)
