"""What lowered precision does to the errors of trained networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.results import Section, Target
from benchmarks.subjects import COMPRESSED_WAYS, EAGER, LOWERED_WAYS, Subject, Way, run_hyperpose
from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.evaluation import score
from hyperpose_core.evaluation.offline import estimate_dataset
from hyperpose_core.inference.estimator import PoseEstimator, known_input_size

LIMIT = 0.01
_IMAGES = 300
_ROOT = Path(__file__).resolve().parents[1]
_DEMO = _ROOT / "demo"


def measure_accuracy(context: Context) -> Section:
    """Score a trained single-scene and a trained multi-scene network in every way."""
    section = Section(
        "Accuracy",
        [
            "Median errors on the test split of simulated towns, which training has not seen; a negative "
            "change is an improvement, by chance. Where no checkpoint is given, HyperPose is the demo's, "
            "and MS-HyperPose (the paper's generators, EfficientNet-Lite0) is trained on two "
            "towns as `benchmarks/multi_scene.yaml` says."
        ],
        [[["network", "way", "position", "change", "orientation", "change"]]],
    )
    for trained, data in (_single_scene(context), _multi_scene(context)):
        architecture = load_checkpoint(trained).architecture
        subject = Subject(trained, context.made / architecture)
        ways = (EAGER, *LOWERED_WAYS, *(COMPRESSED_WAYS if "ms" in architecture else ()))
        _measure(context, section, architecture, subject, ways, open_dataset(data, split="test"))
    return section


def _measure(
    context: Context,
    section: Section,
    architecture: str,
    subject: Subject,
    ways: tuple[Way, ...],
    data: PosedImageSet,
) -> None:
    step = max(1, len(data.images) // (20 if context.quick else _IMAGES))
    data = replace(data, images=data.images[::step])
    checkpoint = load_checkpoint(subject.checkpoint)
    size = known_input_size(checkpoint)
    reference: tuple[float, float] | None = None
    for way in tqdm(ways, unit="way", disable=None):
        engine = subject.engine(way, size)
        if engine is None:
            section.notes.append(f"{architecture}, {way.name}: {subject.missing[way.name]}")
            continue
        estimator = PoseEstimator(checkpoint, engine=engine)
        overall = score(estimate_dataset(estimator, data)).overall
        errors = (overall.position_m.median, overall.orientation_deg.median)
        reference = reference or errors
        changes = [error / first - 1 for error, first in zip(errors, reference, strict=True)]
        cells = [f"{errors[0]:.4f} m", f"{changes[0]:+.2%}", f"{errors[1]:.4f} deg", f"{changes[1]:+.2%}"]
        section.tables[0].append([architecture, way.name, *cells])
        if way != EAGER:
            section.targets.append(
                Target(
                    f"{architecture}, {way.name}: change of the median errors",
                    "at most 1%, up or down",
                    f"{changes[0]:+.2%}, {changes[1]:+.2%}",
                    max(map(abs, changes)) <= LIMIT,
                )
            )


def _single_scene(context: Context) -> tuple[Path, Path]:
    """Return a trained checkpoint and its data: those given, or the demo's, made if need be."""
    if context.checkpoint is not None and context.data is not None:
        return context.checkpoint, context.data
    trained, town = _DEMO / "training" / "best.safetensors", _DEMO / "town"
    if trained.is_file() and town.is_dir():
        return trained, town
    folder = context.folder / "single_scene"
    run_hyperpose("simulate", str(folder / "town"))
    _train(folder / "town", "demo", folder / "training")
    return folder / "training" / "best.safetensors", folder / "town"


def _multi_scene(context: Context) -> tuple[Path, Path]:
    if context.multi_scene_checkpoint is not None and context.multi_scene_data is not None:
        return context.multi_scene_checkpoint, context.multi_scene_data
    towns, training = context.folder / "towns", context.folder / "multi_scene"
    run_hyperpose("simulate", str(towns), "--scenes", "2", "--frames", "120", "--test", "autumn")
    _train(towns, str(_ROOT / "benchmarks" / "multi_scene.yaml"), training)
    return training / "best.safetensors", towns


def _train(data: Path, recipe: str, output: Path) -> None:
    """Train, or go on where an interrupted run stopped; one that is done is left as it is."""
    command = ["train", "--data", str(data), "--split", "train", "--recipe", recipe]
    run_hyperpose(*command, "--output", str(output), "--resume")
