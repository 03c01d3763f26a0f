"""The plain networks that the benchmarks compare with compute what the released ones and the project's do."""

from __future__ import annotations

import pytest
import torch
from conftest import see_images
from golden_weights import GOLDENS, Golden, make_input
from small_networks import draw_inputs, small

from benchmarks.plain import build_plain_network, plain_network
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.registry import MODEL_NAMES, build_model, default_options

BACKBONES = {"atloc": "resnet34", "hyperatloc": "resnet34"}
OPTIONS: dict[str, dict[str, object]] = {
    "mstransposenet_7scenes": {"position_layers": [6, 6], "orientation_layers": [4, 4]},
    "emstransposenet_cambridge": {"heads_per_scene": False},
}


def assert_equal_to(expected: PoseOutput, output: PoseOutput) -> None:
    for name in ("position", "orientation", "scene_log_probabilities"):
        right, value = getattr(expected, name), getattr(output, name)
        if right is None:
            assert value is None
        else:
            assert (value - right).abs().max() <= 1e-4 * right.abs().max()


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.name)
def test_plain_networks_pass_the_golden_files(golden: Golden) -> None:
    options = default_options(golden.model) | OPTIONS.get(golden.name, {})
    if golden.scenes is not None:
        options["scene_count"] = len(golden.scenes)
    network = build_plain_network(golden.model, options, golden.state())
    with torch.inference_mode():
        output = network(make_input())
    expected = golden.outputs()
    poses = PoseOutput(
        expected["pose"][:, :3], expected["pose"][:, 3:], expected.get("scene_log_probabilities")
    )
    assert_equal_to(poses, output)


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_plain_networks_compute_what_the_project_computes(model: str) -> None:
    network = small(model, backbone=BACKBONES.get(model, "efficientnet_lite0"))
    if "hyper" in model:
        network = small(
            model,
            backbone=network.model_options.backbone,
            hypernetwork_initialisation="released",
        )
    inputs = draw_inputs(3, 64, 96)
    see_images(network, inputs)
    plain = plain_network(network.eval())
    with torch.inference_mode():
        assert_equal_to(network(inputs), plain(inputs))


def test_what_the_paper_does_not_have_has_no_plain_network() -> None:
    network = build_model(
        "posenet", {"backbone": "efficientnet_lite0", "feature_map_channels": 8, "input_size": [64, 64]}
    )
    with pytest.raises(HyperPoseError, match="no plain posenet"):
        plain_network(network)
