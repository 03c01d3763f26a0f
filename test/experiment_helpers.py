"""Small recipes, datasets and command lines that the tests of experiments share."""

from __future__ import annotations

from pathlib import Path

import cv2
import yaml
from conftest import draw_image

from hyperpose_core.cli.main import main

TINY = {
    "model": "hyperpose",
    "model_options": {"backbone": "efficientnet_lite0", "hidden_width": 32, "generator_width": 8},
    "pretrained": False,
    "resize": [48, 64],
    "crop": None,
    "batch_size": 4,
    "epochs": 1,
    "learning_rate": 1e-3,
    "validation": {"fraction": 0.25, "block": 3},
}


def write_recipe(folder: Path, **changes: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def run_verb(verb: str, *arguments: object) -> int:
    return main([verb, *map(str, arguments), "--device", "cpu"])


def write_cambridge(root: Path, scene: str, conditions: tuple[str, ...] = ()) -> None:
    """A scene in the official layout: 12 training and 10 test frames, and variants of the test frames."""
    for split, sequence, count in (("train", "seq1", 12), ("test", "seq2", 10)):
        rows = ["Visual Landmark Dataset V1", "ImageFile, Camera Position [X Y Z W P Q R]", ""]
        for frame in range(count):
            name = f"{sequence}/frame{frame:05d}.png"
            rows.append(f"{name} {frame * 0.5:.3f} 0.2 1.6 1 0 0 0")
            folders = [root / scene, *(root / word / scene for word in conditions if split == "test")]
            for shade, folder in enumerate(folders):
                (folder / sequence).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / name), draw_image(frame + 50 * len(split)) // (1 + shade))
        (root / scene / f"dataset_{split}.txt").write_text("\n".join(rows) + "\n")


def generate(data: Path, output: Path, *arguments: object, engine: str = "classical") -> int:
    """Make variants as a user would; returns the exit code."""
    return run_verb("ecl", "generate", "--data", data, "--output", output, "--engine", engine, *arguments)


def contents(folder: Path) -> dict[str, bytes]:
    """Every image of a folder, by its path below it."""
    images = (path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in images}
