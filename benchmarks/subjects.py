"""What is measured: networks with random weights, and the ways there are to run them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.build_engine import build_engine
from hyperpose_core.inference.engines.engine import EXPORTED_SUFFIX, Engine
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.registry import build_model, default_normalisation

CPU = torch.device("cpu")
INPUT_SIZE = (224, 224)


@dataclass(frozen=True)
class Way:
    """A way to run a network.

    Attributes:
        engine: as `build_engine` knows it; "exported" runs the file that `hyperpose export` writes.
        precision: likewise.
        compressed: run what `hyperpose compress` makes to fit `BUDGET_MB`.
    """

    engine: str
    precision: str = "float32"
    compressed: bool = False

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{'compressed, ' if self.compressed else ''}{self.engine}, {self.precision}"


BUDGET_MB = 150
EAGER = Way("eager")
LOWERED_WAYS = tuple(Way(engine, "bfloat16") for engine in ("eager", "exported"))
WAYS = (EAGER, Way("exported"), *LOWERED_WAYS)
"""What every network is run with; lowered precision comes last."""

COMPRESSED = Way("eager", compressed=True)
COMPRESSED_WAYS = (COMPRESSED, Way("eager", "bfloat16", True), Way("exported", "float32", True))


@dataclass
class Subject:
    """A checkpoint, with the files that are made of it.

    Attributes:
        checkpoint: its file.
        folder: for the files that are made of it.
        missing: why a way could not be had, by the way's name.
    """

    checkpoint: Path
    folder: Path
    missing: dict[str, str] = field(default_factory=dict)

    def engine(self, way: Way, input_size: tuple[int, int] | None = INPUT_SIZE) -> Engine | None:
        """Build the engine of a way; None where this machine has it not, with the reason in `missing`."""
        try:
            path = self.file(way)
            if way.engine == "exported":
                return PoseEstimator.load(path, "cpu", precision=way.precision).engine
            return build_engine(way.engine, load_checkpoint(path), CPU, way.precision, input_size)
        except HyperPoseError as error:
            self.missing[way.name] = " ".join(str(error).split())
            return None

    def file(self, way: Way) -> Path:
        """Return the file that a way runs, making it first.

        Raises:
            HyperPoseError: the command that makes it failed.
        """
        path = self.checkpoint
        if way.compressed:
            path = self._made("compress", path, ".safetensors", "--budget", f"{BUDGET_MB}MB")
        if way.engine == "exported":
            path = self._made("export", path, EXPORTED_SUFFIX, "--force")
        return path

    def _made(self, verb: str, source: Path, suffix: str, *options: str) -> Path:
        made = self.folder / f"{source.stem}_{verb}{suffix}"
        if not made.is_file():
            made.parent.mkdir(parents=True, exist_ok=True)
            run_hyperpose(verb, str(source), "--output", str(made), *options)
        return made


def run_hyperpose(*arguments: str) -> str:
    """Run a verb of `hyperpose` in a process of its own and return what it printed.

    Raises:
        HyperPoseError: it failed; carries its last line.
    """
    command = [sys.executable, "-m", "hyperpose_core", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no word why"]
        raise HyperPoseError(f"hyperpose {arguments[0]} failed: {lines[-1]}")
    return done.stdout


def untrained_network(architecture: str, options: Mapping[str, object] | None = None) -> PoseModel:
    """Build a network with random weights that sees images apart, as trained ones do, in evaluation mode."""
    torch.manual_seed(0)
    chosen = dict(options or {})
    if "hyper" in architecture:
        chosen.setdefault("hypernetwork_initialisation", "released")  # else the generated heads give zero
    network = build_model(architecture, chosen)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(random_images(4))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval().requires_grad_(False)


def write_untrained(folder: Path, network: PoseModel) -> Subject:
    """Write a network with random weights as a checkpoint for images of 640x480 pixels, cropped to 224."""
    mean, std = default_normalisation(network.architecture, network.options)
    scenes = tuple(f"scene{number}" for number in range(network.scene_count or 1))
    path = folder / f"{network.architecture}_{len(scenes)}.safetensors"
    preprocessing = Preprocessing(resize=256, crop=INPUT_SIZE[0], mean=mean, std=std)
    save_checkpoint(
        path, Checkpoint(network.architecture, network.options, network.state_dict(), preprocessing, scenes)
    )
    return Subject(path, folder)


def random_images(count: int, height: int = INPUT_SIZE[0], width: int = INPUT_SIZE[1]) -> torch.Tensor:
    """Draw normalised images [count, 3, height, width]."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))
