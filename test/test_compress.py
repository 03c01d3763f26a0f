"""`hyperpose compress`: sizes, how far answers move, and that the file is a checkpoint like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import draw_image, see_images
from small_networks import draw_inputs, small

from hyperpose_core.checkpoint.file import Checkpoint, checkpoint_size, load_checkpoint, save_checkpoint
from hyperpose_core.cli.main import main
from hyperpose_core.compression.compress import compress, compress_to_budget
from hyperpose_core.compression.plans import METHODS, all_plans, parse_size, plans_of
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.build_engine import build_engine
from hyperpose_core.inference.engines.build_network import build_network
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.models.compressed import dense_weight, multiply, store_weight
from hyperpose_core.models.registry import build_model

CPU = torch.device("cpu")
LARGEST_CHANGE = {"bfloat16": 0.02, "int8": 0.05, "low_rank": 0.25, "low_rank+bfloat16": 0.25}
"""Largest change of the outputs, relative to them, with random weights."""


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A small MS-HyperPose whose generators, wide and of low rank, hold most of its weights."""
    network = small(
        "mshyperpose",
        hypernetwork_initialisation="released",
        generator_width=64,
        position_generated_widths=[64, 48],
        orientation_generated_widths=[96, 64],
    )
    for branch in (network.position_hypernetwork, network.orientation_hypernetwork):
        for layer in branch.layers:
            weight = layer.generator.weight.detach()
            factors = torch.randn(len(weight), 8), torch.randn(8, weight.shape[1])
            weight.mul_(0.05).add_(factors[0] @ factors[1], alpha=0.02)
    preprocessing = Preprocessing(resize=64, crop=64)
    return Checkpoint(
        "mshyperpose", network.options, network.state_dict(), preprocessing, scenes=("attic", "cellar")
    )


@pytest.fixture(scope="module")
def checkpoint_file(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "full.safetensors"
    save_checkpoint(path, checkpoint)
    return path


def answers(checkpoint: Checkpoint, count: int, engine: str = "eager") -> torch.Tensor:
    """What the network says of some images: positions and orientations [N, 7]."""
    output = build_engine(engine, checkpoint, CPU, "float32", (64, 64))(draw_inputs(count))
    return torch.from_numpy(np.hstack([output.position, output.orientation]))


@pytest.mark.parametrize("method", METHODS)
def test_outputs_move_little_and_weights_shrink(checkpoint: Checkpoint, method: str) -> None:
    compressed = compress(checkpoint, plans_of(method, 0.99)[0])
    full, changed = answers(checkpoint, 5), answers(compressed, 5)
    assert changed.isfinite().all()
    change = float((changed - full).norm() / full.norm())
    assert 0 < change < LARGEST_CHANGE.get(method, 0.25)
    report = compressed.compression
    assert report is not None
    assert report["bytes_after"] == sum(tensor.nbytes for tensor in compressed.state.values())
    assert report["bytes_after"] < report["bytes_before"]
    assert sum(part["bytes_after"] for part in report["parts"].values()) == report["bytes_after"]
    errors = [part["largest_relative_error"] for part in report["parts"].values()]
    assert 0 < max(errors) <= (0.11 if method.startswith("low_rank") else 0.02)


@pytest.mark.parametrize("method", ["int8", "low_rank+int8"])
def test_the_prepared_and_the_plain_network_agree_alone_and_in_a_batch(
    checkpoint: Checkpoint, method: str
) -> None:
    compressed = compress(checkpoint, plans_of(method, 0.99)[-1])
    batch = answers(compressed, 5)
    with torch.inference_mode():
        output = build_network(compressed).eval()(draw_inputs(5))
    torch.testing.assert_close(
        torch.cat([output.position, output.orientation], dim=1), batch, atol=2e-2, rtol=2e-2
    )
    torch.testing.assert_close(answers(compressed, 1), batch[:1], atol=2e-2, rtol=2e-2)


def test_a_prepared_network_holds_no_more_than_the_file(checkpoint: Checkpoint) -> None:
    compressed = compress(checkpoint, plans_of("int8", 0.99)[1])
    assert compressed.compression is not None
    network = build_engine("eager", compressed, CPU, "float32", (64, 64))._network  # type: ignore[attr-defined]
    tensors = [*network.parameters(), *network.buffers()]
    held = sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in tensors}.values())
    assert held < 1.1 * compressed.compression["bytes_after"]


def test_a_budget_takes_the_gentlest_method_that_fits(checkpoint: Checkpoint) -> None:
    full = checkpoint_size(checkpoint)
    chosen = []
    for share in (0.7, 0.4, 0.3):
        compressed = compress_to_budget(checkpoint, all_plans(), int(share * full))
        assert checkpoint_size(compressed) <= share * full
        assert compressed.compression is not None
        chosen.append(compressed.compression["method"])
    assert chosen[:2] == ["bfloat16", "int8"] and chosen[2] != "bfloat16"
    by_method = compress_to_budget(checkpoint, plans_of("int8", 0.99), int(0.4 * full))
    assert by_method.compression is not None and by_method.compression["method"] == "int8"


def test_a_budget_that_nothing_meets_names_the_smallest_that_can(
    checkpoint_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compress", str(checkpoint_file), "--output", str(tmp_path / "small.safetensors")]
    assert main([*arguments, "--budget", "200KB"]) == 2
    message = capsys.readouterr().err
    assert "200,000 bytes cannot be met by any method: the smallest is " in message
    smallest = message.split("the smallest is ")[1].split(" bytes")[0].replace(",", "")
    assert main([*arguments, "--budget", smallest]) == 0
    assert (tmp_path / "small.safetensors").stat().st_size <= int(smallest)


def test_sizes() -> None:
    sizes = {"150MB": 150_000_000, "1.5 GB": 1_500_000_000, "2KiB": 2048, "143MiB": 143 * 2**20, "77": 77}
    for text, size in sizes.items():
        assert parse_size(text) == size
    for text in ("", "150 miles", "-3MB", "0MB", "MB"):
        with pytest.raises(HyperPoseError, match="150MB"):
            parse_size(text)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "--budget, --method or both"),
        (["--budget", "big"], "'big' is no size"),
        (["--budget", "1GB"], "fits 1,000,000,000 as it is"),
        (["--method", "low_rank", "--energy", "1.5"], "energy 1.5"),
        (["--method", "int8", "--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_wrong_arguments(
    checkpoint_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    output = tmp_path / "out.safetensors"
    assert main(["compress", str(checkpoint_file), "--output", str(output), *arguments]) == 2
    message = capsys.readouterr().err
    assert reason in message and message.count("\n") == 1
    assert not output.exists()


def test_what_cannot_be_compressed(
    checkpoint: Checkpoint, checkpoint_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["compress", str(checkpoint_file), "--output", "x", "--method", "zip"])
    assert "invalid choice: 'zip'" in capsys.readouterr().err
    again = ["compress", str(checkpoint_file), "--method", "int8", "--output", str(checkpoint_file)]
    assert main(again) == 2 and "would replace" in capsys.readouterr().err
    plan = plans_of("int8", 0.99)[0]
    with pytest.raises(HyperPoseError, match="compressed already"):
        compress(compress(checkpoint, plan), plan)
    state = dict(checkpoint.state)
    state["positions.rows"] = torch.full_like(state["positions.rows"], float("nan"))
    with pytest.raises(HyperPoseError, match="positions.rows is not finite"):
        compress(replace(checkpoint, state=state), plan)


def test_a_compressed_file_serves_like_any_checkpoint(
    tiny_checkpoint: Path, seven_scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, photograph = tmp_path / "small.safetensors", tmp_path / "photograph.png"
    arguments = ["compress", str(tiny_checkpoint), "--output", str(path), "--device", "cpu"]
    assert main([*arguments, "--method", "int8", "--data", str(seven_scenes_folder)]) == 0
    report = capsys.readouterr().out
    assert "median position error: " in report and "12 frames" in report and "%" in report
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "compressed by int8" in told and "median orientation error: " in told
    parameters = sum(p.numel() for p in build_network(load_checkpoint(tiny_checkpoint)).parameters())
    assert f"{parameters:,}" in told, "a compressed network has as many parameters as the full one"
    cv2.imwrite(str(photograph), draw_image(3))
    assert main(["predict", str(path), str(photograph)]) == 0
    images = [draw_image(seed) for seed in range(5)]
    for count in (1, 5):
        small_ones = PoseEstimator.load(path, "cpu").estimate(images[:count])
        full_ones = PoseEstimator.load(tiny_checkpoint, "cpu").estimate(images[:count])
        for one, other in zip(small_ones, full_ones, strict=True):
            distance = np.linalg.norm(one.pose.position - other.pose.position)
            assert distance < 0.2 * np.linalg.norm(other.pose.position), "random weights, and yet"


def test_tensors_of_a_file_are_read_once_and_survive_what_is_done_to_it(
    checkpoint: Checkpoint, checkpoint_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    path.write_bytes(checkpoint_file.read_bytes())
    loaded = load_checkpoint(path)
    path.write_bytes(bytes(path.stat().st_size))
    network = build_network(loaded)
    name = "position_hypernetwork.layers.0.generator.weight"
    assert network.state_dict()[name].data_ptr() == loaded.state[name].data_ptr(), "copied without need"
    assert torch.equal(network.state_dict()[name], checkpoint.state[name])
    path.write_bytes(b"")
    assert all(torch.equal(network.state_dict()[key], value) for key, value in checkpoint.state.items())


def test_tensors_that_fit_no_layer_are_one_error(checkpoint: Checkpoint) -> None:
    compressed = compress(checkpoint, plans_of("low_rank+int8", 0.99)[0])
    state = dict(compressed.state)
    missing = next(name for name in state if name.endswith("expand.weight"))
    del state[missing]
    with pytest.raises(HyperPoseError, match="don't fit the architecture 'mshyperpose'"):
        build_network(replace(compressed, state=state))


@pytest.mark.parametrize("storage", ["int8", "bfloat16"])
@pytest.mark.parametrize("in_features", [100, 256])
def test_large_weights_multiply_as_their_dense_form_does(storage: str, in_features: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values, scale = store_weight(torch.randn(11_003, in_features, generator=generator), storage)
    for count in (1, 5, 32):
        inputs = torch.randn(count, in_features, generator=generator)
        expected = inputs @ dense_weight(values, scale, torch.float32).T
        error = (multiply(inputs, values, scale) - expected).norm() / expected.norm()
        assert float(error) < 0.005, f"more than bfloat16's rounding, {count} inputs"


def test_rows_of_zeros_stay_zero() -> None:
    values, scale = store_weight(torch.zeros(3, 16), "int8")
    assert torch.equal(dense_weight(values, scale, torch.float32), torch.zeros(3, 16))


@pytest.mark.slow
def test_the_papers_network_for_seven_scenes_fits_150_mb(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_model("mshyperpose", {"scene_count": 7})
    for name, parameter in network.named_parameters():
        if name.endswith("generator.weight"):
            torch.nn.init.normal_(parameter, std=0.02)
    inputs = draw_inputs(4, 96, 96)
    see_images(network, inputs)
    full = Checkpoint(
        "mshyperpose",
        network.options,
        network.state_dict(),
        Preprocessing(resize=256, crop=224),
        scenes=tuple("abcdefg"),
    )
    compressed = compress_to_budget(full, plans_of("int8", 0.99), 150_000_000)
    save_checkpoint(tmp_path / "small.safetensors", compressed)
    assert (tmp_path / "small.safetensors").stat().st_size <= 150_000_000
    engine = build_engine("eager", load_checkpoint(tmp_path / "small.safetensors"), CPU)
    prepared = engine._network  # type: ignore[attr-defined]
    tensors = {id(tensor): tensor for tensor in [*prepared.parameters(), *prepared.buffers()]}
    assert sum(tensor.nbytes for tensor in tensors.values()) <= 150_000_000
    with torch.inference_mode():
        expected = network.eval()(inputs)
    output = engine(inputs)
    for ours, theirs in ((output.position, expected.position), (output.orientation, expected.orientation)):
        assert float((torch.from_numpy(ours) - theirs).norm() / theirs.norm()) < 0.06
