"""How a network of this project is laid out in the files released with the paper.

The released names are not repeated here key by key: each is derived from the network that is to be filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.multiscene import MultiSceneModel
from hyperpose_core.models.released_keys import torchvision_key_by_released_key

BACKBONE_PREFIXES = {
    "posenet": "backbone.",
    "hyperpose": "_backbone.",
    "atloc": "feature_extractor.",
    "hyperatloc": "feature_extractor.",
    "mstransformer": "backbone.0.body.",
    "mshyperpose": "backbone.0.body.",
}
"""What precedes the backbone's own keys, by architecture."""

_BRANCHES = (("position", "t"), ("orientation", "rot"))
_UNUSED_CLASSIFIER = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


@dataclass(frozen=True)
class ReleasedTensor:
    """One tensor of a released file.

    Attributes:
        shape: its shape.
        dtype: its type.
        destinations: memory of the network to be filled, each with the rows of the released tensor that
            belong there; none for what the network leaves out.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    destinations: tuple[tuple[Tensor, slice], ...]

    def fill(self, value: Tensor) -> None:
        """Copy a released tensor of the right shape and type into the network."""
        for destination, rows in self.destinations:
            destination.copy_(value[rows] if value.ndim else value)


def released_tensors(network: PoseModel) -> dict[str, ReleasedTensor]:
    """Give what the released file of such a network must hold, by its key there.

    Together the destinations cover every tensor of the network.
    """
    tensors: dict[str, ReleasedTensor] = {}
    names = _released_modules(network)
    for key, tensor in network.state_dict().items():
        if key.startswith("backbone."):
            continue
        if key in names:
            tensors[names[key]] = _whole(tensor)
            continue
        module, _, kind = key.rpartition(".")
        for place, name, part in _released_parts(network, module, names, tensor):
            _add(tensors, name + kind, part, place)
    tensors.update(_backbone_tensors(network))
    return tensors


def _backbone_tensors(network: PoseModel) -> dict[str, ReleasedTensor]:
    prefix = BACKBONE_PREFIXES[network.architecture]
    state = network.backbone.state_dict()
    if network.model_options.backbone == "resnet34":
        return {prefix + key: _whole(tensor) for key, tensor in state.items()}
    names = torchvision_key_by_released_key()
    tensors = {prefix + name: _whole(state[key]) for name, key in names.items() if key in state}
    for name, shape in _UNUSED_CLASSIFIER.items():
        tensors[prefix + name] = ReleasedTensor(shape, torch.float32, ())
    return tensors


def _released_modules(network: PoseModel) -> dict[str, str]:
    """Give each module's released name up to `weight` or `bias`; for bare tensors the whole key."""
    if isinstance(network, MultiSceneModel):
        return _multi_scene_modules(network)
    if network.architecture in ("atloc", "hyperatloc"):
        modules = {f"attention.{name}": f"att.{name}." for name in ("g", "theta", "phi")}
        modules["attention.expand"] = "att.W."
        modules["embedding"] = "feature_extractor.fc."
        modules["position_head"] = "fc_xyz."
        modules["orientation_head"] = "fc_wpqr."
    else:
        modules = {"shared_head.linear": "fc1.", "position_head": "fc2.", "orientation_head": "fc3."}
    for branch, short in _BRANCHES:
        modules[f"{branch}_hypernetwork.condition"] = f"hyper_in_{short}_proj."
        modules[f"{branch}_hypernetwork.inputs"] = f"hyper_in_{short}."
        modules[f"{branch}_hypernetwork.layer.hidden"] = f"hyper_in_{short}_fc_2."
        modules[f"{branch}_hypernetwork.layer.generator"] = f"hypernet_{short}_fc_h2."
    return modules


def _multi_scene_modules(network: MultiSceneModel) -> dict[str, str]:
    modules = {
        "positions.rows": "backbone.1.row_embed.weight",
        "positions.columns": "backbone.1.col_embed.weight",
        "scene_classifier": "scene_embed.",
    }
    for branch, short in _BRANCHES:
        modules[f"{branch}_branch.queries"] = f"query_embed_{short}.weight"
        modules[f"{branch}_branch.projection"] = f"input_proj_{short}."
        modules[f"{branch}_head.hidden"] = f"regressor_head_{short}.fc_h."
        modules[f"{branch}_head.output"] = f"regressor_head_{short}.fc_o."
        modules[f"{branch}_hypernetwork.condition"] = f"hyper_in_{short}_proj."
        for index in range(3):
            modules[f"{branch}_hypernetwork.layers.{index}.hidden"] = f"hyper_in_{short}_fc_{index}."
            modules[f"{branch}_hypernetwork.layers.{index}.generator"] = f"hypernet_{short}_fc_h{index}."
        transformer = getattr(network, f"{branch}_branch").transformer
        stacks = (("encoder", len(transformer.encoder)), ("decoder", len(transformer.decoder)))
        for stack, count in stacks:
            ours, theirs = f"{branch}_branch.transformer.{stack}", f"transformer_{short}.{stack}"
            modules[f"{ours}_norm"] = f"{theirs}.norm."
            for index in range(count):
                layer = _encoder_layer_modules() if stack == "encoder" else _decoder_layer_modules()
                modules.update(
                    {
                        f"{ours}.{index}.{key}": f"{theirs}.layers.{index}.{name}"
                        for key, name in layer.items()
                    }
                )
    return modules


def _encoder_layer_modules() -> dict[str, str]:
    return {
        "attention_norm": "norm1.",
        "feed_forward_norm": "norm2.",
        "feed_forward.expand": "linear1.",
        "feed_forward.contract": "linear2.",
        **_attention_modules("attention", "self_attn"),
    }


def _decoder_layer_modules() -> dict[str, str]:
    return {
        "self_attention_norm": "norm1.",
        "cross_attention_norm": "norm2.",
        "feed_forward_norm": "norm3.",
        "feed_forward.expand": "linear1.",
        "feed_forward.contract": "linear2.",
        **_attention_modules("self_attention", "self_attn"),
        **_attention_modules("cross_attention", "multihead_attn"),
    }


def _attention_modules(ours: str, theirs: str) -> dict[str, str]:
    modules = {f"{ours}.{part}": f"{theirs}.in_proj_" for part in ("query", "key", "value")}
    modules[f"{ours}.output"] = f"{theirs}.out_proj."
    return modules


def _released_parts(
    network: PoseModel, module: str, names: dict[str, str], tensor: Tensor
) -> Iterator[tuple[int, str, Tensor]]:
    """Give, once or more, the place within a released tensor, its module's released name, and the memory."""
    name = names[module]
    if name.startswith("regressor_head_") and network.options.get("heads_per_scene"):
        head, layer = name.split(".", 1)
        for scene in range(len(tensor)):
            yield 0, f"{head}.{scene}.{layer}", tensor[scene]
    elif name.endswith("in_proj_"):
        yield ("query", "key", "value").index(module.rpartition(".")[2]), name, tensor
    else:
        yield 0, name, tensor


def _add(tensors: dict[str, ReleasedTensor], key: str, part: Tensor, place: int) -> None:
    """Enter memory that is filled from a released tensor's rows at `place` times its own number of rows."""
    rows = part.shape[0]
    before = tensors[key].destinations if key in tensors else ()
    destinations = (*before, (part, slice(place * rows, (place + 1) * rows)))
    tensors[key] = ReleasedTensor((rows * len(destinations), *part.shape[1:]), part.dtype, destinations)


def _whole(tensor: Tensor) -> ReleasedTensor:
    return ReleasedTensor(tuple(tensor.shape), tensor.dtype, ((tensor, slice(None)),))
