"""The engine of the paper in `hyperpose ecl generate`: prompts, weights, and a tiny InstructPix2Pix."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_layouts import shots, write_csv
from experiment_helpers import contents, generate
from safetensors.torch import load_file

from hyperpose_core.datasets import open_dataset
from hyperpose_core.ecl.conditions import load_conditions
from hyperpose_core.ecl.open_engine import open_engine


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A label CSV of ten frames with stamps, two of them for testing."""
    return write_csv(tmp_path_factory.mktemp("town"), shots())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conditions: {dusk: make it dusk}\nsteps: 3", "steps: Unexpected keyword argument"),
        ("conditions: {dusk: 3}", "conditions.dusk: Input should be a valid string"),
        ("conditions: {}", "conditions: Dictionary should have at least 1 item"),
        ("conditions: {dusk: ' '}", "conditions.dusk: the prompt is empty"),
        ("conditions: {../dusk: make it dusk}", "condition '../dusk' cannot be a folder's name"),
        ("conditions: {original: as it is}", "condition 'original' cannot be a folder's name"),
        ("conditions: {dusk: make it dusk}\npipeline: {steps: 0}", "pipeline.steps: Input should be greater"),
        ("[", "not YAML"),
    ],
)
def test_a_wrong_prompt_file_is_named(labels, tmp_path, text, message, capsys) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    assert generate(labels, tmp_path / "out", "--prompts", path, engine="diffusers") == 2
    error = capsys.readouterr().err
    assert str(path) in error and message in error and error.count("\n") == 1


@pytest.mark.parametrize(("engine", "library"), [("diffusers", "diffusers"), ("classical", "kornia")])
def test_a_missing_library_names_the_extra(labels, tmp_path, engine, library, monkeypatch, capsys) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    assert generate(labels, tmp_path, engine=engine) == 2
    assert "pip install 'hyperpose_ros[ecl]'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An InstructPix2Pix pipeline of a few thousand random weights, as a folder."""
    pytest.importorskip("diffusers", reason="diffusers is missing: pip install 'hyperpose_ros[ecl]'")
    pytest.importorskip("transformers", reason="transformers is missing: pip install 'hyperpose_ros[ecl]'")
    from tiny_instruct_pix2pix import save_tiny_pipeline

    return save_tiny_pipeline(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.yaml"
    path.write_text(
        "pipeline: {steps: 2, resolution: 64}\nconditions: {evening: make it evening, rain: let it rain}\n"
    )
    return path


def test_a_diffusion_pipeline_makes_variants(labels, tiny_pipeline, prompts, tmp_path) -> None:
    arguments = ["--weights", tiny_pipeline, "--prompts", prompts]
    assert generate(labels, tmp_path / "a", *arguments, engine="diffusers") == 0
    assert generate(labels, tmp_path / "b", *arguments, engine="diffusers") == 0
    images = contents(tmp_path / "a")
    assert images == contents(tmp_path / "b") and len(images) == 2 * 3
    made = open_dataset(tmp_path / "a" / "labels_conditions.csv")
    assert made.images[0].read().shape == made.images[-1].read().shape == (96, 128, 3)
    settings = json.loads((tmp_path / "a" / "ecl_settings.json").read_text())
    assert settings["conditions"] == {"evening": "make it evening", "rain": "let it rain"}
    assert settings["pipeline"]["steps"] == 2 and len(settings["weights_sha256"]) == 64
    assert settings["images_are"] == f"InstructPix2Pix, weights {tiny_pipeline}"


def test_prompt_source_and_seed_each_change_the_image(labels, tiny_pipeline, prompts) -> None:
    engine = open_engine("diffusers", load_conditions(prompts), str(tiny_pipeline), "cpu")
    first, second = (image.read() for image in open_dataset(labels, split="test").images)
    reference = engine.vary(first, "evening", 5)
    assert np.array_equal(engine.vary(first, "evening", 5), reference)
    for other in (
        engine.vary(second, "evening", 5),
        engine.vary(first, "rain", 5),
        engine.vary(first, "evening", 6),
    ):
        assert not np.array_equal(other, reference)
    assert engine.vary(first[:50, :33], "evening", 5).shape == (50, 33, 3)


def test_weights_that_run_code_or_are_missing_are_refused(
    labels, tiny_pipeline, prompts, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_pipeline, folder)
    tensors = folder / "text_encoder" / "model.safetensors"
    torch.save(load_file(tensors), tensors.with_name("pytorch_model.bin"))
    tensors.unlink()
    for weights, message in (
        (folder, "no file named model.safetensors"),
        (tmp_path / "nothing", "neither a folder nor a name on the hub"),
        (labels.parent, "no file named model_index.json"),
        ("nobody/nothing", "weights nobody/nothing: "),
    ):
        arguments = ["--weights", weights, "--prompts", prompts]
        assert generate(labels, tmp_path / "out", *arguments, engine="diffusers") == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("hyperpose: error: weights ") and message in error
    assert not (tmp_path / "out").exists()


def test_other_weights_under_the_same_path_are_noticed(
    labels, tiny_pipeline, prompts, tmp_path, capsys
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(tiny_pipeline, folder)
    arguments = ["--weights", folder, "--prompts", prompts]
    assert generate(labels, tmp_path / "out", *arguments, engine="diffusers") == 0
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"beta_start": 0.0001', '"beta_start": 0.0002'))
    assert generate(labels, tmp_path / "out", *arguments, engine="diffusers") == 2
    assert "made with other weights_sha256" in capsys.readouterr().err
