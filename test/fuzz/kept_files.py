"""Readers of what the package keeps for itself: work in progress, caches, records; and of command lines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from conftest import draw_image
from dataset_layouts import shots, write_csv

from fuzz.mutations import TOKENS
from hyperpose_core.cli.main import main
from hyperpose_core.compressed_images import decode_compressed
from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.image_cache import ImageCache
from hyperpose_core.ecl.settings import check_settings
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.evaluation.metrics import FrameErrors
from hyperpose_core.experiments.runs import read_errors, write_errors
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.engine_race import EngineRace, known_race
from hyperpose_core.landmarks.work_folder import WorkFolder
from hyperpose_core.reconstruction.frames import CameraGuess, Frame, FrameSet, load_frames, save_frames
from hyperpose_core.reconstruction.gathering import GatheringSettings, gather_frames
from hyperpose_core.reconstruction.loops import MatchSummary, load_matches, save_matches
from hyperpose_core.reconstruction.sources import find_sources
from hyperpose_core.training.report import write_training_report

_FORMATS = (
    "jpeg",
    "rgb8; jpeg compressed bgr8",
    "bayer_rggb8; jpeg compressed",
    "bayer_rggb8; png compressed",
)
_COMMANDS = (
    "info {checkpoint}",
    "predict {checkpoint} {image} --device cpu --batch-size 4",
    "compress {checkpoint} --output {new}.safetensors --method bfloat16",
    "dataset check {data} --no-images --split train",
    "align --estimated {poses} --reference {poses} --max-difference 0.02 --output {new}.yaml",
    "import --model posenet {checkpoint} --output {new}.safetensors --scenes a,b",
    "export {checkpoint} --output {new}.onnx --images 1",
    "train --data {data} --output {new} --epochs 1 --seed 3 --recipe nothing",
    "evaluate {checkpoint} --data {data} --split test --output {new}",
    "map info {checkpoint}",
)
# A command may be asked to write to any of them, so that none leads out of its folder.
_WORDS = ("-1", "1e400", "nan", "", "x" * 3000, "\udc80", "/dev/zero", "9" * 5000, "\u202e", "1,2", "=")
_TOKENS = tuple(token for token in TOKENS if b"/" not in token)


def make_frames(folder: Path) -> Path:
    """Write a reconstruction's list of frames."""
    frames = tuple(Frame(f"walk/{number}.jpg", "walk", number, "640x480", number) for number in range(4))
    save_frames(folder / "frames.json", FrameSet(frames, {"640x480": CameraGuess(640, 480)}), "made from")
    return folder / "frames.json"


def read_frames(path: Path) -> object:
    """Read it."""
    return load_frames(path, "made from")


def make_matches(folder: Path) -> Path:
    """Write a reconstruction's summary of matches."""
    save_matches(folder / "matches.json", MatchSummary(3, 2, (("a", "b"),), ("c",)))
    return folder / "matches.json"


def make_photographs(folder: Path) -> Path:
    """Write a folder of photographs."""
    for number, suffix in enumerate((".jpg", ".png", ".webp", ".tiff")):
        cv2.imwrite(str(folder / f"{number}{suffix}"), draw_image(number))
    return folder


def read_photographs(path: Path) -> None:
    """Take them for a reconstruction."""
    gathered = path.parent / "gathered"
    try:
        gather_frames(find_sources([path]), gathered, GatheringSettings())
    finally:
        shutil.rmtree(gathered, ignore_errors=True)


def make_cache(folder: Path) -> Path:
    """Write a cache of decoded images, and the images."""
    data = write_csv(folder / "data", shots(4))
    ImageCache(open_dataset(data).images, Preprocessing(resize=32, crop=32), folder)
    return folder


def read_cache(path: Path) -> None:
    """Read it; images that are no longer those of the cache are decoded anew."""
    data = next((path / "data").glob("*.csv"))
    images = open_dataset(data).images
    ImageCache(images, Preprocessing(resize=32, crop=32), path).batch(range(len(images)))


def make_errors(folder: Path) -> Path:
    """Write an experiment's errors."""
    write_errors(folder / "errors.json", "test", FrameErrors(np.ones(3), np.ones(3)))
    return folder / "errors.json"


def read_errors_of_test(path: Path) -> object:
    """Read them."""
    return read_errors(path, "test")


def make_settings(folder: Path) -> Path:
    """Write how images were generated."""
    path = folder / "ecl_settings.json"
    path.write_text(json.dumps({"engine": "classical", "seed": 1, "seeds": {"a": 2}}))
    return path


def read_settings(path: Path) -> object:
    """Hold them against the same."""
    return check_settings(path, {"engine": "classical", "seed": 1, "seeds": {"a": 2}})


def make_work(folder: Path) -> Path:
    """Write a group of arrays of a map in progress."""
    WorkFolder(folder / "work", "made from").save("features", {"points": np.ones((4, 2))})
    return folder / "work"


def read_work(path: Path) -> object:
    """Read it."""
    work = WorkFolder(path, "made from")
    return work.load("features") if work.has("features") else None


def make_race(folder: Path) -> Path:
    """Write which engine was the faster one."""
    (folder / "race.onnx").touch()
    (folder / "race.json").write_text(json.dumps(asdict(EngineRace(1.5, 2.5))))
    return folder


def read_race(path: Path) -> object:
    """Ask for it."""
    race = known_race(path / "race.onnx")
    return None if race is None else (race.is_exported_faster, race.describe())


def make_report(folder: Path) -> Path:
    """Write what a training's report is made of."""
    (folder / "recipe.yaml").write_text("recipe: {model: posenet}\nseed: 0\ndata: room\n")
    (folder / "history.csv").write_text(
        "epoch,stage,training_loss,position_median_m,orientation_median_deg,images_per_second\n1,1,2,3,4,5\n"
    )
    return folder


def read_compressed(path: Path) -> None:
    """Decode an image as messages of several formats have it."""
    data = path.read_bytes()
    for format in _FORMATS:
        decode_compressed(data, format, "message")


def make_commands(checkpoint: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Return what writes the files that command lines name."""

    def make(folder: Path) -> Path:
        checkpoint(folder)
        write_csv(folder / "data", shots(4))
        cv2.imwrite(str(folder / "image.png"), draw_image(1))
        (folder / "poses.txt").write_text("".join(f"{i} {i} {i * i} 0 0 0 0 1\n" for i in range(5)))
        torch.save({"a": torch.zeros(2)}, folder / "weights.pth")
        return folder

    return make


def damage_command(folder: Path, generator: np.random.Generator) -> None:
    """Write a command line with words that nobody expects."""
    files = {
        "checkpoint": folder / "network.safetensors",
        "image": folder / "image.png",
        "data": next((folder / "data").glob("*.csv")),
        "poses": folder / "poses.txt",
        "new": folder / "new",
    }
    command = _COMMANDS[generator.integers(len(_COMMANDS))]
    words = [word.format(**files) for word in command.split()]
    # Without its options a command could take up long work.
    places = [place for place, word in enumerate(words) if place and not word.startswith("--")]
    for _ in range(int(generator.integers(1, 3))):
        words[places[generator.integers(len(places))]] = _word(words, generator)
    (folder / "command.json").write_text(json.dumps(words))


def _word(words: list[str], generator: np.random.Generator) -> str:
    choice = generator.random()
    if choice < 0.2:
        return words[generator.integers(len(words))]
    if choice < 0.4:
        return _TOKENS[generator.integers(len(_TOKENS))].decode(errors="surrogateescape")
    return _WORDS[generator.integers(len(_WORDS))]


def run_command_line(folder: Path) -> object:
    """Run the command line in the folder of its files."""
    words = json.loads((folder / "command.json").read_text())
    former = Path.cwd()
    os.chdir(folder)
    try:
        code = main(words)
    except SystemExit as error:  # argparse's, of arguments that it cannot take
        code = int(error.code or 0)
    finally:
        os.chdir(former)
    if code == 2:
        raise HyperPoseError("said by the command")
    return code


KEPT_FILES = {
    "frames of a reconstruction": (make_frames, read_frames),
    "matches of a reconstruction": (make_matches, load_matches),
    "photographs": (make_photographs, read_photographs),
    "image cache": (make_cache, read_cache),
    "errors of a run": (make_errors, read_errors_of_test),
    "settings of variants": (make_settings, read_settings),
    "map in progress": (make_work, read_work),
    "race of engines": (make_race, read_race),
    "training report": (make_report, write_training_report),
}
