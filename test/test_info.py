"""`hyperpose info`: what it prints is what the checkpoint holds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.cli.main import main
from hyperpose_core.cli.network_sizes import part_sizes
from hyperpose_core.images import Preprocessing
from hyperpose_core.models.registry import build_model


def table(text: str) -> dict[str, tuple[int, int]]:
    """Read the table of parts: title to parameters and bytes."""
    rows = re.findall(r"^ *([a-z_ ]+?) +([\d,]+) +([\d,]+)$", text, flags=re.MULTILINE)
    return {title: (int(count.replace(",", "")), int(size.replace(",", ""))) for title, count, size in rows}


def test_single_scene_checkpoint(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tiny_checkpoint)]) == 0
    text = capsys.readouterr().out
    checkpoint = load_checkpoint(tiny_checkpoint)
    rows = table(text)
    network = build_model(checkpoint.architecture, checkpoint.options)
    assert rows["all"][0] == sum(parameter.numel() for parameter in network.parameters())
    assert rows["all"][1] == sum(tensor.nbytes for tensor in checkpoint.state.values())
    parts = [rows[title] for title in ("backbone", "heads", "hypernetwork")]
    assert tuple(map(sum, zip(*parts, strict=True))) == rows["all"]
    assert rows["backbone"][0] == sum(parameter.numel() for parameter in network.backbone.parameters())
    for expected in (
        "hyperpose",
        "efficientnet_lite0",
        "toyroom",
        "camera_to_world",
        "made up for the tests",
    ):
        assert expected in text
    assert "a room that nobody has seen" in text and "[1.000, 2.000, 3.000]) / 0.500" in text
    assert "unused 1000-way classifier, 1,281,000 parameters" in text


def test_multi_scene_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {
        "scene_count": 3,
        "position_layers": [1, 1],
        "orientation_layers": [1, 1],
        "backbone": "resnet34",
    }
    network = build_model("mstransformer", options)
    path = tmp_path / "network.safetensors"
    save_checkpoint(
        path,
        Checkpoint(
            "mstransformer",
            network.options,
            network.state_dict(),
            Preprocessing(resize=(120, 160), crop=None),
            scenes=("attic", "barn", "cellar"),
            normalisation=PositionNormalisation(np.array([[0.0, 0, 0], [5, 6, 7], [0, 0, 0]]), 2.0),
            orientation_convention="world_to_camera",
            training={"epochs": 7, "recipe": {"learning_rate": 0.003}},
            validation={"position_error_median_m": 0.25, "orientation_error_median_deg": None},
        ),
    )
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    for expected in ("0: attic", "1: barn", "2: cellar", "to 160x120 pixels", "inverted by the estimator"):
        assert expected in text
    for expected in ("epochs: 7", "recipe.learning_rate: 0.003", "position_error_median_m: 0.25"):
        assert expected in text
    assert "position in barn: (position - [5.000, 6.000, 7.000]) / 2.000" in text
    assert "orientation_error_median_deg: not known" in text
    assert "neither run nor trained" in text and "1000-way" not in text
    sizes = part_sizes(network)
    assert table(text)["transformer"] == (sizes["transformer"].parameters, sizes["transformer"].bytes)
    assert table(text)["scene classifier"][0] == 513


def test_files_that_are_no_checkpoint(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"no tensors here")
    checkpoint = load_checkpoint(tiny_checkpoint)
    state = {**checkpoint.state, "position_head.bias": torch.zeros(4)}
    unfit = tmp_path / "unfit.safetensors"
    save_checkpoint(unfit, Checkpoint("hyperpose", checkpoint.options, state, checkpoint.preprocessing))
    for path in (other, unfit, tmp_path / "missing.safetensors"):
        assert main(["info", str(path)]) == 2
        message = capsys.readouterr().err
        assert message.startswith("hyperpose: error:") and path.name in message and message.count("\n") == 1
