"""How large the parts of a checkpoint's network are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.registry import build_model, restore_model

UNUSED_CLASSIFIER_PARAMETERS = 1_281_000
"""Of EfficientNet's 1000-way classifier, which the released files carry and no network here needs."""

_GROUPS = {
    "backbone": ("backbone",),
    "transformer": ("transformer",),
    "scene classifier": ("scene",),
    "heads": ("shared_head", "position_head", "orientation_head"),
    "hypernetwork": ("position_hypernetwork", "orientation_hypernetwork"),
}


@dataclass(frozen=True)
class PartSize:
    """Size of a part of a network.

    Attributes:
        parameters: trainable numbers in it; batch norm's statistics are not counted.
        bytes: memory of all its tensors, those statistics included.
    """

    parameters: int
    bytes: int


def part_sizes(network: PoseModel) -> dict[str, PartSize]:
    """Give the sizes of a network's parts (keys of `models.base.PARTS`), those that it has.

    A compressed network has the parameters of the full one that it stands for, in fewer bytes.
    """
    counts: Counter[str] = Counter()
    for name, parameter in _blueprint(network).named_parameters():
        counts[network.part_of(name)] += parameter.numel()
    sizes: Counter[str] = Counter()
    for name, tensor in network.state_dict().items():
        sizes[network.part_of(name)] += tensor.nbytes
    return {part: PartSize(counts[part], size) for part, size in sizes.items()}


def _blueprint(network: PoseModel) -> PoseModel:
    """Give the full network of the same options, without tensors."""
    with torch.device("meta"):
        return build_model(network.architecture, network.options)


def size_table(checkpoint: Checkpoint) -> list[str]:
    """Give the lines that tell the sizes of a network's parts.

    Raises:
        HyperPoseError: the tensors do not fit the architecture.
    """
    network = restore_model(checkpoint.architecture, checkpoint.options, checkpoint.state)
    return list(_lines(network))


def _lines(network: PoseModel) -> Iterator[str]:
    sizes = part_sizes(network)
    yield f"{'part':<28}{'parameters':>14}{'bytes':>16}"
    for title, parts in _GROUPS.items():
        present = [part for part in parts if part in sizes]
        if present:
            yield _size_row(title, [sizes[part] for part in present])
        if len(present) > 1:
            yield from (_size_row(f"  {part}", [sizes[part]]) for part in present)
    yield _size_row("all", sizes.values())
    if network.model_options.backbone.startswith("efficientnet"):
        yield (
            f"(left out: the backbone's unused 1000-way classifier, {UNUSED_CLASSIFIER_PARAMETERS:,} "
            "parameters, which the released files carry)"
        )
    parameters = _blueprint(network).parameters()
    unused = sum(parameter.numel() for parameter in parameters if not parameter.requires_grad)
    if unused:
        yield f"(carried, but neither run nor trained: the backbone's {unused:,} parameters behind stride 16)"


def _size_row(title: str, sizes: Iterable[PartSize]) -> str:
    sizes = list(sizes)
    parameters, size = sum(part.parameters for part in sizes), sum(part.bytes for part in sizes)
    return f"{title:<28}{parameters:>14,}{size:>16,}"
