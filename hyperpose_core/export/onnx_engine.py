"""The engine that runs a network as an ONNX graph with OpenVINO, on the CPU.

The graph comes from a file that `hyperpose export` wrote, or is made in memory from a checkpoint. OpenVINO
folds batch norm, fuses layers and reads int8 weights without making them float32.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.export.description import check_checksum, checkpoint_from_metadata, export_from_metadata
from hyperpose_core.export.graph import LARGEST_EXPORTED_BYTES, full_network, network_as_onnx
from hyperpose_core.export.graph_reading import PACKAGES_HINT, first_line, read_graph, try_graph
from hyperpose_core.files import read_bytes
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.models.output import PoseOutput

if TYPE_CHECKING:
    import openvino

_OUTPUT_WIDTHS = {"position": 3, "orientation": 4}

# What OpenVINO calls a precision, and what it lists among a CPU's capabilities where that is worth having.
_PRECISIONS = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}


class ExportedFile(NamedTuple):
    """What an exported file holds.

    Attributes:
        checkpoint: the description of what was exported, without the network's tensors.
        export: how it was exported and what the check found, for people.
        graph: the network.
    """

    checkpoint: Checkpoint
    export: dict[str, object]
    graph: openvino.Model


class ExportedEngine(Engine):
    """Runs an ONNX graph; as many threads as PyTorch has when it is built."""

    name = "exported"
    device = torch.device("cpu")

    def __init__(self, graph: openvino.Model, precision: str = "auto") -> None:
        """Compile the graph for one image; for several, once they come.

        Args:
            graph: as `read_graph` gives it.
            precision: one of `PRECISIONS`; "auto" is float32.

        Raises:
            HyperPoseError: this CPU does not have the precision, or the graph cannot be compiled.
        """
        self.precision = "float32" if precision == "auto" else precision
        self._settings = _settings(self.precision)
        self._graph = graph
        self._outputs = _output_names(graph)
        self._lock = threading.Lock()
        _, _, height, width = graph.inputs[0].get_partial_shape()
        self.input_size = (height.get_length(), width.get_length())
        # The size of a batch being known is worth a tenth of the time, and one image is the robot's case.
        self._single = self._compile(1)
        self._several: openvino.InferRequest | None = None

    def __call__(self, inputs: Tensor) -> PoseOutput:
        """Run the network; see `Engine.__call__`."""
        expected = (3, *self.input_size)
        if inputs.ndim != 4 or tuple(inputs.shape[1:]) != expected:
            raise HyperPoseError(
                f"images of shape {list(inputs.shape)}: this network was exported for "
                f"{self.input_size[1]}x{self.input_size[0]} pixels, [N, 3, {expected[1]}, {expected[2]}]"
            )
        images = inputs.detach().to("cpu", torch.float32).contiguous().numpy()
        with self._lock:
            if len(images) > 1 and self._several is None:
                self._several = self._compile(None)
            request = self._single if len(images) == 1 or self._several is None else self._several
            results = request.infer([images], share_inputs=True)
        outputs = (torch.from_numpy(results[index]) for index in range(len(self._outputs)))
        return PoseOutput(**dict(zip(self._outputs, outputs, strict=True)))

    def _compile(self, count: int | None) -> openvino.InferRequest:
        """Compile the graph for a number of images, None for any."""
        import openvino

        self._graph.reshape([-1 if count is None else count, 3, *self.input_size])
        try:
            return openvino.Core().compile_model(self._graph, "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            raise HyperPoseError(f"OpenVINO cannot compile the network: {first_line(error)}") from error


def load_exported(
    path: Path, device: str = "auto", precision: str = "auto", is_tried: bool = False
) -> tuple[Checkpoint, Engine]:
    """Read a file that `hyperpose export` wrote and make it ready.

    Args:
        path: the .onnx file.
        device: "auto" or "cpu".
        precision: one of `PRECISIONS`; "auto" is float32.
        is_tried: try the file in a process of its own first, for whom it must not freeze or end.

    Returns:
        the checkpoint that was exported, without its network's tensors, and its engine.

    Raises:
        HyperPoseError: the file is missing, damaged or not from `hyperpose export`, the device or the
            precision is not to be had, or OpenVINO is not installed.
    """
    if device not in ("auto", "cpu"):
        raise HyperPoseError(f"device {device!r}: exported networks run on the CPU; use cpu or auto")
    file = read_exported(path, is_tried)
    return file.checkpoint, ExportedEngine(file.graph, precision)


def read_exported(path: Path, is_tried: bool = False) -> ExportedFile:
    """Read a file that `hyperpose export` wrote; what happens to it afterwards does not reach the graph.

    Args:
        path: the .onnx file.
        is_tried: as for `load_exported`.

    Raises:
        HyperPoseError: the file is missing, damaged or not from `hyperpose export`, or OpenVINO is not
            installed.
    """
    path = Path(path)
    data = read_bytes(path, "file", LARGEST_EXPORTED_BYTES)
    check_checksum(path, data)
    if is_tried:
        try_graph(data, str(path))
    graph = read_graph(data, str(path))
    metadata = _metadata(graph)
    checkpoint = checkpoint_from_metadata(path, metadata)
    if (reason := _misfit(graph)) is not None:
        raise HyperPoseError(f"{path}: not a pose network's graph: {reason}")
    return ExportedFile(checkpoint, export_from_metadata(metadata), graph)


def convert_in_memory(checkpoint: Checkpoint, precision: str, size: tuple[int, int] | None) -> Engine:
    """Export a checkpoint's network without a file, which takes some seconds, and make it ready.

    Args:
        checkpoint: the network.
        precision: one of `PRECISIONS`; "auto" is float32.
        size: (height, width) of the network's input in pixels.

    Raises:
        HyperPoseError: the size is not known, this CPU does not have the precision, or a package is missing.
    """
    if size is None:
        raise HyperPoseError(
            "the engine exported needs the size of the network's input, which this checkpoint does not tell: "
            "give it to `hyperpose export` (--size) and use the file that it writes"
        )
    network, stored = full_network(checkpoint)
    return ExportedEngine(read_graph(network_as_onnx(network, stored, size)), precision)


def available_precisions() -> list[str]:
    """Return the precisions that this CPU computes in without emulation.

    Raises:
        HyperPoseError: OpenVINO is not installed.
    """
    capabilities = _cpu_property("OPTIMIZATION_CAPABILITIES")
    return [name for name, (_, capability) in _PRECISIONS.items() if capability in capabilities]


def cpu_name() -> str:
    """Return this CPU's name.

    Raises:
        HyperPoseError: OpenVINO is not installed.
    """
    return str(_cpu_property("FULL_DEVICE_NAME"))


def _cpu_property(name: str) -> Any:
    try:
        import openvino
    except ImportError as error:
        raise HyperPoseError(PACKAGES_HINT) from error
    return openvino.Core().get_property("CPU", name)


def _settings(precision: str) -> dict[str, Any]:
    if precision not in available_precisions():
        raise HyperPoseError(
            f"precision {precision!r}: this CPU does not compute in it; "
            f"use auto, {', '.join(available_precisions())}"
        )
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision][0],
        # Else int8 weights would have what they are multiplied with rounded to int8 as well.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


def _metadata(graph: openvino.Model) -> dict[str, str]:
    if not graph.has_rt_info("framework"):
        return {}
    return {name: str(value.value) for name, value in graph.get_rt_info()["framework"].items()}


def _misfit(graph: openvino.Model) -> str | None:
    """Say what the graph has that a pose network's graph has not; None where it is one."""
    if len(graph.inputs) != 1:
        return f"{len(graph.inputs)} inputs"
    shape = graph.inputs[0].get_partial_shape()
    if len(shape) != 4 or shape[1] != 3 or shape[2].is_dynamic or shape[3].is_dynamic:
        return f"an input of shape {shape}"
    shapes = dict(
        zip(_output_names(graph), [port.get_partial_shape() for port in graph.outputs], strict=True)
    )
    if "" in shapes or not set(_OUTPUT_WIDTHS) <= set(shapes):
        return f"outputs {', '.join(shapes)}"
    if any(len(shapes[name]) != 2 or shapes[name][1] != width for name, width in _OUTPUT_WIDTHS.items()):
        return "outputs that are no poses"
    return None


def _output_names(graph: openvino.Model) -> list[str]:
    """Give each output's name in `PoseOutput`, empty where it has none; it may have others beside it."""
    return [next((name for name in PoseOutput._fields if name in port.names), "") for port in graph.outputs]
