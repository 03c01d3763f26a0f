"""Released files: those that fit are imported whole, and all others are refused with the culprit's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_image
from golden_weights import CAMBRIDGE, SEVEN_SCENES, golden, make_input, make_tensor
from torch import Tensor, nn

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.cli.main import main
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import quaternion_to_matrix
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.models.registry import build_model
from hyperpose_core.released.importer import import_released
from hyperpose_core.released.layout import released_tensors

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def hyperpose_state() -> State:
    return golden("hyperpose").state()


@pytest.fixture(scope="module")
def multi_scene_state() -> State:
    return golden("mstransposenet_7scenes").state()


@pytest.fixture(scope="module", params=["hyperpose", "hyperatloc", "mstransposenet_7scenes"])
def released(request: pytest.FixtureRequest) -> tuple[State, str, tuple[str, ...] | None]:
    case = golden(request.param)
    return case.state(), case.model, case.scenes


def drop(state: State, key: str) -> None:
    del state[key]


def rename(state: State, key: str) -> None:
    state[f"{key}_"] = state.pop(key)


def reshape(state: State, key: str) -> None:
    state[key] = torch.zeros((*state[key].shape, 2), dtype=state[key].dtype)


def retype(state: State, key: str) -> None:
    state[key] = state[key].half() if state[key].is_floating_point() else state[key].float()


def spoil(state: State, key: str) -> None:
    value = state[key].clone()
    if value.is_floating_point():
        value.view(-1)[-1] = torch.nan
    else:
        value = torch.tensor(float("nan"))
    state[key] = value


@pytest.mark.parametrize("damage", [drop, rename, reshape, retype, spoil])
def test_a_damaged_state_is_refused_by_the_keys_name(
    released: tuple[State, str, tuple[str, ...] | None], damage: Callable[[State, str], None]
) -> None:
    state, model, scenes = released
    keys = np.random.default_rng(7).choice(sorted(state), 12, replace=False)
    for key in keys.tolist():
        damaged = dict(state)
        damage(damaged, key)
        with pytest.raises(HyperPoseError) as error:
            import_released(damaged, model, scenes)
        assert key in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "key",
    [
        "query_embed_t.weight",
        "query_embed_rot.weight",
        "transformer_t.encoder.layers.5.norm2.bias",
        "regressor_head_t.0.fc_h.weight",
        "regressor_head_rot.6.fc_o.bias",
        "backbone.0.body._blocks.0._se_reduce.weight",
        "backbone.0.body._fc.weight",
        "backbone.1.row_embed.weight",
    ],
)
@pytest.mark.parametrize("damage", [drop, rename, reshape])
def test_damage_where_the_architecture_is_read_off_is_refused(
    multi_scene_state: State, damage: Callable[[State, str], None], key: str
) -> None:
    damaged = dict(multi_scene_state)
    damage(damaged, key)
    with pytest.raises(HyperPoseError) as error:
        import_released(damaged, "mstransformer", SEVEN_SCENES)
    assert key in str(error.value)


def test_all_that_does_not_fit_is_listed(hyperpose_state: State) -> None:
    damaged = dict(hyperpose_state)
    drop(damaged, "fc2.bias")
    rename(damaged, "fc3.weight")
    reshape(damaged, "fc1.bias")
    retype(damaged, "hyper_in_t.bias")
    with pytest.raises(HyperPoseError) as error:
        import_released(damaged, "hyperpose")
    message = str(error.value)
    assert "missing: fc2.bias, fc3.weight" in message
    assert "unexpected: fc3.weight_" in message
    assert "fc1.bias (found [1024, 2], expected [1024])" in message
    assert "hyper_in_t.bias (found float16, expected float32)" in message


def test_another_models_weights_are_refused(hyperpose_state: State) -> None:
    for model in ("posenet", "atloc", "mshyperpose"):
        with pytest.raises(HyperPoseError, match=f"not the weights of {model}.*missing.*unexpected"):
            import_released(hyperpose_state, model, CAMBRIDGE if model == "mshyperpose" else None)
    with pytest.raises(HyperPoseError, match="unknown model 'effposenet'"):
        import_released(hyperpose_state, "effposenet")


def test_files_are_read_however_they_are_wrapped(hyperpose_state: State, tmp_path: Path) -> None:
    path = tmp_path / "released.pth"
    images = make_input()[:1, :, :96, :96]
    with torch.inference_mode():
        expected = import_released(hyperpose_state, "hyperpose")(images)
        parallel = {f"module.{key}": value for key, value in hyperpose_state.items()}
        wrapped = {"epoch": 7, "model_state_dict": parallel, "optim_state_dict": {"lr": 1e-4}}
        for content in (hyperpose_state, parallel, wrapped):
            torch.save(content, path)
            assert torch.equal(import_released(path, "hyperpose")(images).position, expected.position)
        torch.save(hyperpose_state, path, _use_new_zipfile_serialization=False)
        assert torch.equal(import_released(str(path), "hyperpose")(images).position, expected.position)


class RunsCode:
    """What a hostile file would hold: unpickled without care it makes a directory."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_code_in_a_file_is_refused_and_not_run(
    hyperpose_state: State, tmp_path: Path, zipped: bool, wrapped: bool
) -> None:
    path, target = tmp_path / "hostile.pth", tmp_path / "was_run"
    state = {**hyperpose_state, "fc1.weight": RunsCode(target)}
    content = {"model_state_dict": state} if wrapped else state
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(HyperPoseError, match=r"hostile\.pth: refused: it asks for .*mkdir"):
        import_released(path, "hyperpose")
    assert not target.exists()


def test_whole_pickled_networks_and_other_files_are_refused(hyperpose_state: State, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(HyperPoseError, match="refused"):
        import_released(path, "hyperpose")
    torch.save(hyperpose_state, path)
    whole = path.read_bytes()
    for content in (b"", b"fc1.weight,3,4\n", whole[: len(whole) // 2], np.random.default_rng(0).bytes(4096)):
        path.write_bytes(content)
        with pytest.raises(HyperPoseError, match=r"file\.pth"):
            import_released(path, "hyperpose")
    for content in ([hyperpose_state], {}, {"fc1.weight": 3.0}, {"fc1.weight": {"data": torch.zeros(2)}}):
        torch.save(content, path)
        with pytest.raises(HyperPoseError, match="expected a state dict"):
            import_released(path, "hyperpose")
    with pytest.raises(HyperPoseError, match="no such file"):
        import_released(tmp_path / "missing.pth", "hyperpose")


def test_the_first_atloc_release_predicts_logarithms_of_quaternions(tmp_path: Path) -> None:
    state = golden("atloc").state()
    images = make_input()[:, :, :96, :96]
    weight, bias = make_tensor("fc_wpqr.weight", (3, 2048)), make_tensor("fc_wpqr.bias", (3,))
    path = tmp_path / "atloc.pth"
    torch.save(
        {"epoch": 9, "model_state_dict": {**state, "fc_wpqr.weight": weight, "fc_wpqr.bias": bias}}, path
    )
    network = import_released(path, "atloc")
    assert network.options["orientation_head"] == "log_quaternion"
    state["fc_wpqr.weight"], state["fc_wpqr.bias"] = (
        nn.functional.pad(weight, (0, 0, 0, 1)),
        bias.new_zeros(4),
    )
    state["fc_wpqr.bias"][:3] = bias
    with torch.inference_mode():
        orientation = network(images).orientation
        logarithm = import_released(state, "atloc")(images).orientation[:, :3]
    angle = logarithm.norm(dim=1, keepdim=True)
    expected = torch.cat([angle.cos(), angle.sin() * logarithm / angle], dim=1)
    assert torch.allclose(orientation, expected, atol=1e-5)
    assert torch.allclose(orientation.norm(dim=1), torch.ones(2), atol=1e-5)


def test_lite0_networks_come_back_from_released_names() -> None:
    torch.manual_seed(0)
    network = build_model("hyperpose", {"backbone": "efficientnet_lite0"}).eval()
    state = {}
    for key, entry in released_tensors(network).items():
        state[key] = torch.zeros(entry.shape, dtype=entry.dtype)
        for source, rows in entry.destinations:
            state[key].view(-1, *source.shape[1:])[rows] = source
    again = import_released(state, "hyperpose")
    assert again.options["backbone"] == "efficientnet_lite0"
    images = make_input()[:, :, :96, :96]
    with torch.inference_mode():
        assert torch.equal(again(images).position, network(images).position)


def test_layers_and_heads_are_read_off_the_keys(hyperpose_state: State, multi_scene_state: State) -> None:
    options = import_released(multi_scene_state, "mstransformer", SEVEN_SCENES).options
    assert options["position_layers"] == [6, 6] and options["orientation_layers"] == [4, 4]
    assert options["heads_per_scene"] is True and options["scene_count"] == 7
    assert import_released(hyperpose_state, "hyperpose").options["backbone"] == "efficientnet_b0"


def test_scene_names_must_fit(hyperpose_state: State, multi_scene_state: State) -> None:
    with pytest.raises(HyperPoseError, match="network for one scene, but 4"):
        import_released(hyperpose_state, "hyperpose", CAMBRIDGE)
    with pytest.raises(HyperPoseError, match="needs the names of its 7 scenes"):
        import_released(multi_scene_state, "mstransformer")
    with pytest.raises(HyperPoseError, match="hold 7 scenes, but 4 were named"):
        import_released(multi_scene_state, "mstransformer", CAMBRIDGE)
    with pytest.raises(HyperPoseError, match="named twice"):
        import_released(multi_scene_state, "mstransformer", (*SEVEN_SCENES[:6], "chess"))


def test_imported_cambridge_weights_give_camera_to_world_poses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = golden("emstransposenet_cambridge")
    source, output = tmp_path / "released.pth", tmp_path / "imported.safetensors"
    torch.save(case.state(), source)
    arguments = ["import", str(source), "--model", case.model, "--output", str(output)]
    assert main([*arguments, "--dataset", "cambridge"]) == 0
    assert "KingsCollege" in capsys.readouterr().out
    checkpoint = load_checkpoint(output)
    assert checkpoint.scenes == CAMBRIDGE and checkpoint.orientation_convention == "world_to_camera"
    assert checkpoint.training["imported_from"] == "released.pth"
    estimator = PoseEstimator.load(output, "cpu")
    image = draw_image(3, 270, 480)
    inputs = estimator.preprocess(image)
    assert inputs.shape == (3, 224, 224)
    with torch.inference_mode():
        raw = import_released(source, case.model, CAMBRIDGE)(inputs[None])
    estimate = estimator.estimate([image])[0]
    world_to_camera = quaternion_to_matrix((raw.orientation / raw.orientation.norm())[0].double().numpy())
    assert np.allclose(estimate.pose.matrix()[:3, :3], world_to_camera.T, atol=1e-5)
    assert np.allclose(estimate.pose.position, raw.position[0].numpy(), atol=1e-5)
    assert estimate.scene == CAMBRIDGE[int(raw.scene_log_probabilities.argmax())]
    assert main([*arguments, "--dataset", "7scenes"]) == 2
    assert "hold 4 scenes, but 7 were named" in capsys.readouterr().err


def test_import_of_one_scene_by_name(hyperpose_state: State, tmp_path: Path) -> None:
    source, output = tmp_path / "released.pth", tmp_path / "imported.safetensors"
    torch.save(hyperpose_state, source)
    arguments = [
        "import",
        str(source),
        "--model",
        "hyperpose",
        "--dataset",
        "7scenes",
        "--output",
        str(output),
    ]
    assert main([*arguments, "--scenes", "stairs"]) == 0
    checkpoint = load_checkpoint(output)
    assert checkpoint.scenes == ("stairs",) and checkpoint.orientation_convention == "camera_to_world"
    assert checkpoint.preprocessing.resize == 256 and checkpoint.preprocessing.crop == 224
    assert main([*arguments, "--scenes", "stairs,"]) == 2
    assert main([*arguments, "--crop", "300"]) == 2
