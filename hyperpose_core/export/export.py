"""`hyperpose export`: an ONNX file of a checkpoint, written once it was held against the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperpose_core import __version__
from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.choices import LARGEST_EXPORT_DIFFERENCE
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.export.description import metadata_of, with_checksum
from hyperpose_core.export.graph import full_network, network_as_onnx
from hyperpose_core.export.graph_reading import read_graph
from hyperpose_core.export.onnx_engine import ExportedEngine, available_precisions, cpu_name
from hyperpose_core.files import replace_bytes
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.output import PoseArrays

"""What an output in float32 may differ by, as a part of the largest such output."""

_COMPARED = ("position", "orientation", "scene_log_probabilities")
_DRAWN_CELL = 16  # pixels between the random colours that drawn images are interpolated from


@dataclass(frozen=True)
class Difference:
    """How far a runtime's output is from the network's.

    Attributes:
        absolute: the largest over all inputs: metres for positions, components of the unit quaternion for
            orientations.
        relative: the same as a part of the largest output in magnitude.
    """

    absolute: float
    relative: float

    def rounded(self) -> Difference:
        """Return it with two digits, which is all that means anything."""
        return Difference(float(f"{self.absolute:.2g}"), float(f"{self.relative:.2g}"))


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        path: the file.
        differences: by precision and output, over the inputs of the check.
    """

    path: Path
    differences: Mapping[str, Mapping[str, Difference]]


def export_checkpoint(
    checkpoint: Checkpoint,
    path: Path,
    inputs: Tensor,
    source: str,
    largest: float = LARGEST_EXPORT_DIFFERENCE,
) -> Export:
    """Write a checkpoint as an ONNX file that holds all of it.

    The network in float32, with the weights that the checkpoint has, is what the file is compared with, one
    image at a time and all together. Other precisions that this CPU has are compared for information.

    Args:
        checkpoint: what to export.
        path: the file; it is replaced only once the new one is whole.
        inputs: [N, 3, h, w], normalised, of the size that the file is to take.
        source: where the inputs come from, for people.
        largest: the largest relative difference in float32.

    Raises:
        HyperPoseError: the file differs from the network, cannot be written, or a package is missing.
    """
    network, stored = full_network(checkpoint)
    size = (inputs.shape[2], inputs.shape[3])
    expected = _reference(network, inputs)
    graph = network_as_onnx(network, stored, size)
    differences = {
        precision: _differences(
            ExportedEngine(read_graph(graph), precision), inputs, expected, checkpoint.normalisation.scale
        )
        for precision in available_precisions()
    }
    for name, difference in differences["float32"].items():
        if not difference.relative <= largest:  # NaN is no agreement
            raise HyperPoseError(
                f"the exported network's {name} differs from the network's by {difference.relative} of "
                f"the largest value, more than {largest:g}: no file was written"
            )
    record = {
        "input_size": list(size),
        "checked_on": f"{len(inputs)} {source}",
        "cpu": cpu_name(),
        "differences": {
            precision: {name: asdict(difference) for name, difference in found.items()}
            for precision, found in differences.items()
        },
        "versions": {
            "hyperpose": __version__,
            **{package: version(package) for package in ("torch", "onnx", "openvino")},
        },
    }
    model = network_as_onnx(network, stored, size, metadata_of(checkpoint, record))
    replace_bytes(path, with_checksum(model), "exported file")
    return Export(path, differences)


def draw_inputs(checkpoint: Checkpoint, size: tuple[int, int], count: int, seed: int = 0) -> Tensor:
    """Draw random, smooth images and normalise them as the checkpoint says: [count, 3, *size]."""
    generator = torch.Generator().manual_seed(seed)
    cells = (count, 3, size[0] // _DRAWN_CELL + 2, size[1] // _DRAWN_CELL + 2)
    colours = torch.randint(0, 256, cells, generator=generator).float()
    images = torch.nn.functional.interpolate(colours, size=size, mode="bilinear", align_corners=False)
    return checkpoint.preprocessing.normalized(images)


def _reference(network: PoseModel, inputs: Tensor) -> PoseArrays:
    with torch.inference_mode():
        return network(inputs).arrays()


def _differences(
    engine: Engine, inputs: Tensor, expected: PoseArrays, metres: float
) -> dict[str, Difference]:
    together = engine(inputs)
    alone = [engine(image[None]) for image in inputs]
    found = {}
    for name in _COMPARED:
        if getattr(expected, name) is None:
            continue
        reference = _comparable(name, expected)
        answers = (
            _comparable(name, together),
            np.concatenate([_comparable(name, output) for output in alone]),
        )
        absolute = max(float(np.abs(answer - reference).max()) for answer in answers)
        unit = metres if name == "position" else 1.0
        found[name] = Difference(
            absolute * unit, absolute / max(float(np.abs(reference).max()), 1e-12)
        ).rounded()
    return found


def _comparable(name: str, output: PoseArrays) -> npt.NDArray[np.float32]:
    """Give an output, quaternions with unit length: the networks' own mean nothing by their length."""
    values = getattr(output, name)
    return values / np.linalg.norm(values, axis=1, keepdims=True) if name == "orientation" else values
