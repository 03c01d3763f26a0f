"""Whether the recommended checkpoint is worse than the last one: short trainings on half of a video.

Every second block of the training frames is left out, so that test frames lie in gaps. Of each training, one
a seed, three checkpoints are scored on the test frames: the recommended one (`best.safetensors`), the last
one, and the one of the least held-out error, which a training without a rule would take.

    python benchmarks/recommended_checkpoint.py --data redkitchen_train.csv --test-data redkitchen_test.csv \
        --camera 640,480,525.5,525.5,319.5,239.5 --output runs/recommended
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.environment import describe_environment  # noqa: E402
from hyperpose_core.checkpoint.file import load_checkpoint  # noqa: E402
from hyperpose_core.command_line import run_command  # noqa: E402
from hyperpose_core.datasets import open_dataset  # noqa: E402
from hyperpose_core.datasets.records import PosedImageSet  # noqa: E402
from hyperpose_core.evaluation.metrics import frame_errors  # noqa: E402
from hyperpose_core.evaluation.offline import estimate_dataset  # noqa: E402
from hyperpose_core.evaluation.statistics import compare_paired, confidence_interval  # noqa: E402
from hyperpose_core.evaluation.tables import degrees, interval_text, metres  # noqa: E402
from hyperpose_core.files import replace_text  # noqa: E402
from hyperpose_core.inference.estimator import PoseEstimator  # noqa: E402
from hyperpose_core.training.recipe import load_recipe  # noqa: E402
from hyperpose_core.training.trainer import Trainer  # noqa: E402

KINDS = ("recommended", "last", "least held-out error")
_LEAST = "least_held_out.safetensors"
_ERRORS_FILE = "errors.json"
_BATCH = 16


@dataclass(frozen=True)
class SeedResult:
    """What one training's checkpoints make of the N test frames.

    Attributes:
        epochs: which epoch each kind of checkpoint is of.
        position_m: errors of each kind, [N] metres.
        orientation_deg: errors of each kind, [N] degrees.
    """

    epochs: dict[str, int]
    position_m: dict[str, list[float]]
    orientation_deg: dict[str, list[float]]


class _Kept(Trainer):
    """A trainer that keeps the checkpoint of the least held-out error: `best.safetensors` until the end."""

    def _finish(self) -> None:
        shutil.copyfile(self._folder.path / "best.safetensors", self._folder.path / _LEAST)
        super()._finish()


def without_every_second_block(data: PosedImageSet, block: int) -> PosedImageSet:
    """Leave out every second block of consecutive frames of a dataset."""
    kept = tuple(image for number, image in enumerate(data.images) if number // block % 2 == 0)
    return replace(data, images=kept)


def score_seed(arguments: argparse.Namespace, seed: int) -> SeedResult:
    """Train with a seed and score its checkpoints, or take what an earlier call found."""
    folder = arguments.output / f"seed-{seed}"
    if (folder / _ERRORS_FILE).exists():
        return SeedResult(**json.loads((folder / _ERRORS_FILE).read_text()))
    whole = open_dataset(arguments.data, split="train", camera=arguments.camera)
    data = without_every_second_block(whole, arguments.block)
    test = open_dataset(arguments.test_data, split="test")
    recipe = load_recipe(arguments.recipe, {"epochs": arguments.epochs})
    best = _Kept(recipe, data, folder, arguments.device, seed).run(resume=True)
    paths = dict(zip(KINDS, (best, folder / "last.safetensors", folder / _LEAST), strict=True))
    epochs, position, orientation = {}, {}, {}
    for kind, path in paths.items():
        checkpoint = load_checkpoint(path)
        errors = frame_errors(estimate_dataset(PoseEstimator(checkpoint, arguments.device), test, _BATCH))
        epochs[kind] = int(str(checkpoint.training["epochs"]))
        position[kind], orientation[kind] = errors.position_m.tolist(), errors.orientation_deg.tolist()
    result = SeedResult(epochs, position, orientation)
    replace_text(folder / _ERRORS_FILE, json.dumps(vars(result)), "errors")
    return result


def table(results: Sequence[SeedResult]) -> str:
    """Return medians of frames, averaged over seeds, and how the last checkpoint's differ, as Markdown."""
    rows = [
        "| checkpoint | epochs | position (m) | against the last | orientation (deg) | against the last |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        cells = [kind, ", ".join(str(result.epochs[kind]) for result in results)]
        for values, form in (("position_m", metres), ("orientation_deg", degrees)):
            own = np.array([getattr(result, values)[kind] for result in results])
            last = np.array([getattr(result, values)["last"] for result in results])
            cells.append(interval_text(confidence_interval(own), form))
            cells.append(interval_text(compare_paired(last, own).difference, form, sign=True))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds, or those that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="training frames")
    parser.add_argument("--test-data", type=Path, required=True, help="test frames")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs, which go on")
    parser.add_argument("--camera", help="WIDTH,HEIGHT,FX,FY,CX,CY where the data does not say it")
    parser.add_argument("--recipe", default="demo", help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="of each training (default: %(default)s)")
    parser.add_argument("--block", type=int, default=50, help="frames a block (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parsed = parser.parse_args(arguments)

    def body() -> int:
        results = [score_seed(parsed, seed) for seed in range(parsed.seeds)]
        print(*(f"{name}: {value}" for name, value in describe_environment().items()), sep="\n")
        print(table(results))
        return 0

    return run_command("recommended_checkpoint", body)


if __name__ == "__main__":
    sys.exit(main())
