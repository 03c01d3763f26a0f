"""Training on real files: recipes, held-out blocks, augmentation's geometry, resuming."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import experiment_helpers
import numpy as np
import pytest
import torch
from conftest import draw_image

from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.datasets import CameraModel, PosedImage, open_dataset
from hyperpose_core.datasets.image_cache import ImageCache
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.poses import Pose, quaternion_to_matrix, rotation_vector_to_quaternion
from hyperpose_core.images import Preprocessing
from hyperpose_core.losses import PoseLoss, orientation_loss
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.training.augmentation import Augmenter, random_numbers
from hyperpose_core.training.distributed import ProcessGroup
from hyperpose_core.training.recipe import Augmentation, ValidationRecipe, load_recipe, recipe_folder
from hyperpose_core.training.report import write_training_report
from hyperpose_core.training.run_folder import RunFolder, read_identity
from hyperpose_core.training.samples import Samples, epoch_generator
from hyperpose_core.training.split import split_blocks
from hyperpose_core.training.trainer import Trainer


def write_recipe(folder: Path, **changes: object) -> str:
    return str(experiment_helpers.write_recipe(folder, **{"epochs": 3, **changes}))


def test_every_shipped_recipe_is_valid() -> None:
    names = [path.stem for path in recipe_folder().glob("*.yaml")]
    assert "small_data" in names
    for name in names:
        load_recipe(name)


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"batchsize": 8}, "batchsize"),
        ({"batch_size": "eight"}, "batch_size.*'eight'"),
        ({"epochs": 0}, "epochs.*greater than 0"),
        ({"resize": [256, 9, 341]}, r"resize.*\[height, width\].*\[256, 9, 341\]"),
        ({"resize": []}, r"resize.*\[height, width\]"),
        ({"resize": 0}, "resize.*shorter side"),
        ({"crop": 0}, "crop.*greater than 0"),
        ({"schedule": {"kind": "cosine"}}, "schedule.kind.*'step' or 'one_cycle'"),
        ({"loss": {"orientation": "acos"}}, "loss.orientation"),
        ({"resize": [48, 64], "crop": 224}, "crop 224"),
        ({"model": "posenet2"}, "posenet2"),
        ({"model_options": {"wings": 2}}, "wings"),
    ],
)
def test_a_wrong_recipe_names_the_key(
    tmp_path: Path, seven_scenes_folder: Path, changes, culprit: str
) -> None:
    with pytest.raises(HyperPoseError, match=culprit):
        recipe = load_recipe(write_recipe(tmp_path, **changes))
        Trainer(recipe, open_dataset(seven_scenes_folder, split="train"), tmp_path / "run", "cpu")


def test_held_out_frames_are_whole_blocks_spread_over_each_sequence() -> None:
    records = tuple(
        PosedImage(Path(f"{sequence}/{frame}"), Pose.identity(), scene="s", sequence=sequence)
        for sequence in ("a", "b")
        for frame in range(100)
    )
    training, validation = split_blocks(records, ValidationRecipe(fraction=0.2, block=10))
    assert sorted(training + validation) == list(range(200))
    assert len(validation) == 40
    starts = [index for index in validation if index - 1 not in validation]
    assert all(set(range(start, start + 10)) <= set(validation) for start in starts)
    assert {start // 100 for start in starts} == {0, 1}
    assert not {start % 100 for start in starts if start < 100} & {
        start % 100 for start in starts if start >= 100
    }
    assert split_blocks(records, ValidationRecipe(fraction=0.0))[1] == []


def test_a_virtual_turn_moves_pixels_as_a_turned_camera_sees_them() -> None:
    """A world point projects, through the turned label, to where its bright pixel went."""
    camera = CameraModel(200, 150, 160.0, 150.0, 99.0, 75.0)
    image = torch.zeros(1, 3, 150, 200, dtype=torch.uint8)
    image[:, :, 60:63, 120:123] = 255
    orientation = rotation_vector_to_quaternion([0.4, -1.0, 0.2])
    ray = np.array([(121 - 99) / 160, (61 - 75) / 150, 1.0])
    world_ray = quaternion_to_matrix(orientation) @ ray
    still = {"random_crop": False, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    augmenter = Augmenter(Augmentation(virtual_rotation_deg=8.0, **still), None, camera)
    moves = []
    for seed in range(10):
        turned, label = augmenter(image, torch.from_numpy(orientation)[None], random_numbers(seed, 0, [3]))
        rows, columns = np.nonzero(turned[0, 0].numpy() > 120)
        in_camera = quaternion_to_matrix(label[0].numpy()).T @ world_ray
        expected = [160 * in_camera[0] / in_camera[2] + 99, 150 * in_camera[1] / in_camera[2] + 75]
        np.testing.assert_allclose([columns.mean(), rows.mean()], expected, atol=0.7)
        moves.append(np.hypot(expected[0] - 121, expected[1] - 61))
    assert max(moves) > 10


def test_the_crop_is_seeded_and_colours_change_within_bounds() -> None:
    images = torch.stack([torch.from_numpy(draw_image(seed, 64, 80)).permute(2, 0, 1) for seed in range(3)])
    orientations = torch.tensor([[1.0, 0, 0, 0]] * 3)
    augmenter = Augmenter(Augmentation(), 48, None)
    first, labels = augmenter(images, orientations, random_numbers(1, 0, [4, 5, 6]))
    again, _ = augmenter(images, orientations, random_numbers(1, 0, [4, 5, 6]))
    other, _ = augmenter(images, orientations, random_numbers(1, 1, [4, 5, 6]))
    alone, _ = augmenter(images[1:2], orientations[1:2], random_numbers(1, 0, [5]))
    assert first.shape == (3, 3, 48, 48)
    assert torch.equal(first, again)
    assert torch.allclose(first[1:2], alone, atol=1e-3)
    assert not torch.equal(first, other)
    assert torch.equal(labels, orientations)
    assert first.min() >= 0
    assert first.max() <= 255


def test_the_hemisphere_loss_does_not_see_the_sign_and_the_papers_does() -> None:
    q = torch.tensor([[0.6, 0.0, 0.8, 0.0]])
    assert orientation_loss(-3 * q, q, "hemisphere") == pytest.approx(0, abs=1e-6)
    assert orientation_loss(-3 * q, q, "paper") == pytest.approx(2)


def test_the_learned_weighting_is_the_papers() -> None:
    loss = PoseLoss(orientation_kind="paper", position_weight=0.5, orientation_weight=-2.0)
    output = PoseOutput(
        torch.tensor([[3.0, 4, 0]]), torch.tensor([[0.0, 2, 0, 0]]), torch.log(torch.tensor([[0.2, 0.8]]))
    )
    terms = loss(output, torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([1]))
    expected = 5 * np.exp(-0.5) + 0.5 + np.sqrt(2) * np.exp(2.0) - 2.0 - np.log(0.8)
    assert terms["total"].item() == pytest.approx(expected, rel=1e-6)


def test_an_interrupted_run_resumes_to_the_same_weights(
    tmp_path: Path, seven_scenes_folder: Path, monkeypatch
) -> None:
    data = open_dataset(seven_scenes_folder, split="train")
    recipe = load_recipe(write_recipe(tmp_path))
    whole = load_checkpoint(
        Trainer(recipe, data, tmp_path / "whole", "cpu", seed=5).run().with_name("last.safetensors")
    )

    class Killed(BaseException):
        pass

    interrupted = Trainer(recipe, data, tmp_path / "parts", "cpu", seed=5)
    train_on, steps = interrupted._train_on, []

    def killed_in_the_second_epoch(*arguments):
        steps.append(arguments)
        if len(steps) == 5:
            raise Killed
        return train_on(*arguments)

    monkeypatch.setattr(interrupted, "_train_on", killed_in_the_second_epoch)
    with pytest.raises(Killed):
        interrupted.run()
    with pytest.raises(HyperPoseError, match="--resume"):
        Trainer(recipe, data, tmp_path / "parts", "cpu", seed=5).run()
    with pytest.raises(HyperPoseError, match="another recipe, seed or data"):
        Trainer(recipe, data, tmp_path / "parts", "cpu", seed=6).run(resume=True)
    shorter = replace(data, images=data.images[:-1])
    with pytest.raises(HyperPoseError, match="another recipe, seed or data"):
        Trainer(recipe, shorter, tmp_path / "parts", "cpu", seed=5).run(resume=True)
    resumed = Trainer(recipe, data, tmp_path / "parts", "cpu", seed=5).run(resume=True)
    parts = load_checkpoint(resumed.with_name("last.safetensors"))
    assert all(torch.equal(parts.state[name], tensor) for name, tensor in whole.state.items())
    history_file = tmp_path / "parts" / "history.csv"
    history = history_file.read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3"]
    assert list((tmp_path / "parts" / "tensorboard").iterdir())
    # A kill between two writes leaves history beyond the state; of several processes the first one mends it.
    history_file.write_text("\n".join([*history, history[-1].replace("3", "4", 1)]) + "\n")
    folder, device = RunFolder(tmp_path / "parts"), torch.device("cpu")
    identity = read_identity(folder.path)
    assert folder.state(identity, device) is not None
    assert len(folder.history()) == 4
    assert folder.open(identity, True, device) is not None
    assert len(folder.history()) == 3


def test_a_changed_image_is_decoded_again(tmp_path: Path, seven_scenes_folder: Path) -> None:
    path = tmp_path / "a.png"
    records = [PosedImage(path, Pose.identity(), scene="s")]
    preprocessing = Preprocessing(resize=(32, 32), crop=None)
    cv2.imwrite(str(path), np.full((32, 32, 3), 10, dtype=np.uint8))
    assert ImageCache(records, preprocessing, tmp_path / "cache").batch([0]).unique().tolist() == [10]
    cv2.imwrite(str(path), np.full((40, 40, 3), 200, dtype=np.uint8))
    assert ImageCache(records, preprocessing, tmp_path / "cache").batch([0]).unique().tolist() == [200]
    path.write_bytes(b"broken")
    with pytest.raises(HyperPoseError, match=r"a\.png"):
        ImageCache(records, preprocessing, tmp_path / "cache")


def test_training_data_without_intrinsics_says_what_a_virtual_turn_needs(
    tmp_path: Path, seven_scenes_folder: Path
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, augmentation={"virtual_rotation_deg": 5.0}))
    with pytest.raises(HyperPoseError, match="camera=WIDTH,HEIGHT"):
        Trainer(recipe, open_dataset(seven_scenes_folder, split="train"), tmp_path / "run", "cpu")


@pytest.mark.parametrize("trains", ["position", "orientation"])
def test_a_stage_changes_only_its_branch(tmp_path: Path, seven_scenes_folder: Path, trains: str) -> None:
    """Every tensor is looked at: parameters, batch-norm statistics and counters."""
    data = open_dataset(seven_scenes_folder, split="train")
    first = [{"trains": "everything"}]
    runs = {}
    for name, stages in (("first", first), ("both", [*first, {"trains": trains}])):
        recipe = load_recipe(write_recipe(tmp_path, epochs=1, stages=stages))
        trainer = Trainer(recipe, data, tmp_path / name, "cpu")
        trainer.run()
        runs[name] = trainer.network.state_dict()
    changed = {name for name, tensor in runs["both"].items() if not torch.equal(tensor, runs["first"][name])}
    assert changed
    assert {trainer.network.part_of(name) for name in changed} == {f"{trains}_head", f"{trains}_hypernetwork"}
    head = {name for name in runs["both"] if trainer.network.part_of(name) in {f"{trains}_head"}}
    assert head <= changed


def test_a_frozen_backbone_keeps_its_first_layers_and_their_statistics(
    tmp_path: Path, seven_scenes_folder: Path
) -> None:
    recipe = load_recipe(write_recipe(tmp_path, epochs=1, frozen_backbone_stride=8))
    data = open_dataset(seven_scenes_folder, split="train")
    before = Trainer(recipe, data, tmp_path / "before", "cpu").network.state_dict()
    trainer = Trainer(recipe, data, tmp_path / "run", "cpu")
    trainer.run()
    changed = {
        name for name, tensor in trainer.network.state_dict().items() if not torch.equal(tensor, before[name])
    }
    layers = {int(name.split(".")[2]) for name in changed if name.startswith("backbone.")}
    assert layers == {4, 5, 6, 7, 8}


def test_balanced_scenes_are_drawn_equally_often(tmp_path: Path) -> None:
    rows = [
        f"{'large' if frame >= 4 else 'small'},train,seq1,{frame}.png,0,0,0,1,0,0,0" for frame in range(40)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4", *rows]))
    for frame in range(40):
        cv2.imwrite(str(tmp_path / f"{frame}.png"), draw_image(frame, 48, 64))
    recipe = load_recipe(write_recipe(tmp_path, balance_scenes=True, validation={"fraction": 0.0}))
    samples = Samples(
        open_dataset(tmp_path / "labels.csv"), recipe, Preprocessing((48, 64), None), tmp_path / "cache"
    )
    orders = [samples.epoch_order(epoch_generator(3, epoch)) for epoch in range(50)]
    small = sum(index < 4 for order in orders for index in order)
    assert 0.45 < small / (50 * 40) < 0.55
    assert orders[0] == samples.epoch_order(epoch_generator(3, 0)) != orders[1]


def test_a_batch_whose_loss_is_not_finite_is_named_and_stops_or_is_skipped(
    tmp_path: Path, seven_scenes_folder: Path, capsys
) -> None:
    data = open_dataset(seven_scenes_folder, split="train")
    for policy in ("stop", "skip"):
        trainer = Trainer(
            load_recipe(write_recipe(tmp_path, epochs=1, on_bad_batch=policy)), data, tmp_path / policy, "cpu"
        )
        with torch.no_grad():
            trainer.network.position_head.bias.fill_(float("nan"))
        before = trainer.network.orientation_head.weight.clone()
        if policy == "stop":
            with pytest.raises(HyperPoseError, match=r"not finite on a batch of .*frame-.*color\.png"):
                trainer.run()
        else:
            trainer.run()
            assert "skipped: the loss is not finite" in capsys.readouterr().out
            assert torch.equal(trainer.network.orientation_head.weight, before)


def test_answers_that_are_not_finite_are_the_worst_and_end_no_training(
    tmp_path: Path, seven_scenes_folder: Path
) -> None:
    """A network that is broken from the second epoch on, in either half of its answer, and then mended."""
    data = open_dataset(seven_scenes_folder, split="train")
    recipe = load_recipe(write_recipe(tmp_path, on_bad_batch="skip"))
    for head in ("position_head", "orientation_head"):
        trainer = Trainer(recipe, data, tmp_path / head, "cpu")
        finish, whole = trainer._finish_epoch, {}

        def broken(epoch, *arguments, trainer=trainer, finish=finish, whole=whole, head=head):
            weights = getattr(trainer.network, head).bias
            with torch.no_grad():
                if epoch == 1:
                    whole["bias"] = weights.clone()
                    weights.fill_(float("nan"))
                finish(epoch, *arguments)
                weights.copy_(whole.get("bias", weights))

        trainer._finish_epoch = broken
        trainer.run()
        history = RunFolder(tmp_path / head).history()
        assert [np.isinf(result.position_median_m) for result in history] == [False, True, False]
        assert [np.isinf(result.orientation_median_deg) for result in history] == [False, True, False]
        scale = trainer._samples.normalisation.scale
        scores = [r.position_median_m / scale + np.radians(r.orientation_median_deg) for r in history]
        chosen = load_checkpoint(tmp_path / head / "best.safetensors").training["epochs"]
        assert chosen == int(np.argmin(scores)) + 1
        assert "<td>inf</td>" in write_training_report(tmp_path / head).read_text()


def test_a_left_over_batch_smaller_than_the_processes_leaves_none_without_work() -> None:
    """Every process takes a step, and the weighted mean of their losses is the batch's mean."""
    for batch in ([7.0, 4.0], [7.0, 4.0, 1.0], [7.0, 4.0, 1.0, 2.0]):
        processes = [ProcessGroup(rank, 3) for rank in range(3)]
        shares = [process.share(batch) for process in processes]
        assert all(shares)
        means = [
            process.weight(batch) * np.mean(share) for process, share in zip(processes, shares, strict=True)
        ]
        assert np.mean(means) == pytest.approx(np.mean(batch))


def test_a_recipe_takes_the_keys_of_all_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: calibrated\nepochs: 3\n")
    recipe = load_recipe(str(tmp_path / "mine.yaml"))
    assert recipe.epochs == 3
    assert recipe.validation == ValidationRecipe(fraction=0.2, block=50)  # of calibrated
    assert recipe.model_options["dropout"] == 0.0  # of accurate, which calibrated extends
    assert recipe.augmentation.virtual_rotation_deg == 9.0  # of virtual_turns, which accurate extends
    assert recipe.optimizer == "adamw"  # of small_data, which they all extend


ONE_OF_SEVERAL = """
import sys
from pathlib import Path
from hyperpose_core.datasets import open_dataset
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.trainer import Trainer

Trainer(load_recipe(sys.argv[1]), open_dataset(sys.argv[2], split="train"), Path(sys.argv[3]), "cpu").run()
"""


def test_three_processes_match_one(tmp_path: Path, seven_scenes_folder: Path) -> None:
    """gloo on the CPU, batch norm and dropout frozen by training one branch: equal after 10 steps.

    Every second batch is one of two images.
    """
    recipe = write_recipe(
        tmp_path,
        epochs=5,
        batch_size=7,
        stages=[{"trains": "position"}],
        validation={"fraction": 0.3, "block": 3},
        optimizer="adam",
        epsilon=1e-4,
    )
    script = tmp_path / "train.py"
    script.write_text(ONE_OF_SEVERAL)
    arguments = [str(script), recipe, str(seven_scenes_folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments, str(tmp_path / "one")], check=True, env=environment)
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=3",
        "--master-port=0",
        "--standalone",
    ]
    subprocess.run([*launcher, *arguments, str(tmp_path / "three")], check=True, env=environment)
    one, three = (load_checkpoint(tmp_path / name / "last.safetensors").state for name in ("one", "three"))
    start = Trainer(
        load_recipe(recipe), open_dataset(seven_scenes_folder, split="train"), tmp_path / "start", "cpu"
    ).network.state_dict()
    assert not torch.equal(one["position_head.weight"], start["position_head.weight"])
    for name, tensor in one.items():
        torch.testing.assert_close(three[name], tensor, atol=1e-5, rtol=0, msg=name)
