"""Training: images a second of the project's trainer against a plain loop.

python -m benchmarks.run training_speed
python -m benchmarks.training_speed --data LABELS.csv       # on real images, print only
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from benchmarks.context import Context
from benchmarks.measuring import Array, measure, median_of, times_faster
from benchmarks.results import Section, Target
from hyperpose_core.evaluation.documents import markdown_table

IMAGES = 32
"""How many images an epoch has, which is what is timed."""

_ROOT = Path(__file__).resolve().parents[1]
RELEASED = {
    "extends": "hyperpose_7scenes",
    "model_options": {"backbone": "efficientnet_lite0", "hypernetwork_initialisation": "released"},
    "pretrained": False,
    "validation": {"fraction": 0.0},
    "epochs": 100_000,
}


@dataclass(frozen=True)
class Case:
    """A stage of training.

    Attributes:
        name: as the report calls it.
        changes: keys of the released recipe that are replaced.
        wanted: times faster than the plain loop.
    """

    name: str
    changes: Mapping[str, object]
    wanted: float | None


CASES = (
    Case("everything", {}, 1.5),
    Case("all but the backbone's first layers", {"frozen_backbone_stride": 8}, None),
    Case(
        "all but the backbone's first layers, whose features are kept",
        {"frozen_backbone_stride": 8, "feature_variants": 2},
        2.0,
    ),
    Case(
        "one branch, what it reads is kept", {"stages": [{"trains": "position"}], "feature_variants": 2}, None
    ),
)


def measure_training_speed(context: Context) -> Section:
    """Measure all stages on drawn images."""
    with tempfile.TemporaryDirectory() as folder:
        return measure_on(draw_dataset(Path(folder)), IMAGES, context)


def measure_on(data: Path, images: int, context: Context) -> Section:
    """Measure all stages on a dataset's training images.

    Args:
        data: the dataset.
        images: how many there are.
        context: how hard to try.
    """
    section = Section(
        "Training",
        [
            "The released recipe with EfficientNet-Lite0, batch 8, crops of 224x224 pixels of images of "
            "640x480, hue and all; images a second over whole epochs. `plain` is "
            "`benchmarks/plain/training.py`: every image decoded in every epoch, torchvision's transforms "
            "in the training process, contiguous tensors; frozen layers (up to stride 8) take no gradients "
            "there either. "
            f"Keeping features costs one pass of the frozen layers beforehand. {images} images an epoch."
        ],
        [[["trained", "plain, images/s", "project, images/s", "times faster"]]],
    )
    for case in CASES:
        turns = _measure(case, data, context)
        plain, project = (median_of(1e3 * images / turns[kind]) for kind in ("plain", "project"))
        faster = times_faster(turns["plain"], turns["project"])
        section.tables[0].append([case.name, plain.text(1), project.text(1), faster.text()])
        if case.wanted is not None:
            section.targets.append(
                Target(
                    f"training, {case.name}",
                    f"{case.wanted}x the plain loop's images a second",
                    faster.text(),
                    faster.median >= case.wanted,
                )
            )
    return section


def _measure(case: Case, data: Path, context: Context) -> dict[str, Array]:
    """Time epochs of both, in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        recipe = folder / "recipe.yaml"
        recipe.write_text(yaml.safe_dump({**RELEASED, **case.changes}), encoding="utf-8")
        tasks = {
            kind: stack.enter_context(training_in_turns(kind, data, recipe, folder / kind))
            for kind in ("plain", "project")
        }
        return measure(tasks, context.effort(30.0))


@contextmanager
def training_in_turns(
    kind: str, data: Path, recipe: Path, output: Path, device: str = "cpu"
) -> Iterator[Callable[[], None]]:
    """Start a process; gives what trains one epoch in it."""
    command = [sys.executable, "-m", "benchmarks.training_process", kind]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    command += ["--data", str(data.resolve()), "--recipe", str(recipe), "--output", str(output)]
    command += ["--device", device]
    process = subprocess.Popen(
        command,
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    turns, answers = process.stdin, process.stdout

    def wait() -> None:
        if not answers.readline():
            raise RuntimeError(f"the process died: {' '.join(command)}")

    def train_an_epoch() -> None:
        turns.write("\n")
        turns.flush()
        wait()

    try:
        wait()
        yield train_an_epoch
    finally:
        turns.close()
        process.wait()


def draw_dataset(folder: Path) -> Path:
    """Draw photo-like JPEG files of 640x480 pixels with poses along a line; return their label file."""
    generator = np.random.default_rng(0)
    rows = ["scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4"]
    for number in range(IMAGES):
        image = np.zeros((480, 640, 3))
        for size in (4, 16, 64, 256):
            coarse = generator.normal(0, 30 / size**0.25, (3 * size // 4, size, 3))
            image += cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        name = f"{number:04d}.jpg"
        cv2.imwrite(str(folder / name), np.clip(image + 128, 0, 255).astype(np.uint8))
        rows.append(f"drawn,train,1,{name},{number * 0.1:.1f},0,0,1,0,0,0")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return labels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a label CSV or another dataset (default: drawn images)")
    parser.add_argument("--images", type=int, default=IMAGES, help="how many training images it has")
    parser.add_argument("--quick", action="store_true", help="few repeats")
    options = parser.parse_args()
    context = Context(Path(), options.quick)
    section = (
        measure_training_speed(context)
        if options.data is None
        else measure_on(options.data, options.images, context)
    )
    print(markdown_table(section.tables[0]))


if __name__ == "__main__":
    main()
