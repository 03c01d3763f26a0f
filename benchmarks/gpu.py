"""Everything about speed on one CUDA card, with a report that names it: `make gpu`.

    python -m benchmarks.gpu --output gpu --minutes 8

Needs PyTorch 2.6 or newer with CUDA, and no ROS; it says what else is missing. The CUDA tests come first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from benchmarks.measuring import Array
    from benchmarks.results import Section
    from benchmarks.subjects import Subject

    Turns = Mapping[tuple[str, str], Array]

_ROOT = Path(__file__).resolve().parents[1]
# Modules, and the packages that they come from.
_NEEDED = {
    "cv2": "opencv-python-headless",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "PIL": "pillow",
    "pydantic": "pydantic",
    "pytest": "pytest",
    "rosbags": "rosbags",
    "safetensors": "safetensors",
    "simplejpeg": "simplejpeg",
    "tensorboard": "tensorboard",
    "threadpoolctl": "threadpoolctl",
    "torch": "torch",
    "torchvision": "torchvision",
    "tqdm": "tqdm",
    "transforms3d": "transforms3d",
    "yaml": "pyyaml",
}
_PLAIN = "plain, float32"
_ENGINE = "engine, float32"
_PRECISIONS = ("float32", "float16", "bfloat16")
_BATCHES = (1, 4, 16)
# Without and with a hypernetwork, and how many scenes.
_PAIRS = (("posenet", "hyperpose", 1), ("atloc", "hyperatloc", 1), ("mstransformer", "mshyperpose", 7))
_WANTED_FASTER = {"hyperpose": 3.0, "mshyperpose": 3.0}
_LARGEST_OVERHEAD_PERCENT = 2.0
# Of the time there is, for networks; the rest is for loading, tests and training.
_SHARE_OF_NETWORKS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the report; 2 where something is missing, 1 where the CUDA tests fail."""
    options = _command_line().parse_args(arguments)
    if missing := [package for module, package in _NEEDED.items() if find_spec(module) is None]:
        print(f"gpu: error: packages are missing: pip install {' '.join(missing)}", file=sys.stderr)
        return 2
    import torch

    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            "gpu: error: PyTorch finds no CUDA device here (--device cpu tries the command)", file=sys.stderr
        )
        return 2
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"gpu: error: {options.output}: cannot be made: {error.strerror}", file=sys.stderr)
        return 2
    passed, tests = _run_tests(device)
    sections = [_networks(options, device), _bytes_to_pose(options, device), _training(options, device)]
    report = options.output / "gpu.md"
    _write(report, device, tests, sections)
    print(f"report: {report}")
    return 0 if passed else 1


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=Path("gpu"), help="folder of the report (default: gpu)"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="how long to take, about (default: 8)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the command itself")
    parser.add_argument("--quick", action="store_true", help="HyperPose and PoseNet alone, one image")
    return parser


def _run_tests(device: torch.device) -> tuple[bool, str]:
    """Run the tests that need a card; return whether they passed, and what pytest says at the end."""
    if device.type != "cuda":
        return True, "not run: no CUDA device"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "test/test_cuda.py"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    (lines := done.stdout.strip().splitlines()) or (lines := ["no word from pytest"])
    return done.returncode == 0, lines[-1].strip("= ")


def _networks(options: argparse.Namespace, device: torch.device) -> Section:
    """Measure every network, plainly and in the engine in each precision, a pair in turns."""
    from tqdm import tqdm

    from benchmarks.measuring import Effort, measure
    from benchmarks.results import Section

    pairs, batches = (_PAIRS[:1], _BATCHES[:1]) if options.quick else (_PAIRS, _BATCHES)
    seconds = 60 * options.minutes * _SHARE_OF_NETWORKS / (len(pairs) * len(batches))
    effort = Effort(rounds=4 if options.quick else 30, runs=2 if options.quick else 10, seconds=seconds)
    section = Section(
        "Networks",
        [
            "224x224 pixels, random weights, images on the device; until the outputs are on the CPU. `plain` "
            "is `benchmarks/plain/`; the others are the engine, which replays a CUDA graph on a card. "
            "Memory is what the card's allocator held at most."
        ],
        [
            [["network", "batch", "way", "median", "images/s", "times faster", "memory"]],
            [["hypernetwork", "way", "added, ms", "added"]],
        ],
    )
    for without, with_it, scenes in tqdm(pairs, unit="pair", disable=None):
        for batch in batches:
            tasks: dict[tuple[str, str], Callable[[], object]] = {}
            memory: dict[tuple[str, str], str] = {}
            for name in (without, with_it):
                found, needed = _tasks(_subject(options, name, scenes), device, batch, section)
                tasks |= {(name, way): task for way, task in found.items()}
                memory |= {(name, way): text for way, text in needed.items()}
            turns = measure(tasks, effort)
            _add_rows(section, batch, turns, memory)
            if batch == 1:
                _add_targets(section, (without, with_it), turns, device.type == "cuda")
    return section


def _add_rows(section: Section, batch: int, turns: Turns, memory: Mapping[tuple[str, str], str]) -> None:
    import numpy as np

    from benchmarks.measuring import times_faster

    for (name, way), values in turns.items():
        median = float(np.median(values))
        row = [name, str(batch), way, f"{median:.2f} ms", f"{1e3 * batch / median:.0f}"]
        faster = times_faster(turns[name, _PLAIN], values).text()
        section.tables[0].append([*row, faster, memory.get((name, way), "")])


def _add_targets(section: Section, pair: tuple[str, str], turns: Turns, is_measured: bool) -> None:
    """Set a network with a hypernetwork beside the one without, and the engine beside the plain network."""
    from benchmarks.measuring import median_of, times_faster
    from benchmarks.results import Target

    without, with_it = pair
    for way in (_PLAIN, *(f"engine, {precision}" for precision in _PRECISIONS)):
        if (without, way) not in turns or (with_it, way) not in turns:
            continue
        base, more = turns[without, way], turns[with_it, way]
        percent = median_of(100 * (more / base - 1))
        row = [f"{without} to {with_it}", way, median_of(more - base).text(), percent.text(1, " %")]
        section.tables[1].append(row)
        if with_it == "hyperpose" and way == _ENGINE:
            met = percent.median <= _LARGEST_OVERHEAD_PERCENT if is_measured else None
            wanted = f"at most {_LARGEST_OVERHEAD_PERCENT:g} %"
            target = Target("hypernetwork overhead, HyperPose", wanted, percent.text(1, " %"), met)
            section.targets.append(target)
    if with_it in _WANTED_FASTER and (with_it, _ENGINE) in turns:
        faster, least = times_faster(turns[with_it, _PLAIN], turns[with_it, _ENGINE]), _WANTED_FASTER[with_it]
        met = faster.median >= least if is_measured else None
        what = f"{with_it}, batch 1, float32"
        section.targets.append(Target(what, f"{least:g} x the plain network", f"{faster.text()} x", met))


def _subject(options: argparse.Namespace, architecture: str, scenes: int) -> Subject:
    from benchmarks.context import Context

    return Context(folder=options.output / "work").untrained(architecture, scenes)


def _tasks(
    subject: Subject, device: torch.device, batch: int, section: Section
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """Give what runs a network in each way that the device has, and the memory that each takes."""
    import torch

    from benchmarks.plain import plain_network
    from benchmarks.subjects import INPUT_SIZE, random_images
    from hyperpose_core.checkpoint.file import load_checkpoint
    from hyperpose_core.errors import HyperPoseError
    from hyperpose_core.inference.build_engine import build_engine
    from hyperpose_core.inference.engines.build_network import build_network

    images = random_images(batch).to(device)
    memory: dict[str, str] = {}

    def plainly() -> object:
        with torch.inference_mode():
            return plain(images).arrays()

    with _MemoryOf(device, memory, _PLAIN):
        plain = plain_network(build_network(load_checkpoint(subject.checkpoint))).to(device)
        plainly()
    tasks: dict[str, Callable[[], object]] = {_PLAIN: plainly}
    for precision in _PRECISIONS:
        way = f"engine, {precision}"
        try:
            with _MemoryOf(device, memory, way):
                checkpoint = load_checkpoint(subject.checkpoint)
                engine = build_engine("eager", checkpoint, device, precision, INPUT_SIZE)
                engine(images)
        except HyperPoseError as error:
            note = f"{way}: {error}"
            if note not in section.notes:
                section.notes.append(note)
            continue
        tasks[way] = lambda engine=engine: engine(images)  # type: ignore[misc]
    return tasks, memory


class _MemoryOf:
    """Says how much of a card's memory the block needed at most, beside what was there."""

    def __init__(self, device: torch.device, memory: dict[str, str], way: str) -> None:
        self._device, self._memory, self._way, self._before = device, memory, way, 0

    def __enter__(self) -> None:
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        import torch

        if self._device.type == "cuda" and kind is None:
            torch.cuda.synchronize(self._device)
            most = torch.cuda.max_memory_allocated(self._device) - self._before
            self._memory[self._way] = f"{most / 1e6:.0f} MB"


def _bytes_to_pose(options: argparse.Namespace, device: torch.device) -> Section:
    """Time the whole way of one JPEG of 640x480 pixels."""
    import cv2
    import numpy as np

    from benchmarks.measuring import Effort, measure
    from benchmarks.results import Section
    from hyperpose_core.errors import HyperPoseError
    from hyperpose_core.images import decode_image
    from hyperpose_core.inference.estimator import PoseEstimator

    section = Section(
        "Image bytes to pose",
        ["One JPEG of 640x480 pixels: decoded, resized, the network, its outputs as a pose."],
        [[["network", "precision", "median", "95%"]]],
    )
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC))[1].tobytes()
    effort = Effort(rounds=4 if options.quick else 40, runs=3, seconds=60 * options.minutes * 0.05)
    for architecture, scenes in (
        (("hyperpose", 1),) if options.quick else (("hyperpose", 1), ("mshyperpose", 7))
    ):
        subject = _subject(options, architecture, scenes)
        for precision in _PRECISIONS:
            try:
                estimator = PoseEstimator.load(
                    subject.checkpoint, str(device), engine="eager", precision=precision
                )
            except HyperPoseError as error:
                section.notes.append(f"{precision}: {error}")
                continue
            ask: dict[str, Callable[[], Any]] = {
                "all": lambda estimator=estimator: estimator.estimate([decode_image(data, "drawn")])  # type: ignore[misc]
            }
            median, high = np.percentile(measure(ask, effort)["all"], [50, 95])
            section.tables[0].append([architecture, precision, f"{median:.2f} ms", f"{high:.2f} ms"])
    return section


def _training(options: argparse.Namespace, device: torch.device) -> Section:
    """Time epochs of the trainer, loader and augmentation included."""
    import tempfile

    import numpy as np
    import yaml

    from benchmarks.measuring import Effort, measure
    from benchmarks.results import Section
    from benchmarks.training_speed import IMAGES, RELEASED, draw_dataset, training_in_turns

    batch = 8 if options.quick else 32
    section = Section(
        "Training",
        [
            f"The released recipe with EfficientNet-Lite0, batch {batch}, crops of 224x224 pixels of images "
            f"of 640x480; {IMAGES} images an epoch, loader and augmentation included."
        ],
        [[["", "images/s"]]],
    )
    effort = Effort(rounds=2 if options.quick else 10, runs=1, seconds=60 * options.minutes * 0.1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "recipe.yaml"
        recipe.write_text(yaml.safe_dump({**RELEASED, "batch_size": batch}), encoding="utf-8")
        data = draw_dataset(folder)
        with training_in_turns("project", data, recipe, folder / "run", str(device)) as epoch:
            median = float(np.median(measure({"epoch": epoch}, effort)["epoch"]))
    section.tables[0].append(["everything", f"{1e3 * IMAGES / median:.0f}"])
    return section


def _write(path: Path, device: torch.device, tests: str, sections: list[Section]) -> None:
    import datetime

    import torch

    from benchmarks.environment import describe_environment
    from benchmarks.results import section_lines
    from hyperpose_core.evaluation.documents import markdown_table

    card = {"device": str(device)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        card = {
            "card": f"{properties.name}, {properties.total_memory / 1e9:.0f} GB",
            "CUDA of PyTorch": str(torch.version.cuda),
        }
    environment = {**card, **describe_environment(), "CUDA tests": tests}
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    lines = ["# On a GPU", "", f"Written by `make gpu`, {date}.", ""]
    lines.append(markdown_table([("measured on", ""), *environment.items()]))
    for section in sections:
        lines += ["", f"## {section.title}", *section_lines(section)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
