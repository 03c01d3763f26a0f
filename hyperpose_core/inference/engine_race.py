"""Which engine is faster on this machine: measured once a checkpoint, in a process of its own, and kept.

Run as a program it exports a checkpoint's network, times both engines in turns, and writes what it found.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hyperpose_core import __version__
from hyperpose_core.checkpoint.file import Checkpoint, holds_its_network, load_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text, replace_text
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.limits import LARGEST_DOCUMENT_BYTES
from hyperpose_core.untrusted import parse_json, reading

_PACKAGES = ("torch", "openvino", "onnx")
_MOST_KEPT = 4
_TURNS, _RUNS_A_TURN = 8, 6
_NICENESS = 5
_LONGEST_RACE_S = 300
_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl


@dataclass(frozen=True)
class EngineRace:
    """What a race found.

    Attributes:
        eager_ms: median of one image in the engine eager.
        exported_ms: the same in the engine exported.
    """

    eager_ms: float
    exported_ms: float

    @property
    def is_exported_faster(self) -> bool:
        """Whether the exported engine won."""
        return self.exported_ms < self.eager_ms

    def describe(self) -> str:
        """Say what was found."""
        return (
            f"exported takes {self.exported_ms:.1f} ms an image on this machine, eager {self.eager_ms:.1f} ms"
        )


def race_file(checkpoint: Checkpoint, size: tuple[int, int] | None, threads: int) -> Path | None:
    """Give where the exported network of a race is kept; its result lies beside it, with the ending .json.

    Another machine, network, input size, number of threads or version of a package has another file.

    Args:
        checkpoint: with a digest of its network, which one from a file has.
        size: (height, width) of the network's input.
        threads: of the CPU.

    Returns:
        the file; None where there can be no race: a package is missing, or digest or size are not known.
    """
    if checkpoint.network_digest is None or size is None or checkpoint.compression is not None:
        return None
    try:
        versions = [version(package) for package in _PACKAGES]
    except PackageNotFoundError:
        return None
    machine = [platform.machine(), _processor(), str(len(os.sched_getaffinity(0))), __version__]
    description = [checkpoint.architecture, dict(checkpoint.options), checkpoint.preprocessing.to_dict()]
    network = [checkpoint.network_digest, json.dumps(description), str(size)]
    text = "\n".join([*machine, *versions, *network, str(threads)])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "hyperpose_ros" / "engines" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.onnx"


def known_race(file: Path | None) -> EngineRace | None:
    """Return what a former race found; None where there was none, or nothing is left of it.

    Args:
        file: as `race_file` gives it.
    """
    if file is None or not file.is_file():
        return None
    path = file.with_suffix(".json")
    try:
        with reading(path, "race's result"):
            content = parse_json(read_text(path, "race's result", LARGEST_DOCUMENT_BYTES), path)
            return EngineRace(float(content["eager_ms"]), float(content["exported_ms"]))
    except HyperPoseError:
        return None


def run_race(checkpoint: Path, file: Path, threads: int) -> EngineRace:
    """Race in a process of its own, which takes seconds and ends with this one.

    Args:
        checkpoint: the file.
        file: where to keep the exported network, as `race_file` gives it.
        threads: of the CPU.

    Raises:
        HyperPoseError: the network cannot be exported or differs, or the result cannot be kept.
    """
    command = [sys.executable, "-m", __spec__.name, str(checkpoint), str(file), str(threads)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_LONGEST_RACE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HyperPoseError(f"engines cannot be raced: {error}") from error
    result = known_race(file)
    if ended.returncode != 0 or result is None:
        said = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise HyperPoseError(f"engines cannot be raced: {said or f'exit code {ended.returncode}'}")
    return result


def exported_engine(file: Path, precision: str, threads: int) -> Engine:
    """Make the engine of a race's exported network ready.

    Raises:
        HyperPoseError: the file is damaged, or OpenVINO is missing.
    """
    from hyperpose_core.export.onnx_engine import ExportedEngine, read_exported

    return ExportedEngine(read_exported(file).graph, precision, threads)


def main() -> int:
    """Race as the command line says; 2 with the reason on standard error where that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("threads", type=int)
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    os.nice(_NICENESS)
    try:
        _race(options.checkpoint, options.file, options.threads)
    except HyperPoseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _race(path: Path, file: Path, threads: int) -> None:
    import torch

    from hyperpose_core.export.export import draw_inputs, export_checkpoint
    from hyperpose_core.inference.build_engine import build_engine
    from hyperpose_core.inference.estimator import known_input_size

    checkpoint = load_checkpoint(path)
    size = known_input_size(checkpoint)
    if size is None:
        raise HyperPoseError(f"{path}: the size of the network's input is not known")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HyperPoseError(f"{file.parent}: cannot be made: {error.strerror}") from error
    if race_file(checkpoint, size, threads) != file or not holds_its_network(checkpoint):
        raise HyperPoseError(f"{path}: holds another network by now")
    images = draw_inputs(checkpoint, size, 2)
    export_checkpoint(checkpoint, file, images, "drawn images")
    engines = {
        "eager_ms": build_engine("eager", checkpoint, torch.device("cpu"), "float32", size, threads),
        "exported_ms": exported_engine(file, "float32", threads),
    }
    turns: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(_TURNS):
        for name, engine in engines.items():
            turns[name].append(_milliseconds(engine, images[:1].numpy()))
    race = EngineRace(**{name: statistics.median(values[1:]) for name, values in turns.items()})
    replace_text(file.with_suffix(".json"), json.dumps(asdict(race)), "race's result")
    _make_room(file.parent)


def _milliseconds(engine: Engine, images: object) -> float:
    begin = time.perf_counter()
    for _ in range(_RUNS_A_TURN):
        engine(images)  # type: ignore[arg-type]
    return 1e3 * (time.perf_counter() - begin) / _RUNS_A_TURN


def _make_room(folder: Path) -> None:
    """Delete all but the latest races: exported networks are large."""
    files = sorted(folder.glob("*.onnx"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in files[_MOST_KEPT:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".json").unlink(missing_ok=True)


def _processor() -> str:
    """Name the CPU, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    sys.exit(main())
