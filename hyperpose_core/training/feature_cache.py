"""What a frozen part of the network gives for the training images, kept memory-mapped on disk.

A stage that trains the rest alone then reads features instead of running the frozen part in every epoch. They
are those of a fixed number of augmented variants of each image; without augmentation one variant is exact.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import checksum, read_bytes, replace_text
from hyperpose_core.models.base import PoseModel
from hyperpose_core.training.cuts import Cut
from hyperpose_core.training.recipe import Recipe
from hyperpose_core.training.samples import Samples
from hyperpose_core.training.step import StepInputs
from hyperpose_core.untrusted import parse_json, reading


def kept_variants(recipe: Recipe, epochs: int) -> int:
    """Return of how many variants of each image a stage of so many epochs keeps features; 0 for none.

    Keeping as many as there are epochs would save nothing.
    """
    wanted = recipe.feature_variants
    if wanted is None:
        wanted = 1 if _varies_nothing(recipe) else 0
    return wanted if wanted < epochs else 0


def check_feature_variants(recipe: Recipe) -> None:
    """Refuse a number of variants that makes no sense for the recipe.

    Raises:
        HyperPoseError: no stage freezes anything, or all variants would be the same.
    """
    wanted = recipe.feature_variants or 0
    if wanted and not recipe.frozen_backbone_stride and all(s.trains == "everything" for s in recipe.stages):
        raise HyperPoseError(
            f"recipe: feature_variants: {wanted} keeps what frozen layers give, and no stage freezes any; "
            "set frozen_backbone_stride, add a stage that trains a branch, or leave feature_variants out"
        )
    if wanted > 1 and _varies_nothing(recipe):
        raise HyperPoseError(
            f"recipe: feature_variants: {wanted} variants would be the same image, because the augmentation "
            "varies nothing; leave feature_variants out"
        )


def _varies_nothing(recipe: Recipe) -> bool:
    augmentation = recipe.augmentation
    return not any(getattr(augmentation, field.name) for field in fields(augmentation))


_DESCRIPTION = "features.json"


@dataclass(frozen=True)
class FeatureSource:
    """What features are computed from.

    Attributes:
        samples: the images and labels.
        network: its frozen part must be in evaluation mode.
        cut: behind the frozen part.
        recipe: of the run.
        variants: of each image.
        seed: of the augmentation.
        device: where the network is.
        autocast: the precision of training.
    """

    samples: Samples
    network: PoseModel
    cut: Cut
    recipe: Recipe
    variants: int
    seed: int
    device: torch.device
    autocast: Callable[[], AbstractContextManager[object]]

    def fingerprint(self) -> str:
        """Return what tells these features from other ones."""
        recipe = self.recipe
        digest = hashlib.sha256(self.samples.image_digest().encode())
        digest.update(self.samples.label_digest().encode())
        settings = (recipe.augmentation, recipe.crop, recipe.precision, recipe.batch_size)
        digest.update(repr((type(self.cut).__name__, self.variants, self.seed, *settings)).encode())
        digest.update(np.asarray(self.samples.training).tobytes())
        for name, tensor in self.cut.frozen_state(self.network).items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def parts(self) -> Iterator[StepInputs]:
        """Yield the features, batch by batch: every image in its first variant, then in the next."""
        training, size = self.samples.training, self.recipe.batch_size
        total = self.variants * len(training)
        with tqdm(total=total, desc="keeping features", unit="image", dynamic_ncols=True) as progress:
            for variant in range(self.variants):
                for start in range(0, len(training), size):
                    indices = training[start : start + size]
                    batch = self.samples.training_batch(indices, self.seed, variant, self.device)
                    with torch.no_grad(), self.autocast():
                        features = self.cut.before(self.network, batch.images, batch.scenes)
                    yield StepInputs(features, batch.positions, batch.orientations, batch.scenes)
                    progress.update(len(indices))


class FeatureCache:
    """The features of all training images in all variants, with the labels that belong to them."""

    def __init__(self, folder: Path, source: FeatureSource) -> None:
        """Open the cache in a folder, filling it where it holds nothing or other features.

        Raises:
            HyperPoseError: the disk has no room.
        """
        self._variants, self._device = source.variants, source.device
        training = source.samples.training
        self._places = {index: place for place, index in enumerate(training)}
        fingerprint = source.fingerprint()
        kinds = _kinds_there(folder, fingerprint)
        if kinds is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            kinds = _fill(folder, source)
            content = {"fingerprint": fingerprint, "kinds": kinds, "crc32": _checksums(folder, len(kinds))}
            replace_text(folder / _DESCRIPTION, json.dumps(content), "description of the features")
        rows = source.variants * len(training)
        self._tensors = [_RowFile(_file(folder, number), rows, *kind) for number, kind in enumerate(kinds)]

    def batch(self, indices: Sequence[int], epoch: int) -> StepInputs:
        """Return what a step takes; the variants take turns from epoch to epoch."""
        first = epoch % self._variants * len(self._places)
        rows = [first + self._places[index] for index in indices]
        tensors = [tensor.read(rows).to(self._device) for tensor in self._tensors]
        return StepInputs(tuple(tensors[:-3]), *tensors[-3:])


class _RowFile:
    """A tensor [rows, ...] in a raw file."""

    def __init__(self, path: Path, rows: int, shape: Sequence[int], kind: str) -> None:
        self._kind = getattr(torch, kind)
        stored = np.int16 if self._kind == torch.bfloat16 else np.dtype(kind)
        self._values = np.memmap(path, dtype=stored, mode="r", shape=(rows, *shape))

    def read(self, rows: Sequence[int]) -> Tensor:
        tensor = torch.from_numpy(self._values[np.asarray(rows)]).view(self._kind)
        return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def _stored(tensor: Tensor) -> Tensor:
    """Return a tensor as its file holds it: maps with their channels last, as convolutions want them."""
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).contiguous().cpu()


def _fill(folder: Path, source: FeatureSource) -> list[tuple[list[int], str]]:
    """Write the files; return each one's shape of a row and type."""
    kinds: list[tuple[list[int], str]] = []
    streams = []
    try:
        for part in source.parts():
            tensors = [_stored(tensor) for tensor in (*part.features, *part[1:])]
            if not kinds:
                _check_room(folder, tensors, source)
                kinds = [(list(tensor.shape[1:]), str(tensor.dtype).split(".")[1]) for tensor in tensors]
                streams = [_file(folder, number).open("wb") for number in range(len(tensors))]
            for tensor, stream in zip(tensors, streams, strict=True):
                # NumPy has no bfloat16.
                bits = tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor
                bits.numpy().tofile(stream)
    except OSError as error:
        raise HyperPoseError(f"{folder}: cannot write features: {error.strerror or error}") from error
    finally:
        for stream in streams:
            stream.close()
    return kinds


def _check_room(folder: Path, tensors: Sequence[Tensor], source: FeatureSource) -> None:
    images = len(source.samples.training)
    row = sum(tensor[0].numel() * tensor.element_size() for tensor in tensors)
    needed, free = row * images * source.variants, shutil.disk_usage(folder).free
    if needed > free:
        raise HyperPoseError(
            f"{folder}: the features of {images} images in {source.variants} variants take "
            f"{needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free; `feature_variants: 0` in the recipe "
            "keeps none"
        )


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number}.bin"


def _checksums(folder: Path, count: int) -> list[int]:
    return [checksum(_file(folder, number)) for number in range(count)]


def _kinds_there(folder: Path, fingerprint: str) -> list[tuple[list[int], str]] | None:
    """Return each file's shape of a row and type; None where they are not there, of others, or damaged."""
    try:
        with reading(folder, "feature cache"):
            content = parse_json(read_bytes(folder / _DESCRIPTION), folder)
            kinds = [(list(shape), str(kind)) for shape, kind in content["kinds"]]
            is_whole = content["crc32"] == _checksums(folder, len(kinds))
            return kinds if is_whole and content["fingerprint"] == fingerprint else None
    except HyperPoseError:
        return None
