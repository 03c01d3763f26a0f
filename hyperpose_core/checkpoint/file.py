"""One self-describing file: a network's tensors and everything needed to use them.

A `.safetensors` file whose metadata holds the format version and one JSON document. Nothing is unpickled.
PyTorch is imported where the tensors are read or written: exported files carry the description alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hyperpose_core.checkpoint.normalisation import PositionNormalisation
from hyperpose_core.choices import ORIENTATION_CONVENTIONS
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import replacing
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.world import World
from hyperpose_core.images import Preprocessing
from hyperpose_core.large_imports import import_large
from hyperpose_core.uncertainty.covariance import Uncertainty
from hyperpose_core.uncertainty.region import TrainedRegion
from hyperpose_core.untrusted import parse_json, reading

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1

_VERSION_KEY = "hyperpose_format_version"
_DOCUMENT_KEY = "hyperpose"
# Tensors that are not the network's. No module can have a name with a slash.
_UNCERTAINTY_PREFIX = "uncertainty/"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What the file holds.

    Attributes:
        architecture: the model's name in the registry.
        options: the model's options, as the registry takes them.
        state: the network's tensors by name.
        preprocessing: how images become input.
        scenes: scene names; a multi-scene network's scene ids are places in this tuple.
        world: the frame of the poses.
        normalisation: statistics taken out of the positions.
        orientation_convention: what the network's quaternion rotates; the estimator always gives
            camera-to-world.
        uncertainty: covariances from held-out residuals.
        camera: the training images' camera where it is known.
        region: where the training images were taken; None where that is not known.
        training: how it was trained (recipe, data, epochs, seed, version), for people.
        validation: what it scored on held-out blocks, for people.
        compression: how the tensors were made smaller and what that changed, for people; None where they are
            the trained ones.
        network_digest: tells the trained network from others, also when it was compressed or exported; None
            before it is saved, and in older files.
    """

    architecture: str
    options: Mapping[str, object]
    state: Mapping[str, Tensor]
    preprocessing: Preprocessing
    scenes: tuple[str, ...] = ()
    world: World = field(default_factory=World)
    normalisation: PositionNormalisation = field(default_factory=PositionNormalisation)
    orientation_convention: str = "camera_to_world"
    uncertainty: Uncertainty = field(default_factory=Uncertainty.unknown)
    camera: CameraModel | None = None
    region: TrainedRegion | None = None
    training: Mapping[str, object] = field(default_factory=dict)
    validation: Mapping[str, object] = field(default_factory=dict)
    compression: Mapping[str, object] | None = None
    network_digest: str | None = None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an existing file is replaced only once the new one is whole.

    Raises:
        HyperPoseError: the file cannot be written.
    """
    from hyperpose_core.checkpoint.tensor_file import write_tensor_file

    with replacing(path, "checkpoint") as stream:
        write_tensor_file(stream, *checkpoint_content(checkpoint))


def checkpoint_size(checkpoint: Checkpoint) -> int:
    """Give the size in bytes of the file that `save_checkpoint` writes."""
    from hyperpose_core.checkpoint.tensor_file import tensor_file_size

    return tensor_file_size(*checkpoint_content(checkpoint))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, its tensors on the CPU.

    The tensors have memory of their own: what happens to the file afterwards does not reach them.

    Raises:
        HyperPoseError: the file is missing, truncated, damaged, no checkpoint, of another format version, or
            its description is not what this version writes. The message names the file and the culprit.
            Or PyTorch is not installed.
    """
    import_large("hyperpose_core.checkpoint.tensor_file")
    from hyperpose_core.checkpoint.tensor_file import read_tensor_file

    path = Path(path)
    tensors, metadata = read_tensor_file(path)
    arrays = {name: tensors.pop(name).numpy() for name in [*tensors] if name.startswith(_UNCERTAINTY_PREFIX)}
    return checkpoint_from_description(path, arrays, metadata, tensors)


def checkpoint_from_description(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    state: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Build a checkpoint from what `checkpoint_description` gave.

    Args:
        path: the file they come from, for the errors.
        arrays: by name.
        metadata: text by name.
        state: the network's tensors by name; None leaves them out.

    Raises:
        HyperPoseError: the description is missing, of another format version or damaged.
    """
    document = _read_document(path, metadata)
    with reading(path, "checkpoint's description"):
        return _from_document(document, arrays, state or {})


def checkpoint_content(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata that a file of a checkpoint holds."""
    import torch

    arrays, metadata = checkpoint_description(checkpoint)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
    return {**checkpoint.state, **tensors}, metadata


def checkpoint_description(checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata that say everything of a checkpoint but the network's tensors."""
    document = {
        "architecture": checkpoint.architecture,
        "options": dict(checkpoint.options),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "scenes": list(checkpoint.scenes),
        "world": checkpoint.world.to_dict(),
        "normalisation": {
            "mean": checkpoint.normalisation.mean.tolist(),
            "scale": checkpoint.normalisation.scale,
        },
        "orientation_convention": checkpoint.orientation_convention,
        "uncertainty": checkpoint.uncertainty.to_dict(),
        "camera": None if checkpoint.camera is None else checkpoint.camera.to_dict(),
        "region": None if checkpoint.region is None else checkpoint.region.to_dict(),
        "training": dict(checkpoint.training),
        "validation": dict(checkpoint.validation),
        "network_digest": _digest_to_write(checkpoint),
    }
    if checkpoint.compression is not None:
        document["compression"] = dict(checkpoint.compression)
    arrays = {_UNCERTAINTY_PREFIX + name: values for name, values in checkpoint.uncertainty.arrays().items()}
    return arrays, {_VERSION_KEY: str(FORMAT_VERSION), _DOCUMENT_KEY: json.dumps(document)}


def holds_its_network(checkpoint: Checkpoint) -> bool:
    """Tell whether the tensors are those of `network_digest`; a copy with other tensors keeps its value."""
    return checkpoint.network_digest is not None and _digest(checkpoint) == checkpoint.network_digest


def _digest_to_write(checkpoint: Checkpoint) -> str | None:
    # Compressing and exporting leave the network that it was: what a map remembers of it still holds.
    is_derived = checkpoint.compression is not None or not checkpoint.state
    return (checkpoint.network_digest if is_derived else None) or _digest(checkpoint)


def _digest(checkpoint: Checkpoint) -> str | None:
    if not checkpoint.state:
        return None
    from hyperpose_core.checkpoint.tensor_file import tensors_digest

    return tensors_digest(checkpoint.state)


def _read_document(path: Path, metadata: Mapping[str, str]) -> Mapping[str, object]:
    version = metadata.get(_VERSION_KEY)
    if version is None:
        raise HyperPoseError(
            f"{path}: tensors without a HyperPose description; weights released with the paper go through "
            "`hyperpose import`"
        )
    if version != str(FORMAT_VERSION):
        raise HyperPoseError(
            f"{path}: checkpoint format version {version}; this program reads {FORMAT_VERSION}"
        )
    document = parse_json(metadata.get(_DOCUMENT_KEY, ""), path, "checkpoint's description")
    if not isinstance(document, dict):
        raise HyperPoseError(f"{path}: the checkpoint's description is not a JSON object")
    return document


def _from_document(
    document: Mapping[str, object], arrays: Mapping[str, np.ndarray], state: Mapping[str, Tensor]
) -> Checkpoint:
    data: dict = dict(document)
    arrays = {name.removeprefix(_UNCERTAINTY_PREFIX): values for name, values in arrays.items()}
    convention = data["orientation_convention"]
    if convention not in ORIENTATION_CONVENTIONS:
        raise ValueError(f"orientation_convention is {convention!r}, not one of {ORIENTATION_CONVENTIONS}")
    normalisation = PositionNormalisation(
        np.asarray(data["normalisation"]["mean"], dtype=np.float64).reshape(-1, 3),
        float(data["normalisation"]["scale"]),
    )
    scenes = data["scenes"]
    if not isinstance(scenes, list) or not all(isinstance(scene, str) for scene in scenes):
        raise ValueError("scenes is no list of names")
    if len(normalisation.mean) not in (1, len(scenes)):
        raise ValueError(f"{len(normalisation.mean)} means of positions for {len(scenes)} scenes")
    camera = data["camera"]
    # Older files lack them.
    region, compression, digest = (data.get(name) for name in ("region", "compression", "network_digest"))
    return Checkpoint(
        architecture=str(data["architecture"]),
        options=dict(data["options"]),
        state=state,
        preprocessing=Preprocessing.from_dict(data["preprocessing"]),
        scenes=tuple(scenes),
        world=World.from_dict(data["world"]),
        normalisation=normalisation,
        orientation_convention=convention,
        uncertainty=Uncertainty.from_dict(data["uncertainty"], arrays),
        camera=None if camera is None else CameraModel.from_dict(camera),
        region=None if region is None else TrainedRegion.from_dict(region),
        training=dict(data["training"]),
        validation=dict(data["validation"]),
        compression=None if compression is None else dict(compression),
        network_digest=None if digest is None else str(digest),
    )
