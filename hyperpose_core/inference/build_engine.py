"""Engines: ways to run a trained network, chosen by name."""

from __future__ import annotations

from dataclasses import replace

import torch

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.engines.build_network import build_network
from hyperpose_core.inference.engines.cuda import CudaEngine
from hyperpose_core.inference.engines.engine import (
    ENGINE_NAMES,
    PRECISIONS,
    EagerEngine,
    Engine,
    check_choice,
)
from hyperpose_core.inference.engines.target import Target, has_packed_layers, select_dtype

__all__ = ["ENGINE_NAMES", "PRECISIONS", "Engine", "build_engine"]


def build_engine(
    name: str,
    checkpoint: Checkpoint,
    device: torch.device,
    precision: str = "auto",
    input_size: tuple[int, int] | None = None,
) -> Engine:
    """Build the engine of a name around a checkpoint's network.

    Args:
        name: one of `ENGINE_NAMES`; "auto" takes the fastest that needs nothing more than PyTorch and
            starts at once.
        checkpoint: the network.
        device: where to run it.
        precision: one of `PRECISIONS`; "auto" is float32.
        input_size: (height, width) of the images in pixels where it is known, to prepare for it.

    Raises:
        HyperPoseError: the name or the precision is unknown, or this machine cannot do it; or the tensors do
            not fit the architecture.
    """
    check_choice("engine", name, ENGINE_NAMES)
    check_choice("precision", precision, PRECISIONS)
    if name == "exported":
        if device.type != "cpu":
            raise HyperPoseError(f"device {device}: exported networks run on the CPU; use cpu")
        # Its runtime is an optional package.
        from hyperpose_core.export.onnx_engine import convert_in_memory

        return convert_in_memory(checkpoint, precision, input_size)
    target = Target(device, select_dtype(precision, device))
    if input_size is not None:
        target = replace(target, input_size=input_size)
    network = build_network(checkpoint)
    if device.type == "cuda":
        return CudaEngine(network, target, checkpoint.preprocessing)
    return EagerEngine(network, replace(target, packed=has_packed_layers()))
