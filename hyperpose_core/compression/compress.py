"""From a trained checkpoint to a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from hyperpose_core.checkpoint.file import Checkpoint, checkpoint_size
from hyperpose_core.compression.layers import compressed_convolution, compressed_linear
from hyperpose_core.compression.plans import LOW_RANK, Plan
from hyperpose_core.compression.report import LayerReport, PartReport
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.engines.build_network import build_network
from hyperpose_core.models.base import PARTS, PoseModel
from hyperpose_core.models.compressed import LowRankLinear, compressible_layers, weight_of
from hyperpose_core.models.hypernetwork import GeneratedLinear

SMALLEST_LAYER = 4096
"""Weights; smaller layers stay as they are."""

_ACCURACY_BYTES = 1024
"""Kept free for what the accuracy on a dataset adds to the file, which is known only afterwards."""


def compress(checkpoint: Checkpoint, plan: Plan) -> Checkpoint:
    """Compress a checkpoint's network; its `compression` says what was done and how far weights moved.

    Args:
        checkpoint: a full one, which is left as it is.
        plan: what to do.

    Raises:
        HyperPoseError: the checkpoint is compressed already, its tensors do not fit its architecture, or one
            is not finite.
    """
    _check(checkpoint)
    network = build_network(checkpoint)
    before = _bytes_by_part(network)
    layers = _compress_layers(network, plan)
    after = _bytes_by_part(network)
    parts = [
        PartReport.of(part, before[part], after[part], [layer for layer in layers if layer.part == part])
        for part in PARTS
        if part in before
    ]
    document = {
        "method": plan.method,
        "generators": plan.generators,
        "linear_layers": plan.linears,
        "convolutions": plan.convolutions,
        "energy": plan.energy,
        "bytes_before": sum(before.values()),
        "bytes_after": sum(after.values()),
        "parts": {part.name: part.to_dict() for part in parts},
    }
    return replace(checkpoint, state=network.state_dict(), compression=document)


def compress_to_budget(checkpoint: Checkpoint, plans: Sequence[Plan], budget: int) -> Checkpoint:
    """Compress by the first plan whose file fits a budget in bytes.

    Raises:
        HyperPoseError: as for `compress`; or the checkpoint fits as it is; or no plan fits, and the message
            tells the smallest file that one gives.
    """
    _check(checkpoint)
    size = checkpoint_size(checkpoint)
    if size <= budget:
        raise HyperPoseError(f"the checkpoint takes {size:,} bytes and fits {budget:,} as it is")
    sizes: list[int] = []
    for plan in plans:
        compressed = compress(checkpoint, plan)
        sizes.append(checkpoint_size(compressed) + _ACCURACY_BYTES)
        if sizes[-1] <= budget:
            return compressed
    tried = plans[0].method if len({plan.method for plan in plans}) == 1 else "any method"
    raise HyperPoseError(f"{budget:,} bytes cannot be met by {tried}: the smallest is {min(sizes):,} bytes")


def _check(checkpoint: Checkpoint) -> None:
    if checkpoint.compression is not None:
        raise HyperPoseError("the checkpoint is compressed already: compress the one that it was made from")
    for name, tensor in checkpoint.state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise HyperPoseError(f"the checkpoint's tensor {name} is not finite: it cannot be compressed")


def _compress_layers(network: PoseModel, plan: Plan) -> list[LayerReport]:
    """Replace the layers that the plan names and say what was done to each."""
    generators = {
        f"{name}.generator" for name, module in network.named_modules() if isinstance(module, GeneratedLinear)
    }
    reports = []
    for name, layer in list(compressible_layers(network)):
        if layer.weight.numel() < SMALLEST_LAYER:
            continue
        compressed: nn.Module
        if isinstance(layer, nn.Conv2d):
            storage = plan.convolutions
            compressed = compressed_convolution(layer, storage)
        else:
            is_generator = name in generators
            storage = plan.generators if is_generator else plan.linears
            compressed = compressed_linear(layer, storage, plan.energy if is_generator else None)
        network.set_submodule(name, compressed)
        rank = compressed.rank if isinstance(compressed, LowRankLinear) else None
        reports.append(
            LayerReport(
                network.part_of(name),
                storage if rank is None else f"{LOW_RANK} {rank} {storage}",
                _relative_error(layer, compressed),
            )
        )
    return reports


def _relative_error(layer: nn.Linear | nn.Conv2d, compressed: nn.Module) -> float:
    """Give |W - W'| / |W| (Frobenius norms)."""
    weight = layer.weight.detach()
    size = float(weight.norm())
    return float((weight_of(compressed).detach() - weight).norm()) / size if size else 0.0


def _bytes_by_part(network: PoseModel) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, tensor in network.state_dict().items():
        part = network.part_of(name)
        sizes[part] = sizes.get(part, 0) + tensor.nbytes
    return sizes
