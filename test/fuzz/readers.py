"""Every reader of files, and good files for it to damage. As a program: a worker that does as it is told.

    python -m fuzz.readers FOLDER        # then lines on standard input: {"reader": ..., "seed": ...}

It answers each with a line: what became of it. Where it dies, is silent or grows, who asked knows why.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import torch
from conftest import draw_image
from dataset_layouts import (
    shots,
    write_bag,
    write_cambridge,
    write_colmap_binary,
    write_colmap_text,
    write_csv,
    write_seven_scenes,
    write_transforms,
)
from landmark_scene import Room, landmark_map, tour
from robotcar_layout import write_run, write_sdk
from test_dataset_phones import (
    write_kapture,
    write_opensfm,
    write_polycam,
    write_record3d,
    write_rtabmap,
    write_tum,
)

from fuzz.kept_files import KEPT_FILES, damage_command, make_commands, read_compressed, run_command_line
from fuzz.mutations import mutated, mutated_json
from hyperpose_core.checkpoint.file import Checkpoint, save_checkpoint
from hyperpose_core.checkpoint.tensor_file import read_tensor_file, write_tensor_file
from hyperpose_core.cli.main import main
from hyperpose_core.datasets import open_dataset
from hyperpose_core.ecl.conditions import load_conditions
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import Preprocessing, read_image
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.models.registry import build_model
from hyperpose_core.models.released_files import read_state_dict
from hyperpose_core.training.recipe import load_recipe
from hyperpose_core.training.recommendation import Recommendation
from hyperpose_core.training.run_folder import RunFolder, read_identity

LONGEST_ERROR = 1500
_RECIPE = (
    "model: posenet\nepochs: 3\nstages: [{trains: everything}]\nlearning_rate: 1.0e-4\nresize: [64, 64]\n"
)
_PREPROCESSING = Preprocessing()
_SHARE_OF_TEXTS = 0.8
_TARGETS: dict[str, Path] = {}


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        make: writes good files into a folder and returns what is to be read, a file or a folder.
        read: reads it.
        damage: damages it; None changes the bytes of one of its files.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    damage: Callable[[Path, np.random.Generator], None] | None = None


def attempt(folder: Path, name: str, seed: int) -> tuple[str, str]:
    """Damage good files of a kind and read them.

    Args:
        folder: to work in; `folder/NAME` keeps the good files.
        name: of the reader.
        seed: what the damage follows from.

    Returns:
        "read", "refused" or "fell", and what was said.
    """
    reader, generator = READERS[name], np.random.default_rng(seed)
    good, tried = folder / name, folder / "tried"
    if name not in _TARGETS:
        good.mkdir()
        _TARGETS[name] = reader.make(good).relative_to(good)
    shutil.rmtree(tried, ignore_errors=True)
    shutil.copytree(good, tried)
    target = tried / _TARGETS[name]
    (reader.damage or _damage_a_file)(target, generator)
    with tempfile.TemporaryFile() as noise:
        outcome = _read(reader, target, noise)
        noise.seek(0)
        told = noise.read(1000).decode(errors="replace")
    return ("fell", f"a library writes to standard error: {told}") if told else outcome


def _read(reader: Reader, target: Path, noise: BinaryIO) -> tuple[str, str]:
    """Read what was damaged; what libraries write to standard error themselves goes into a file."""
    said = io.StringIO()
    standard_error = os.dup(2)
    os.dup2(noise.fileno(), 2)
    try:
        with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(target)
    except HyperPoseError as error:
        text = str(error)
        good_line = "\n" not in text and len(text) < LONGEST_ERROR
        return ("refused", text) if good_line else ("fell", f"not one short line: {text[:300]!r}")
    except Exception:
        return "fell", traceback.format_exc()[-1000:]
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
    return "read", ""


def _damage_a_file(target: Path, generator: np.random.Generator) -> None:
    # What a label file names lies beside it.
    whole = target.parent if target.suffix == ".csv" else target
    files = [whole] if whole.is_file() else sorted(path for path in whole.rglob("*") if path.is_file())
    texts = [path for path in files if path.suffix not in (".png", ".jpg")]
    if texts and generator.random() < _SHARE_OF_TEXTS:
        files = texts
    path = files[generator.integers(len(files))]
    path.write_bytes(mutated(path.read_bytes(), generator))


def _image(suffix: str) -> Reader:
    def make(folder: Path) -> Path:
        path = folder / f"image{suffix}"
        cv2.imwrite(str(path), draw_image(1))
        return path

    return Reader(make, lambda path: _PREPROCESSING(read_image(path)))


def _network() -> Checkpoint:
    torch.manual_seed(1)
    options = {"backbone": "efficientnet_lite0", "hidden_width": 8}
    network = build_model("posenet", options)
    preprocessing = Preprocessing(resize=32, crop=32)
    return Checkpoint("posenet", network.options, network.state_dict(), preprocessing, scenes=("room",))


def _checkpoint(folder: Path) -> Path:
    path = folder / "network.safetensors"
    save_checkpoint(path, _network())
    return path


def _weights(folder: Path) -> Path:
    path = folder / "weights.pth"
    torch.save({"a.weight": torch.zeros(3, 4), "a.bias": torch.zeros(3)}, path)
    return path


def _damage_description(path: Path, generator: np.random.Generator) -> None:
    """Change what a checkpoint says, checksum included: what a malicious program would write."""
    tensors, metadata = read_tensor_file(path)
    metadata["hyperpose"] = mutated_json(metadata["hyperpose"], generator)
    with path.open("wb") as stream:
        write_tensor_file(stream, tensors, metadata)


def _exported(folder: Path) -> Path:
    checkpoint, path = _checkpoint(folder), folder / "network.onnx"
    assert main(["export", str(checkpoint), "--output", str(path), "--images", "1"]) == 0
    checkpoint.unlink()
    return path


def _estimate_exported(path: Path) -> object:
    """Read it as the localizer does, whom no file may stop."""
    return PoseEstimator.load(path, "cpu", is_tried=True).estimate([draw_image(1)])


def _estimate(path: Path) -> object:
    estimator = PoseEstimator.load(path, "cpu")
    return estimator.estimate([draw_image(1)])


def _info(path: Path) -> object:
    code = main(["info", str(path)])
    if code == 2:
        raise HyperPoseError("said by the command")
    return code


def _text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_text(content)
        return path

    return make


def _dataset(write: Callable[[Path, Any], Path]) -> Reader:
    return Reader(lambda folder: write(folder / "data", shots(6)), _read_dataset)


def _read_dataset(path: Path) -> None:
    for image in open_dataset(path).images[:2]:
        image.read()


def _robotcar(folder: Path) -> Path:
    root = folder / "data"
    root.mkdir()
    write_sdk(root)
    write_run(root, "2014-06-26-09-24-58")
    return root


def _map(folder: Path) -> Path:
    path = folder / "room.map"
    landmark_map({"room": Room(3)}, tour(8)).save(path)
    return path


def _run_folder(folder: Path) -> Path:
    (folder / "recipe.yaml").write_text("recipe: {model: posenet}\nseed: 0\ndata: room\n")
    (folder / "history.csv").write_text(
        "epoch,stage,training_loss,position_median_m,orientation_median_deg,images_per_second\n1,1,2,3,4,5\n"
    )
    errors = {"least_epoch": 1, "least_errors": torch.zeros(2), "last_errors": torch.zeros(2)}
    state = {"epochs": 1, **errors, "network": {}, "loss": {}, "optimizer": {}}
    torch.save(state, folder / "training_state.pt")
    RunFolder(folder).choose(Recommendation(1, "the last"))
    return folder


def _resume(folder: Path) -> None:
    run = RunFolder(folder)
    run.open(read_identity(folder), True, torch.device("cpu"))
    run.history()
    run.choice()


READERS: dict[str, Reader] = {
    **{f"image{suffix}": _image(suffix) for suffix in (".png", ".jpg", ".bmp", ".ppm", ".tiff", ".webp")},
    "checkpoint": Reader(_checkpoint, _estimate),
    "checkpoint's description": Reader(_checkpoint, _estimate, _damage_description),
    "info": Reader(_checkpoint, _info, _damage_description),
    "exported": Reader(_exported, _estimate_exported),
    "weights": Reader(_weights, read_state_dict),
    "map": Reader(_map, LandmarkMap.load),
    "recipe": Reader(_text("recipe.yaml", _RECIPE), lambda path: load_recipe(str(path))),
    "prompts": Reader(
        _text("prompts.yaml", "conditions: {winter: make it winter}\npipeline: {steps: 5}\n"), load_conditions
    ),
    "run folder": Reader(_run_folder, _resume),
    "label csv": _dataset(write_csv),
    "7scenes": _dataset(write_seven_scenes),
    "cambridge": _dataset(write_cambridge),
    "colmap text": _dataset(write_colmap_text),
    "colmap binary": _dataset(write_colmap_binary),
    "transforms": _dataset(write_transforms),
    "tum": _dataset(write_tum),
    "polycam": _dataset(write_polycam),
    "record3d": _dataset(write_record3d),
    "opensfm": _dataset(write_opensfm),
    "kapture": _dataset(write_kapture),
    "rtabmap": _dataset(write_rtabmap),
    "bag": _dataset(write_bag),
    "robotcar": Reader(_robotcar, _read_dataset),
    "compressed jpeg": Reader(_image(".jpg").make, read_compressed),
    "compressed png": Reader(_image(".png").make, read_compressed),
    "command line": Reader(make_commands(_checkpoint), run_command_line, damage_command),
    **{name: Reader(make, read) for name, (make, read) in KEPT_FILES.items()},
}  # fmt: skip


def _main() -> None:
    folder = Path(sys.argv[1])
    # What else is printed, by libraries included, is none of the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        case = json.loads(line)
        outcome, said = attempt(folder, case["reader"], case["seed"]) if case["reader"] else ("", "")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"outcome": outcome, "said": said, "peak": peak}), file=answers, flush=True)


if __name__ == "__main__":
    _main()
