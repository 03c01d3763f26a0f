"""Damaged, hostile and enormous files, given to the commands: one line, exit code 2, little memory."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import PROJECT_ROOT, draw_image
from test_exif import turned_by_exif

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.checkpoint.tensor_file import read_tensor_file, write_tensor_file
from hyperpose_core.cli.main import main
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import decode_image
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks import map_file

GIGABYTE = 1 << 30

MEASURE = """
import json, resource, sys
import hyperpose_core.cli.predict, hyperpose_core.cli.train, hyperpose_core.cli.import_released
from hyperpose_core.cli.main import main
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([[peak(), 0]] + [[main(case), peak()][::-1] for case in json.load(sys.stdin)]))
"""


def png_of(width: int, height: int, colours: int = 0) -> bytes:
    """A PNG of black, a few bytes for any size, made in no time."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = next(rows for rows in (1000, 1) if height % rows == 0)
    row_bytes = 1 + width * (3 if colours == 2 else 1)
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    # Behind a full flush the decoder remembers nothing: the same bytes say the same again.
    block = compressor.compress(bytes(rows * row_bytes)) + compressor.flush(zlib.Z_FULL_FLUSH)
    adler = (height * row_bytes % 65521) << 16 | 1
    stream = b"\x78\xda" + block * (height // rows) + compressor.flush() + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    begin = b"\x89PNG\r\n\x1a\n"
    return begin + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def anchor_bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    return "\n".join(lines)


def weights_bomb(path: Path) -> None:
    """A file of torch.save whose tensor is packed to a thousandth."""
    plain = path.with_suffix(".plain")
    torch.save({"weight": torch.zeros(25_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            with source.open(name) as part, target.open(name, "w", force_zip64=True) as copy:
                while piece := part.read(1 << 24):
                    copy.write(piece)
    plain.unlink()


def measured(cases: list[list[str]]) -> tuple[int, list[tuple[int, int]], str]:
    """Bytes that an idle process holds, at most; those after each command, with its exit code; errors."""
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT_ROOT,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    (idle, _), *outcomes = json.loads(ended.stdout.splitlines()[-1])
    return idle, outcomes, ended.stderr


def test_what_would_fill_memory_is_refused_before_it_does(
    tiny_checkpoint: Path, seven_scenes_folder: Path, tmp_path: Path
) -> None:
    images = {
        "narrow.png": png_of(20_000, 1, 2),
        "wide.png": png_of(1, 20_000, 2),
        "large.png": png_of(30_000, 30_000),
        "claims.bmp": b"BM" + bytes(16) + struct.pack("<ii", 60_000, -60_000) + bytes(100),
        "claims.ppm": b"P6\n# a comment\n70000 70000\n255\n" + bytes(100),
    }
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "bomb.yaml").write_text(anchor_bomb())
    weights_bomb(tmp_path / "bomb.pth")
    (tmp_path / "labels.csv").write_text(
        "scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4\n"
        + "".join(f"s,train,a,large.png,{i},0,0,1,0,0,0\n" for i in range(4))
    )
    train = ["train", "--no-pretrained", "--output", str(tmp_path / "run"), "--data"]
    cases = [
        ["predict", str(tiny_checkpoint), str(tmp_path / name)]
        for name in (*images, "endless.png", "pipe.png")
    ]
    cases.append([*train, str(tmp_path / "labels.csv")])
    cases.append([*train, str(seven_scenes_folder), "--recipe", str(tmp_path / "bomb.yaml")])
    cases.append(
        ["import", "--model", "posenet", str(tmp_path / "bomb.pth"), "--output", str(tmp_path / "x")]
    )
    # As large as an image may be.
    (tmp_path / "largest.png").write_bytes(png_of(8_000, 8_000, 2))
    cases.append(["predict", str(tiny_checkpoint), str(tmp_path / "largest.png")])
    idle, outcomes, said = measured(cases)
    for case, (peak, code) in zip(cases, outcomes, strict=True):
        assert code == (0 if "largest.png" in case[-1] else 2), (case, said)
        assert peak - idle < GIGABYTE, f"{(peak - idle) / 1e6:.0f} MB: {case}"
    lines = said.splitlines()
    assert len(lines) == len(cases) - 1, lines
    assert all(line.startswith("hyperpose: error: ") for line in lines), lines
    assert "packed into" in lines[-1] and "aliases" in lines[-2]


def test_the_bombs_are_images() -> None:
    found = decode_image(png_of(300, 2000, 2), "black")
    assert found.shape == (2000, 300, 3) and not found.any()


def test_photographs_that_are_bombs_devices_or_damaged_are_left_out_of_a_reconstruction(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycolmap", reason="pycolmap is missing: pip install 'hyperpose_ros[map]'")
    from hyperpose_core.reconstruction.gathering import GatheringSettings, gather_frames
    from hyperpose_core.reconstruction.sources import find_sources

    photographs = tmp_path / "photographs"
    photographs.mkdir()
    good = cv2.imencode(".jpg", draw_image(1))[1].tobytes()
    damaged = turned_by_exif(good, 6)
    (photographs / "good.jpg").write_bytes(good)
    (photographs / "damaged.jpg").write_bytes(damaged[: len(damaged) // 2])
    (photographs / "bomb.png").write_bytes(png_of(30_000, 30_000))
    (photographs / "endless.jpg").symlink_to("/dev/zero")
    os.mkfifo(photographs / "pipe.jpg")
    found = gather_frames(find_sources([photographs]), tmp_path / "images", GatheringSettings())
    assert [frame.name for frame in found.frames] == ["photographs/good.jpg"]
    assert sum(found.dropped.values()) == 4
    assert "JPEG" not in capfd.readouterr().err


def test_a_narrow_image_within_limits_is_an_image_like_any_other(tiny_checkpoint: Path) -> None:
    image = draw_image(1, 40, 2000)
    assert PoseEstimator.load(tiny_checkpoint, "cpu").estimate([image])[0].pose is not None


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
