"""Engines: ways to run a trained network, chosen by name."""

from __future__ import annotations

from dataclasses import replace

import torch

from hyperpose_core.checkpoint.file import Checkpoint, holds_its_network
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.engines.build_network import build_network
from hyperpose_core.inference.engines.cuda import CudaEngine
from hyperpose_core.inference.engines.eager import EagerEngine
from hyperpose_core.inference.engines.engine import ENGINE_NAMES, PRECISIONS, Engine, check_choice
from hyperpose_core.inference.engines.target import Target, has_packed_layers, select_dtype

__all__ = ["ENGINE_NAMES", "PRECISIONS", "Engine", "build_engine", "select_device"]


def select_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device that this machine has.

    Raises:
        HyperPoseError: the name is unknown or the device isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise HyperPoseError(f"device {name!r} is unknown; use auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise HyperPoseError(f"device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise HyperPoseError(
            f"device {name!r} is not on this machine; use cpu, or auto to take what there is"
        )
    return device


def build_engine(
    name: str,
    checkpoint: Checkpoint,
    device: torch.device,
    precision: str = "auto",
    input_size: tuple[int, int] | None = None,
    threads: int = 0,
) -> Engine:
    """Build the engine of a name around a checkpoint's network.

    Args:
        name: one of `ENGINE_NAMES`; "auto" takes what a race on this machine has found to be faster
            (`engine_race`), where there was one, else eager.
        checkpoint: the network.
        device: where to run it.
        precision: one of `PRECISIONS`; "auto" is float32.
        input_size: (height, width) of the images in pixels where it is known, to prepare for it.
        threads: of the CPU for one inference; 0 leaves PyTorch's choice.

    Raises:
        HyperPoseError: the name or the precision is unknown, or this machine cannot do it; or the tensors do
            not fit the architecture.
    """
    check_choice("engine", name, ENGINE_NAMES)
    check_choice("precision", precision, PRECISIONS)
    if name == "exported":
        if device.type != "cpu":
            raise HyperPoseError(f"device {device}: exported networks run on the CPU; use cpu")
        return _exported(checkpoint, precision, input_size, threads)
    if name == "auto" and device.type == "cpu" and precision in ("auto", "float32"):
        winner = _exported_winner(checkpoint, input_size, threads)
        if winner is not None:
            return winner
    target = Target(device, select_dtype(precision, device))
    if input_size is not None:
        target = replace(target, input_size=input_size)
    network = build_network(checkpoint)
    if device.type == "cuda":
        return CudaEngine(network, target, checkpoint.preprocessing)
    return EagerEngine(network, replace(target, packed=has_packed_layers()), threads)


def _exported_winner(checkpoint: Checkpoint, size: tuple[int, int] | None, threads: int) -> Engine | None:
    """Give the exported engine that a race has left, where it was faster than the eager one."""
    from hyperpose_core.inference.engine_race import exported_engine, known_race, race_file

    file = race_file(checkpoint, size, threads or torch.get_num_threads())
    race = known_race(file)
    if file is None or race is None or not race.is_exported_faster or not holds_its_network(checkpoint):
        return None
    try:
        return exported_engine(file, "float32", threads)
    except HyperPoseError:  # what is kept is damaged, and was only of use
        return None


def _exported(checkpoint: Checkpoint, precision: str, size: tuple[int, int] | None, threads: int) -> Engine:
    """Export a checkpoint's network without a file, which takes some seconds, and make it ready.

    Raises:
        HyperPoseError: the size is not known, this CPU does not have the precision, or a package is missing.
    """
    # Their packages are optional.
    from hyperpose_core.export.graph import full_network, network_as_onnx
    from hyperpose_core.export.graph_reading import read_graph
    from hyperpose_core.export.onnx_engine import ExportedEngine

    if size is None:
        raise HyperPoseError(
            "the engine exported needs the size of the network's input, which this checkpoint does not tell: "
            "give it to `hyperpose export` (--size) and use the file that it writes"
        )
    network, stored = full_network(checkpoint)
    return ExportedEngine(read_graph(network_as_onnx(network, stored, size)), precision, threads)
