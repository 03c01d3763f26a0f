"""The engine that runs a network as an ONNX graph with OpenVINO, on the CPU, without PyTorch.

The graph comes from a file that `hyperpose export` wrote, or was made in memory of a checkpoint. OpenVINO
folds batch norm, fuses layers and reads int8 weights without making them float32.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.export.description import check_checksum, checkpoint_from_metadata, export_from_metadata
from hyperpose_core.export.graph_reading import RUNTIME_HINT, first_line, read_graph, try_graph
from hyperpose_core.files import read_bytes
from hyperpose_core.inference.engines.engine import Engine
from hyperpose_core.inference.engines.threads import default_threads
from hyperpose_core.limits import LARGEST_EXPORTED_BYTES
from hyperpose_core.models.output import PoseArrays

if TYPE_CHECKING:
    import openvino

    from hyperpose_core.inference.engines.engine import Images

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
    """Runs an ONNX graph."""

    name = "exported"
    runtime = "openvino"
    device = "cpu"
    takes_arrays = True

    def __init__(self, graph: openvino.Model, precision: str = "auto", threads: int = 0) -> None:
        """Compile the graph for one image; for several, once they come.

        Args:
            graph: as `read_graph` gives it.
            precision: one of `PRECISIONS`; "auto" is float32.
            threads: of the CPU; 0 takes as many as PyTorch would.

        Raises:
            HyperPoseError: this CPU does not have the precision, or the graph cannot be compiled.
        """
        self.precision = "float32" if precision == "auto" else precision
        self.threads = threads or default_threads()
        self._settings = _settings(self.precision, self.threads)
        self._graph = graph
        self._outputs = _output_names(graph)
        self._lock = threading.Lock()
        _, _, height, width = graph.inputs[0].get_partial_shape()
        self.input_size = (height.get_length(), width.get_length())
        # The size of a batch being known is worth a tenth of the time, and one image is the robot's case.
        self._single = self._compile(1)
        self._several: openvino.InferRequest | None = None

    def __call__(self, inputs: Images) -> PoseArrays:
        """Run the network; see `Engine.__call__`."""
        expected = (3, *self.input_size)
        if inputs.ndim != 4 or tuple(inputs.shape[1:]) != expected:
            raise HyperPoseError(
                f"images of shape {list(inputs.shape)}: this network was exported for "
                f"{self.input_size[1]}x{self.input_size[0]} pixels, [N, 3, {expected[1]}, {expected[2]}]"
            )
        images = np.ascontiguousarray(inputs, dtype=np.float32)
        with self._lock:
            if len(images) > 1 and self._several is None:
                self._several = self._compile(None)
            request = self._single if len(images) == 1 or self._several is None else self._several
            results = request.infer([images], share_inputs=True)
        outputs = (results[index] for index in range(len(self._outputs)))
        return PoseArrays(**dict(zip(self._outputs, outputs, strict=True)))

    def _compile(self, count: int | None) -> openvino.InferRequest:
        """Compile the graph for a number of images, None for any."""
        import openvino

        self._graph.reshape([-1 if count is None else count, 3, *self.input_size])
        try:
            return openvino.Core().compile_model(self._graph, "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            raise HyperPoseError(f"OpenVINO cannot compile the network: {first_line(error)}") from error


def load_exported(
    path: Path, device: str = "auto", precision: str = "auto", is_tried: bool = False, threads: int = 0
) -> tuple[Checkpoint, Engine]:
    """Read a file that `hyperpose export` wrote and make it ready.

    Args:
        path: the .onnx file.
        device: "auto" or "cpu".
        precision: one of `PRECISIONS`; "auto" is float32.
        is_tried: try the file in a process of its own first, for whom it must not freeze or end.
        threads: of the CPU; 0 takes as many as PyTorch would.

    Returns:
        the checkpoint that was exported, without its network's tensors, and its engine.

    Raises:
        HyperPoseError: the file is missing, damaged or not from `hyperpose export`, the device or the
            precision is not to be had, or OpenVINO is not installed.
    """
    if device not in ("auto", "cpu"):
        raise HyperPoseError(f"device {device!r}: exported networks run on the CPU; use cpu or auto")
    file = read_exported(path, is_tried)
    return file.checkpoint, ExportedEngine(file.graph, precision, threads)


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
        raise HyperPoseError(RUNTIME_HINT) from error
    return openvino.Core().get_property("CPU", name)


def _settings(precision: str, threads: int) -> dict[str, Any]:
    if precision not in available_precisions():
        raise HyperPoseError(
            f"precision {precision!r}: this CPU does not compute in it; "
            f"use auto, {', '.join(available_precisions())}"
        )
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # A thread that may only run on one core waits there for whoever is busy on it, while another is idle.
        "ENABLE_CPU_PINNING": False,
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
    """Give each output's name in `PoseArrays`, empty where it has none; it may have others beside it."""
    return [next((name for name in PoseArrays._fields if name in port.names), "") for port in graph.outputs]
