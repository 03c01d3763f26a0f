"""From a checkpoint to an ONNX graph.

The graph holds float32 weights, but for layers that the checkpoint holds in int8 or bfloat16: these stay as
they are, with a node that makes them float32 on the way, unless no image changes what they give. Batch norm
is folded into the convolutions, whose weights are float32 therefore. The size of the images is fixed, their
number is not.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.engines.build_network import build_network
from hyperpose_core.limits import LARGEST_EXPORTED_BYTES
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.compressed import CompressedConv2d, CompressedLinear, StoredWeight
from hyperpose_core.models.output import PoseOutput

if TYPE_CHECKING:
    import onnx

_Layer = TypeVar("_Layer", nn.Linear, nn.Conv2d)

_OPSET = 17  # has LayerNormalization; every runtime of the last years reads it

# What these layers give no image changes. OpenVINO computes it once, but not from weights in fewer bytes.
_SAME_FOR_ALL_IMAGES = (
    "transformer.decoder.0.self_attention.",
    "transformer.decoder.0.cross_attention.query.",
)


def full_network(checkpoint: Checkpoint) -> tuple[PoseModel, dict[str, StoredWeight]]:
    """Build a checkpoint's network with ordinary layers in place of compressed ones.

    Returns:
        the network, in evaluation mode, computing in float32 with the weights that the checkpoint has; and,
        by name, the linear layers' weights that the graph is to hold in fewer bytes.

    Raises:
        HyperPoseError: the tensors don't fit the architecture.
    """
    network = build_network(checkpoint).eval().requires_grad_(False)
    stored: dict[str, StoredWeight] = {}
    for name, module in list(network.named_modules()):
        if isinstance(module, CompressedLinear):
            weight = f"{name}.weight"
            if not any(part in weight for part in _SAME_FOR_ALL_IMAGES):
                stored[weight] = StoredWeight(module.weight, module.scale)
            network.set_submodule(name, _full_linear(module))
        elif isinstance(module, CompressedConv2d):
            network.set_submodule(name, _full_convolution(module))
    return network, stored


def network_as_onnx(
    network: PoseModel,
    stored: Mapping[str, StoredWeight],
    size: tuple[int, int],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Write a network as an ONNX model with the input "images" and the outputs of `PoseOutput`, by name.

    Args:
        network: in evaluation mode.
        stored: weights, by name, to be held as they are here instead of in float32.
        size: (height, width) of the images in pixels.
        metadata: text by name, to be put into the model.

    Raises:
        HyperPoseError: images of this size are impossible, or a package is missing.
    """
    try:
        import onnx
    except ImportError as error:
        raise HyperPoseError(
            "exporting a network needs onnx, which is not installed: pip install 'hyperpose_ros[train]'"
        ) from error
    model = onnx.load_model_from_string(_traced(network, size))
    for name, weight in stored.items():
        _hold_as_stored(model.graph, f"network.{name}", weight)
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    if model.ByteSize() > LARGEST_EXPORTED_BYTES:
        raise HyperPoseError("the network is too large for an ONNX file (2 GB); compress it first")
    return model.SerializeToString()


class _NamedOutputs(nn.Module):
    """A network whose outputs that are None are left out, as ONNX has no such thing."""

    def __init__(self, network: PoseModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the network on images [N, 3, H, W]."""
        return tuple(output for output in self.network(images) if output is not None)


def _traced(network: PoseModel, size: tuple[int, int]) -> bytes:
    # Two of them: with one alone, sizes of 1 that are the batch's would look like constants.
    images = torch.zeros(2, 3, *size)
    with torch.inference_mode():
        output: PoseOutput = network(images)
    names = [name for name, value in output._asdict().items() if value is not None]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # About branches on the images' size, which is fixed, and about this exporter's age: OpenVINO runs its
        # graph as fast as the newer one's, it needs a quarter of the time and no further package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _NamedOutputs(network).eval(),
            (images,),
            buffer,  # type: ignore[arg-type]  # this exporter takes it
            dynamo=False,
            opset_version=_OPSET,
            # Leaves the weights their names; runtimes fold constants themselves.
            do_constant_folding=False,
            input_names=["images"],
            output_names=names,
            dynamic_axes={name: {0: "count"} for name in ["images", *names]},
        )
    return buffer.getvalue()


def _hold_as_stored(graph: onnx.GraphProto, name: str, weight: StoredWeight) -> None:
    """Replace a float32 weight of a graph by what is stored of it and a node that makes it float32."""
    from onnx import TensorProto, helper, numpy_helper

    found = next(initializer for initializer in graph.initializer if initializer.name == name)
    graph.initializer.remove(found)
    values = f"{name}.stored"
    if weight.scale is None:
        raw = weight.values.detach().contiguous().view(torch.int16).numpy().tobytes()
        tensor = helper.make_tensor(values, TensorProto.BFLOAT16, weight.values.shape, raw, raw=True)
        graph.initializer.append(tensor)
        node = helper.make_node("Cast", [values], [name], to=TensorProto.FLOAT)
    else:
        scale = f"{name}.scale"
        graph.initializer.append(numpy_helper.from_array(weight.values.detach().numpy(), values))
        graph.initializer.append(numpy_helper.from_array(weight.scale.detach().float().numpy(), scale))
        node = helper.make_node("DequantizeLinear", [values, scale], [name], axis=0)
    graph.node.insert(0, node)


def _full_linear(layer: CompressedLinear) -> nn.Linear:
    full = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    return _filled(full, layer)


def _full_convolution(layer: CompressedConv2d) -> nn.Conv2d:
    out_channels, in_channels, *kernel = layer.weight.shape
    full = nn.Conv2d(
        in_channels * layer.groups,
        out_channels,
        cast(tuple[int, int], tuple(kernel)),
        stride=cast(tuple[int, int], layer.stride),
        padding=cast(tuple[int, int], layer.padding),
        dilation=cast(tuple[int, int], layer.dilation),
        groups=layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    return _filled(full, layer)


def _filled(full: _Layer, layer: CompressedLinear | CompressedConv2d) -> _Layer:
    full.weight = nn.Parameter(layer.dense_weight(), requires_grad=False)
    if layer.bias is not None:
        full.bias = nn.Parameter(layer.bias.float(), requires_grad=False)
    return full.eval()
