"""Files that are damaged or hostile: one line, whatever reads them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import PROJECT_ROOT, draw_image

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.checkpoint.tensor_file import read_tensor_file, write_tensor_file
from hyperpose_core.cli.main import main
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import decode_image
from hyperpose_core.landmarks import map_file


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".ppm", ".pgm", ".tiff", ".webp"])
def test_every_format_that_is_named_is_read(suffix: str) -> None:
    image = draw_image(2, 30, 50)
    shown = (
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if suffix == ".pgm"
        else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    )
    found = decode_image(cv2.imencode(suffix, shown)[1].tobytes(), "drawn")
    assert found.shape == (30, 50, 3)
    if suffix in (".png", ".bmp", ".ppm", ".tiff"):
        np.testing.assert_array_equal(found, image)


RECIPES = {
    "recursive": b"stages: &a [*a]\n",
    "date": b"epochs: 2024-01-01\n",
    "deep": b"stages: " + b"[" * 5000 + b"]" * 5000,
    "deep mapping": b"".join(b" " * level + b"a:\n" for level in range(300)),
    "huge number": b"epochs: " + b"9" * 6000,
    "huge float": b"learning_rate: 1e999\n",
    "not a number": b"learning_rate: .nan\n",
    "keys": b"? [a, b]\n: 1\n",
    "mapping as key": b"? {a: b}\n: 1\n",
    "not text": b"\xff\xfe\x00epochs",
    "control": b"epochs: \x07\n",
    "binary": b"epochs: !!binary aGVsbG8=\n",
    "python": b"epochs: !!python/object/apply:os.system [ls]\n",
    "list": b"- 1\n",
    "empty": b"",
    "bad base 60": b"epochs: 1:99:99\nlearning_rate: [\n",
    "bad date": b"epochs: 2024-99-99\n",
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_bad_recipe_is_one_line(
    name: str, seven_scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(RECIPES[name])
    output = tmp_path / "run"
    arguments = ["--data", str(seven_scenes_folder), "--output", str(output), "--recipe", str(recipe)]
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hyperpose: error: {recipe}") and error.count("\n") == 1, error
    assert len(error) < 1000 and not output.exists()


def rewritten(source: Path, target: Path, change: Callable[[str], str]) -> Path:
    """A checkpoint whose document was changed by another program."""
    tensors, metadata = read_tensor_file(source)
    with target.open("wb") as stream:
        write_tensor_file(stream, tensors, {**metadata, "hyperpose": change(metadata["hyperpose"])})
    return target


def with_value(document: str, path: str, value: str) -> str:
    """Put raw JSON text in the place of a value."""
    content = json.loads(document)
    *parents, last = path.split(".")
    inner = content
    for parent in parents:
        inner = inner[parent]
    inner[last] = "PLACE"
    return json.dumps(content).replace('"PLACE"', value)


DOCUMENTS = {
    "deep": ("training.recipe", "[" * 100_000 + "]" * 100_000),
    "digits": ("training.seed", "9" * 10_000),
    "infinity": ("normalisation.scale", "Infinity"),
    "zero scale": ("normalisation.scale", "0"),
    "overflow": ("normalisation.scale", "1" + "0" * 400),
    "not a number": ("normalisation.mean", "[[NaN, 0, 0]]"),
    "mean of 2": ("normalisation.mean", "[[0, 0]]"),
    "means of 6": ("normalisation.mean", "[[0, 0, 0], [0, 0, 0]]"),
    "surrogate": ("scenes", '["\\ud800"]'),
    "scenes": ("scenes", '"toyroom"'),
    "nul": ("architecture", '"hyper\\u0000pose"'),
    "resize": ("preprocessing.resize", "100000000"),
    "resize text": ("preprocessing.resize", '"many"'),
    "no deviation": ("preprocessing.std", "[0, 1, 1]"),
    "two means": ("preprocessing.mean", "[0.5, 0.5]"),
    "camera": ("camera", '{"width": 1e30, "height": 3}'),
    "large camera": (
        "camera",
        '{"width": 2000000, "height": 2000000, "fx": 1, "fy": 1, "cx": 0, "cy": 0, "distortion": []}',
    ),
    "options": ("options.hidden_width", "-1"),
    "too large an option": ("options.dropout", "1" + "0" * 400),
    "origin": ("world.origin", "[1, 2]"),
    "no origin": ("world.origin", "null"),
    "far origin": ("world.origin", "[1e400, 0, 0]"),
    "covariance": ("uncertainty.covariance", '"none"'),
    "null": ("preprocessing", "null"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_checkpoint_that_says_something_impossible_is_one_line(
    name: str, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewritten(
        tiny_checkpoint, tmp_path / "bad.safetensors", lambda text: with_value(text, *DOCUMENTS[name])
    )
    photograph = tmp_path / "photograph.png"
    cv2.imwrite(str(photograph), draw_image(1))
    assert main(["predict", str(path), str(photograph)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hyperpose: error: {path}: ") and error.count("\n") == 1, error
    assert len(error) < 1000 and "checksum" not in error


def test_what_was_loaded_does_not_depend_on_its_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint, landmarks = tmp_path / "network.safetensors", tmp_path / "kitchen.map"
    checkpoint.write_bytes(tiny_checkpoint.read_bytes())
    map_file.write(landmarks, {"points": np.ones((100_000, 3))}, {}, 1)
    state, (arrays, _) = load_checkpoint(checkpoint).state, map_file.read(landmarks, 1)
    sums = [float(tensor.double().sum()) for tensor in state.values()]
    for content in (bytes(checkpoint.stat().st_size), b""):
        for path in (checkpoint, landmarks):
            with path.open("r+b") as stream:  # in place, as cp and scp write
                stream.write(content)
                stream.truncate()
        assert [float(tensor.double().sum()) for tensor in state.values()] == sums
        assert arrays["points"].sum() == 300_000


def test_a_name_that_is_none_is_one_line(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nul\0.png", "half\ud800.png", "x" * 5000, "photo\x1b[31m.png"):
        assert main(["predict", str(tiny_checkpoint), name]) == 2
        error = capsys.readouterr().err
        assert error.startswith("hyperpose: error: ") and error.count("\n") == 1 and error[:-1].isprintable()
    for name in ("", ".", "..", "/", "nul\0.csv", "half\ud800.csv"):
        assert main(["compress", str(tiny_checkpoint), "--method", "bfloat16", "--output", name]) == 2
        error = capsys.readouterr().err
        assert error.startswith("hyperpose: error: ") and error.count("\n") == 1 and error[:-1].isprintable()


def test_control_characters_of_a_file_do_not_reach_the_terminal(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from hyperpose_core.geometry.world import World

    known = load_checkpoint(tiny_checkpoint)
    hostile = "\x1b]0;owned\x07\x9b31m\u202egnp"
    path = tmp_path / "hostile.safetensors"
    save_checkpoint(
        path, replace(known, scenes=(hostile,), world=World(hostile), training={hostile: hostile})
    )
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07\\x9b31m\\u202egnp" in told
    assert all(character.isprintable() or character in "\n\t" for character in told)


def test_an_interrupt_while_modules_are_imported_is_one_line(tiny_checkpoint: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "hyperpose_core", "predict", str(tiny_checkpoint), "x.png"],
        stderr=subprocess.PIPE,
        cwd=PROJECT_ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr is not None
        maps = Path(f"/proc/{process.pid}/maps")
        # The first of torch's libraries is loaded: seconds of importing are still to come.
        while "libtorch" not in maps.read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"hyperpose: interrupted\n"
    assert process.returncode == 130


def test_who_stops_reading_gets_no_complaint(tiny_checkpoint: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "hyperpose_core", "info", str(tiny_checkpoint)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT_ROOT,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_partial_file_that_links_elsewhere_is_not_written_through(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    path = tmp_path / "new.safetensors"
    path.with_name("new.safetensors.partial").symlink_to(precious)
    save_checkpoint(path, load_checkpoint(tiny_checkpoint))
    assert precious.read_text() == "keep me"
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["new.safetensors", "precious"]
    with pytest.raises(HyperPoseError, match="cannot write"):
        save_checkpoint(precious / "below" / "x.safetensors", load_checkpoint(tiny_checkpoint))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:-8] + bytes(8), "checksum"),
        (lambda data: data.replace(b"crc32", b"crc33").replace(b'{\\"', b'{{\\"', 1), "not JSON|truncated"),
        (lambda data: b"", "truncated"),
        (lambda data: (8).to_bytes(8, "little") + b"[[[[[[[[", "truncated"),
        (lambda data: (10_000_008).to_bytes(8, "little") + b"[" * 10_000_008, "truncated"),
    ],
)
def test_a_damaged_map_is_one_line(change: Callable[[bytes], bytes], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "kitchen.map"
    map_file.write(path, {"points": np.ones((5, 3))}, {"scenes": ["kitchen"]}, 1)
    arrays, document = map_file.read(path, 1)
    assert arrays["points"].sum() == 15 and document == {"scenes": ["kitchen"]}
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(HyperPoseError, match=f"^{path}: .*({reason})"):
        map_file.read(path, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--start", "1e300"],
        ["--rate", "1e308"],
        ["--answers", "9" * 5000],
        ["--remap", "/a"],
        ["--remap", "/a:=/b", "/a:=/c"],
    ],
)
def test_a_replay_of_impossible_arguments_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    player = pytest.importorskip("hyperpose_ros.bags.player", reason="rclpy is missing")
    try:
        code = player.main([str(tmp_path), *arguments])
    except SystemExit as error:  # argparse ends a program itself
        code = error.code
    assert code == 2
    assert "bag_player: error: " in capsys.readouterr().err.splitlines()[-1]


def test_a_type_name_in_a_bag_is_no_path() -> None:
    reader = pytest.importorskip("hyperpose_ros.bags.reader", reason="rclpy is missing")
    assert reader.message_class("std_msgs/msg/Header").__name__ == "Header"
    for name in (
        "../../tmp/msg/x",
        "/msg/",
        "os/msg/path",
        "a.b/msg/C",
        "x/msg/\ud800",
        "std_msgs/msg/__doc__/x",
    ):
        with pytest.raises(HyperPoseError, match="is not installed"):
            reader.message_class(name)
