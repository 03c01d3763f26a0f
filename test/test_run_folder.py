"""A training's folder: who may write there, full disks, and files that were damaged meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import full_disk
from landmark_scene import Room, landmark_map, tour

from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.image_cache import ImageCache
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import lock_folder, replace_text, replacing
from hyperpose_core.images import Preprocessing
from hyperpose_core.training.run_folder import RunFolder

MEGABYTE = 1 << 20
BUILD = "map build --data-option camera=128,96,100,100,64,48".split()
RECIPE = """
model: posenet
model_options: {backbone: efficientnet_lite0, hidden_width: 16}
pretrained: false
resize: 64
crop: 64
batch_size: 4
epochs: 1
validation: {fraction: 0.3, block: 2}
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory, seven_scenes_folder: Path) -> list[str]:
    recipe = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    recipe.write_text(RECIPE)
    return ["train", "--data", str(seven_scenes_folder), "--recipe", str(recipe), "--device", "cpu"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main([*arguments, "--output", str(folder)]) == 0
    return folder


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hyperpose:")]
    assert len(error) == 1 and error[0].startswith("hyperpose: error: "), error
    return error[0]


def partial_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".partial" in path.name]


@contextmanager
def another_process(does: Callable[[], object], then: Callable[[], object] = lambda: None) -> Iterator[None]:
    """A process that has begun something and ends it afterwards."""
    has_begun, may_end = os.pipe(), os.pipe()
    if (process := os.fork()) == 0:
        code = 1
        try:
            does()
            os.write(has_begun[1], b"!")
            os.read(may_end[0], 1)
            then()
            code = 0
        finally:
            os._exit(code)
    os.close(has_begun[1])
    assert os.read(has_begun[0], 1) == b"!", "the other process has failed"
    try:
        yield
    finally:
        os.write(may_end[1], b"!")
        assert os.waitpid(process, 0)[1] == 0


def test_two_processes_do_not_train_into_one_folder(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_process(RunFolder(tmp_path / "run").claim):
        assert main([*arguments, "--output", str(tmp_path / "run")]) == 2
        assert "another training is at work there" in one_line(capsys)
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    folder = RunFolder(tmp_path / "run")
    folder.claim()
    folder.release()


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "poses.csv"
    path.write_text("before")
    writing = replacing(path)

    def begin() -> None:
        writing.__enter__().write(b"theirs")

    with another_process(begin, lambda: writing.__exit__(None, None, None)):
        with pytest.raises(HyperPoseError, match=f"^{path}: another process is writing it"):
            replace_text(path, "ours")
        assert path.read_text() == "before"
    assert path.read_text() == "theirs"
    replace_text(path, "ours")
    assert path.read_text() == "ours" and not partial_files(tmp_path)


@pytest.mark.parametrize("verb", ["simulate", "ecl", "map", "reconstruct"])
def test_two_processes_do_not_fill_one_folder(
    verb: str, seven_scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    data = str(seven_scenes_folder)
    arguments, locked = {
        "simulate": (["simulate", output], output),
        "ecl": (["ecl", "generate", "--data", data, "--output", output, "--engine", "classical"], output),
        "map": ([*BUILD, "--data", data, "--output", tmp_path / "a.map"], tmp_path / "a.map.work"),
        "reconstruct": (["reconstruct", data, "--output", output], output),
    }[verb]
    # What each of them leaves in its folder before anything else.
    (output / "work").mkdir(parents=True)
    (output / "simulation.json").write_text("{}")
    with another_process(lambda: lock_folder(locked, "piece of work")):
        assert main([str(word) for word in arguments]) == 2
        assert "is at work there; wait for its end" in one_line(capsys)


def test_an_output_that_is_a_file_and_an_impossible_seed_are_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("precious")
    for output in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        assert main([*arguments, "--output", str(output)]) == 2
        assert str(output) in one_line(capsys)
    assert (tmp_path / "file").read_text() == "precious"
    for seed in ("-1", str(10**30)):
        assert main([*arguments, "--output", str(tmp_path / "run"), f"--seed={seed}"]) == 2
        assert f"seed {seed}" in one_line(capsys)


@pytest.mark.parametrize(("room", "culprit"), [(100_000, "images.npy"), (20 * MEGABYTE, "training_state.pt")])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    room: int, culprit: str, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with full_disk(room):
        assert main([*arguments, "--output", str(tmp_path / "run")]) == 2
    assert culprit in one_line(capsys)
    assert not partial_files(tmp_path)


def test_commands_that_write_leave_the_old_file_where_the_disk_is_full(
    tiny_checkpoint: Path,
    room_map: Path,
    seven_scenes_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = next(seven_scenes_folder.rglob("*.png"))
    names = ("small.safetensors", "network.onnx", "poses.csv", "landmarks.ply", "map.png")
    files = [tmp_path / name for name in names]
    for path in files:
        path.write_text("precious")
    cases = (
        ["compress", tiny_checkpoint, "--method", "bfloat16", "--output", files[0]],
        ["export", tiny_checkpoint, "--output", files[1], "--images", 1, "--force"],
        ["predict", tiny_checkpoint, image, "--csv", files[2]],
        ["map", "export", room_map, "--output", tmp_path],
        ["map", "view", room_map, "--output", files[4]],
        [*BUILD, "--data", seven_scenes_folder, "--output", tmp_path / "a.map"],
        ["reconstruct", seven_scenes_folder, "--output", tmp_path / "place"],
        [
            "ecl",
            "generate",
            "--data",
            seven_scenes_folder,
            "--engine",
            "classical",
            "--output",
            tmp_path / "ecl",
        ],
        ["simulate", tmp_path / "town"],
        ["dataset", "check", seven_scenes_folder, "--output", tmp_path / "check"],
    )
    for case in cases:
        with full_disk(16):
            assert main([str(word) for word in case]) == 2, case
        assert "File too large" in one_line(capsys)
    assert [path.read_text() for path in files] == ["precious"] * len(files)
    assert not partial_files(tmp_path)


NOWHERE = Path("/proc/nowhere")
"""Where nobody may make anything, root included: as on a disk that is mounted to be read only."""


@pytest.fixture(scope="module")
def room_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "room.map"
    landmark_map({"room": Room(3)}, tour(4)).save(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        "train --data {data} --output {nowhere} --no-pretrained",
        "evaluate {checkpoint} --data {data} --output {nowhere}",
        "predict {checkpoint} {image} --csv {nowhere}/poses.csv",
        "compress {checkpoint} --method bfloat16 --output {nowhere}/small.safetensors",
        "export {checkpoint} --output {nowhere}/network.onnx --images 1",
        f"{' '.join(BUILD)} --data {{data}} --output {{nowhere}}/a.map",
        "map export {map} --output {nowhere}",
        "map view {map} --output {nowhere}/a.png",
        "reconstruct {data} --output {nowhere}",
        "simulate {nowhere}",
        "dataset check {data} --output {nowhere}",
        "ecl generate --data {data} --engine classical --output {nowhere}",
    ],
    ids=lambda command: "_".join(word for word in command.split()[:2] if word.isalpha()),
)
def test_an_output_that_cannot_be_written_is_one_line(
    command: str,
    tiny_checkpoint: Path,
    room_map: Path,
    seven_scenes_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = command.format(
        data=seven_scenes_folder,
        checkpoint=tiny_checkpoint,
        image=next(seven_scenes_folder.rglob("*.png")),
        map=room_map,
        nowhere=NOWHERE,
    )
    assert main(words.split()) == 2
    assert str(NOWHERE) in one_line(capsys)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def other_state(path: Path) -> None:
    torch.save({"epochs": "many"}, path)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no recipe": ("recipe.yaml", Path.unlink),
    "recipe": ("recipe.yaml", lambda path: path.write_bytes(b"\xff[}")),
    "other recipe": ("recipe.yaml", lambda path: path.write_text("- 1")),
    "history": ("history.csv", lambda path: path.write_text("epoch,stage\none,1\n")),
    "history's columns": ("history.csv", lambda path: path.write_text("a,b\n1,2,3\n")),
    "history's bytes": ("history.csv", lambda path: path.write_bytes(b"epoch\n\xff\x00")),
    "state": ("training_state.pt", lambda path: path.write_bytes(path.read_bytes()[:1000])),
    "state's bytes": ("training_state.pt", lambda path: path.write_bytes(b"hello")),
    "other state": ("training_state.pt", other_state),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_not_resumed_but_named(
    name: str, finished: Path, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    file, damage = DAMAGES[name]
    damage(folder / file)
    assert main([*arguments, "--output", str(folder), "--resume"]) == 2
    assert str(folder / file) in one_line(capsys)


def test_decoded_images_that_were_damaged_are_decoded_again(
    seven_scenes_folder: Path, tmp_path: Path
) -> None:
    images = open_dataset(seven_scenes_folder).images
    preprocessing = Preprocessing(resize=32, crop=32)
    whole = ImageCache(images, preprocessing, tmp_path).batch(range(len(images)))
    file = tmp_path / "images.npy"
    for damage in (flip, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\x93NUMPY")):
        damage(file)
        assert torch.equal(ImageCache(images, preprocessing, tmp_path).batch(range(len(images))), whole)
    written = file.stat().st_mtime_ns
    ImageCache(images, preprocessing, tmp_path)
    assert file.stat().st_mtime_ns == written, "decoded without need"
