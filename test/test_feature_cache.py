"""Features of frozen layers that are kept on disk instead of being computed in every epoch."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import experiment_helpers
import pytest
import torch
from torch import Tensor

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.datasets import open_dataset
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.trainer import Trainer

STILL = {"random_crop": False, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
BRANCHES = [{"trains": "position"}, {"trains": "orientation"}]
MULTI_SCENE = {
    "backbone": "efficientnet_lite0",
    "position_layers": [1, 1],
    "orientation_layers": [1, 1],
    "width": 32,
    "feed_forward_width": 32,
    "head_width": 32,
    "generator_width": 8,
    "position_generated_widths": [8, 8],
    "orientation_generated_widths": [8, 8],
}


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads sum in another order in batches of another size, which a random network blows up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trainer_of(folder: Path, data: Path, name: str, **changes: object) -> Trainer:
    """A run without augmentation; Adam's epsilon keeps rounding in tiny gradients from growing."""
    recipe = {"epochs": 3, "augmentation": STILL, "optimizer": "adam", "epsilon": 1e-4, **changes}
    file = experiment_helpers.write_recipe(folder, **recipe)
    return Trainer(load_recipe(str(file)), open_dataset(data, split="train"), folder / name, "cpu", seed=4)


def first_layer_runs(trainer: Trainer) -> list[int]:
    """The batch sizes with which the backbone's first layer will have run in training."""
    runs: list[int] = []

    def note(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        runs.append(len(inputs[0]))

    trainer.network.backbone.features[0].register_forward_pre_hook(note)
    return runs


@pytest.mark.parametrize(
    "changes",
    [
        {"frozen_backbone_stride": 8},
        {"frozen_backbone_stride": 16, "precision": "bfloat16"},
        {"stages": BRANCHES},
        {"stages": BRANCHES, "model": "mshyperpose", "model_options": MULTI_SCENE},
    ],
    ids=["stride 8", "stride 16, bfloat16", "branches", "multi-scene branches"],
)
def test_weights_are_those_of_a_run_that_keeps_no_features(
    tmp_path: Path, seven_scenes_folder: Path, changes: dict[str, object]
) -> None:
    kept = trainer_of(tmp_path, seven_scenes_folder, "kept", **changes)
    computed = trainer_of(tmp_path, seven_scenes_folder, "computed", feature_variants=0, **changes)
    kept_runs, computed_runs = first_layer_runs(kept), first_layer_runs(computed)
    kept.run()
    computed.run()
    assert sum(kept_runs) < sum(computed_runs)
    expected = computed.network.state_dict()
    for name, tensor in kept.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=0, msg=name)


def test_a_run_that_keeps_features_resumes_to_the_same_weights(
    tmp_path: Path, seven_scenes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"augmentation": {}, "feature_variants": 2, "stages": BRANCHES, "epochs": 3}
    whole = trainer_of(tmp_path, seven_scenes_folder, "whole", **changes)
    runs = first_layer_runs(whole)
    whole.run()
    training, held_out = len(whole._samples.training), len(whole._samples.validation)
    # Both stages read the same features; after each epoch the held-out frames go through the whole network.
    assert sum(runs) == 2 * training + 6 * held_out

    interrupted = trainer_of(tmp_path, seven_scenes_folder, "parts", **changes)
    train_on, steps = interrupted._train_on, []

    def killed_in_the_fifth_epoch(*arguments):
        steps.append(arguments)
        if len(steps) == 12:
            raise Killed
        return train_on(*arguments)

    monkeypatch.setattr(interrupted, "_train_on", killed_in_the_fifth_epoch)
    with pytest.raises(Killed):
        interrupted.run()
    trainer_of(tmp_path, seven_scenes_folder, "parts", **changes).run(resume=True)
    expected, found = (load_checkpoint(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(found.state[name], tensor) for name, tensor in expected.state.items())
    assert not (tmp_path / "parts" / "cache" / "features").exists()


def test_features_of_another_network_are_not_taken(
    tmp_path: Path, seven_scenes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run leaves its features where it was interrupted; another start must not read them."""
    settings = {"frozen_backbone_stride": 8}
    first = trainer_of(tmp_path, seven_scenes_folder, "run", **settings)

    def killed_in_the_first_epoch(*_):
        raise Killed

    monkeypatch.setattr(first, "_run_epoch", killed_in_the_first_epoch)
    with pytest.raises(Killed):
        first.run()
    left = (tmp_path / "run" / "cache" / "features" / "0.bin").read_bytes()
    second = trainer_of(tmp_path, seven_scenes_folder, "run", **settings)
    with torch.no_grad():
        second.network.backbone.features[0][0].weight.mul_(1.5)
    monkeypatch.setattr(second, "_run_epoch", killed_in_the_first_epoch)
    with pytest.raises(Killed):
        second.run()
    assert (tmp_path / "run" / "cache" / "features" / "0.bin").read_bytes() != left


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_variants": 2, "augmentation": {}}, "feature_variants: 2 .*no stage freezes any"),
        ({"feature_variants": 2, "frozen_backbone_stride": 8}, "varies nothing"),
        ({"feature_variants": -1}, "feature_variants.*greater than or equal to 0"),
    ],
)
def test_a_number_of_variants_that_makes_no_sense_is_refused(
    tmp_path: Path, seven_scenes_folder: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(HyperPoseError, match=message):
        trainer_of(tmp_path, seven_scenes_folder, "run", **changes)


def test_a_full_disk_is_named_with_what_would_be_needed(
    tmp_path: Path, seven_scenes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tmp_path, seven_scenes_folder, "run", frozen_backbone_stride=8)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(HyperPoseError, match=r"9 images in 1 variants take 0\.00 GB.*feature_variants: 0"):
        trainer.run()
