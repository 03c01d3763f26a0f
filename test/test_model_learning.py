"""Training of the six networks: what learns, what does not, and from where it starts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import see_images
from small_networks import HYPERNETWORKS, draw_inputs, loss_of, small
from small_towns import simulate_small
from torch import Tensor, nn

from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.datasets import open_dataset
from hyperpose_core.images import Preprocessing
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.multiscene import MultiSceneModel
from hyperpose_core.models.registry import MODEL_NAMES


def cannot_learn(network: PoseModel, name: str) -> bool:
    """Parameters of the released networks that no training can move, by how the networks are made."""
    if not isinstance(network, MultiSceneModel):
        return False
    if name == "scene_classifier.bias" or name.endswith(".key.bias"):
        return True  # the same for all that a softmax compares
    # The decoder's first layer starts from a target of zero: its content is the same for every query.
    first = ".decoder.0.self_attention"
    return f"{first}_norm.weight" in name or f"{first}.query." in name or f"{first}.key." in name


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_what_should_learn_learns_and_nothing_else(name: str) -> None:
    changes: dict[str, object] = {"backbone": "resnet34"} if name == "atloc" else {}
    if name in HYPERNETWORKS:
        changes["hypernetwork_initialisation"] = "released"
    network = small(name, **changes).train()
    for key, parameter in network.named_parameters():
        if key.endswith("norm.bias"):
            nn.init.normal_(parameter, std=0.1)  # zero, as it starts, hides the layers behind it for one step
    before = {key: tensor.clone() for key, tensor in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    scene = torch.tensor([0, 1, 0, 1])
    loss_of(network(draw_inputs(4), scene), scene).backward()
    optimizer.step()
    largest = max(float(p.grad.abs().max()) for p in network.parameters() if p.grad is not None)
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None and torch.equal(parameter, before[key]), key
        elif cannot_learn(network, key):
            assert parameter.grad.abs().max() < 1e-6 * largest, key
        else:
            assert parameter.grad.abs().max() > 0, key
            assert not torch.equal(parameter, before[key]), key


def test_only_mstransformer_has_frozen_layers_those_behind_stride_16() -> None:
    for name in MODEL_NAMES:
        network = small(name)
        frozen = {key for key, parameter in network.named_parameters() if not parameter.requires_grad}
        behind = {f"backbone.features.{index}." for index in (6, 7, 8)} if name == "mstransformer" else set()
        assert {key for key, _ in network.named_parameters() if key.startswith(tuple(behind))} == frozen


class Frames(NamedTuple):
    """Sixteen simulated frames, eight a town: inputs, normalised positions, orientations, scene ids."""

    inputs: Tensor
    positions: Tensor
    orientations: Tensor
    scenes: Tensor


@pytest.fixture(scope="module")
def simulated_frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    pytest.importorskip(
        "panda3d", reason="the simulation needs panda3d: pip install hyperpose_ros[simulation]"
    )
    towns = simulate_small(tmp_path_factory.mktemp("towns") / "towns", scenes=2, frames=8).output
    data = open_dataset(towns, split="test")
    preprocessing = Preprocessing(resize=(64, 64), crop=None)
    scenes = np.array([data.scenes.index(image.scene) for image in data.images])
    normalisation = PositionNormalisation.from_positions(data.positions(), scenes)
    return Frames(
        torch.stack([preprocessing(image.read()) for image in data.images]),
        torch.from_numpy(normalisation.normalize(data.positions(), scenes)).float(),
        torch.from_numpy(data.orientations()).float(),
        torch.from_numpy(scenes),
    )


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_reduced_network_overfits_16_frames(name: str, simulated_frames: Frames) -> None:
    network = small(name)
    inputs, positions, orientations, scenes = simulated_frames
    see_images(network.backbone, inputs)
    network.train()
    network.backbone.eval()
    network.backbone.features[:6].requires_grad_(False)  # most of the time; what learns is tested above
    steps = 60
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-4, total_steps=steps)
    for _ in range(steps):
        output = network(inputs, scenes)
        loss = (output.position - positions).norm(dim=1).mean()
        loss = loss + (output.orientation - orientations).norm(dim=1).mean()
        if output.scene_log_probabilities is not None:
            loss = loss + nn.functional.nll_loss(output.scene_log_probabilities, scenes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        output = network.eval()(inputs)
    assert (output.position - positions).norm(dim=1).median() < 0.1
    assert (output.orientation - orientations).norm(dim=1).median() < 0.1
    if output.scene_log_probabilities is not None:
        assert torch.equal(output.scene_log_probabilities.argmax(dim=1), scenes)


@pytest.mark.parametrize("name", HYPERNETWORKS)
def test_generated_heads_start_at_zero_and_leave_it(name: str) -> None:
    network = small(name)
    inputs, scene = draw_inputs(4), torch.tensor([0, 1, 0, 1])
    with torch.no_grad():
        before = network.eval()(inputs, scene)
        for head in (network.position_head, network.orientation_head):
            for parameter in head.parameters():
                parameter.zero_()
        only_generated = network(inputs, scene)
    assert not only_generated.position.any() and not only_generated.orientation.any()
    assert before.position.any() and before.orientation.any()
    start = {key: value.clone() for key, value in network.named_parameters() if "_hypernetwork" in key}
    optimizer = torch.optim.Adam(network.train().parameters(), lr=1e-3)
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(network(inputs, scene), scene).backward()
        optimizer.step()
    moved = dict(network.named_parameters())
    assert not [key for key, value in start.items() if torch.equal(value, moved[key])]


def test_hyperpose_without_generated_heads_is_posenet() -> None:
    hyperpose, posenet = small("hyperpose").eval(), small("posenet").eval()
    shared = {key: value for key, value in hyperpose.state_dict().items() if "_hypernetwork" not in key}
    posenet.load_state_dict(shared)
    inputs = draw_inputs(2)
    with torch.inference_mode():
        assert torch.equal(hyperpose(inputs).position, posenet(inputs).position)
