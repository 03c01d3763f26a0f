"""The released networks' layouts, and the rule by which their weights and input are made up.

`data/golden/` holds, for each released network, its keys and shapes and what it gave for the made-up input.
The keys of the two backbones are kept in files of their own.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hyperpose_core.models.base import PoseModel
from hyperpose_core.released.importer import import_released

FOLDER = Path(__file__).parent / "data" / "golden"
SEVEN_SCENES = ("chess", "fire", "heads", "office", "pumpkin", "redkitchen", "stairs")
CAMBRIDGE = ("KingsCollege", "OldHospital", "ShopFacade", "StMarysChurch")


@dataclass(frozen=True)
class Golden:
    """One released network: the file's name, the architecture here, and its scenes."""

    name: str
    model: str
    scenes: tuple[str, ...] | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        content = self._content()
        backbone = json.loads((FOLDER / f"{content['backbone']}.json").read_text())["keys"]
        keys = {content["backbone_prefix"] + key: shape for key, shape in backbone.items()}
        return {key: tuple(shape) for key, shape in {**keys, **content["keys"]}.items()}

    def outputs(self) -> dict[str, Tensor]:
        return {name: torch.tensor(values) for name, values in self._content()["outputs"].items()}

    def state(self) -> dict[str, Tensor]:
        return {name: make_tensor(name, shape) for name, shape in self.shapes().items()}

    def network(self) -> PoseModel:
        return import_released(self.state(), self.model, self.scenes)

    def _content(self) -> dict:
        return json.loads((FOLDER / f"{self.name}.json").read_text())


GOLDENS = (
    Golden("effposenet", "posenet"),
    Golden("hyperpose", "hyperpose"),
    Golden("atloc", "atloc"),
    Golden("hyperatloc", "hyperatloc"),
    Golden("mstransposenet_7scenes", "mstransformer", SEVEN_SCENES),
    Golden("emstransposenet_cambridge", "mstransformer", CAMBRIDGE),
    Golden("mshyperpose_7scenes", "mshyperpose", SEVEN_SCENES),
    Golden("mshyperpose_cambridge", "mshyperpose", CAMBRIDGE),
)


def golden(name: str) -> Golden:
    return next(candidate for candidate in GOLDENS if candidate.name == name)


def make_input() -> Tensor:
    return torch.from_numpy(_generator("input").standard_normal((2, 3, 224, 224)).astype(np.float32))


def make_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    generator = _generator(name)
    if name.endswith("running_var"):
        return torch.from_numpy((1 + generator.random(shape)).astype(np.float32))
    values = generator.standard_normal(shape)
    if "embed.weight" in name:
        pass
    elif len(shape) >= 2:
        gain = 9 if name.endswith("in_proj_weight") else 0.25 if "hypernet_" in name else 1
        values *= math.sqrt(gain / math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.1 * values
    else:
        values *= 0.1
    return torch.from_numpy(values.astype(np.float32))


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"a:{name}".encode()))
