"""Importer of the weights released with the paper: the one place where pickled networks are read.

Read without running code (`models/released_files.py`), matched key by key with what the network needs
(`layout.py`), and refused as a whole where anything does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.registry import MODEL_NAMES, build_model
from hyperpose_core.models.released_files import read_state_dict, tensors_of
from hyperpose_core.released.layout import BACKBONE_PREFIXES, ReleasedTensor, released_tensors

MULTI_SCENE_MODELS = ("mstransformer", "mshyperpose")

_DATA_PARALLEL_PREFIX = "module."
_LISTED = 8


def import_released(
    source: str | Path | Mapping[str, Tensor], model: str, scenes: Sequence[str] | None = None
) -> PoseModel:
    """Build a network from released weights.

    The backbone, the layer counts, heads per scene or shared, and whether an AtLoc head gives logarithms of
    quaternions are read off the keys. EfficientNet's unused 1000-way classifier, which the files carry, is
    left out.

    Args:
        source: file with a state dict, or the state dict itself; bare, under `model_state_dict`, or with
            the prefix `module.` of data-parallel training.
        model: one of `MODEL_NAMES`.
        scenes: scene names in the order of the file's scene ids; needed by multi-scene networks.

    Returns:
        The network on the CPU, in evaluation mode. `options` on it builds the same network with
        `build_model`.

    Raises:
        HyperPoseError: the file cannot be read, or carries code, or does not fit: missing, unexpected and
            misshapen keys, tensors of a wrong type and tensors with NaN are listed.
    """
    if model not in MODEL_NAMES:
        raise HyperPoseError(f"unknown model {model!r}: choose one of {', '.join(MODEL_NAMES)}")
    origin = "state dict" if isinstance(source, Mapping) else str(source)
    state = tensors_of(source, origin) if isinstance(source, Mapping) else read_state_dict(source)
    if all(key.startswith(_DATA_PARALLEL_PREFIX) for key in state):
        state = {key.removeprefix(_DATA_PARALLEL_PREFIX): value for key, value in state.items()}
    options = _read_options(model, state)
    if model in MULTI_SCENE_MODELS:
        options["scene_count"] = _count_scenes(origin, model, state, scenes)
    elif scenes is not None and len(scenes) > 1:
        raise HyperPoseError(f"{origin}: {model} is a network for one scene, but {len(scenes)} were given")
    with torch.device("meta"):
        network = build_model(model, options)
    network = network.to_empty(device="cpu").eval()
    expected = released_tensors(network)
    _check(origin, model, state, expected)
    with torch.no_grad():
        for key, tensor in expected.items():
            tensor.fill(state[key])
    return network


def _read_options(model: str, state: Mapping[str, Tensor]) -> dict[str, object]:
    """Read off the keys what the network is made of; what cannot be told is left to the check."""
    if model in ("atloc", "hyperatloc"):
        head = state.get("fc_wpqr.weight")
        is_logarithm = head is not None and head.shape[:1] == (3,)
        return {"orientation_head": "log_quaternion" if is_logarithm else "quaternion"}
    prefix = BACKBONE_PREFIXES[model]
    has_blocks = any(key.startswith(f"{prefix}_blocks.") for key in state)
    is_b0 = not has_blocks or any(key.startswith(prefix) and "._se_" in key for key in state)
    options: dict[str, object] = {"backbone": "efficientnet_b0" if is_b0 else "efficientnet_lite0"}
    if model in MULTI_SCENE_MODELS:
        for branch, short in (("position", "t"), ("orientation", "rot")):
            stacks = (f"transformer_{short}.{stack}.layers" for stack in ("encoder", "decoder"))
            options[f"{branch}_layers"] = [_count_layers(state, stack) for stack in stacks]
    if model == "mstransformer":
        options["heads_per_scene"] = any(key.startswith("regressor_head_t.0.") for key in state)
    return options


def _count_layers(state: Mapping[str, Tensor], stack: str) -> int:
    count = 0
    while any(key.startswith(f"{stack}.{count}.") for key in state):
        count += 1
    return max(count, 1)


def _count_scenes(origin: str, model: str, state: Mapping[str, Tensor], scenes: Sequence[str] | None) -> int:
    counts = {
        len(state[key])
        for key in ("query_embed_t.weight", "query_embed_rot.weight")
        if _is_table(state.get(key))
    }
    in_file = counts.pop() if len(counts) == 1 else None
    if not scenes:
        number = "" if in_file is None else f"{in_file} "
        raise HyperPoseError(
            f"{origin}: {model} needs the names of its {number}scenes, in the order of their ids"
        )
    if len(set(scenes)) != len(scenes):
        raise HyperPoseError(f"{origin}: a scene is named twice in {', '.join(scenes)}")
    if in_file is not None and in_file != len(scenes):
        raise HyperPoseError(
            f"{origin}: query_embed_t.weight and query_embed_rot.weight hold {in_file} scenes, but "
            f"{len(scenes)} were named: {', '.join(scenes)}"
        )
    return len(scenes)


def _is_table(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.ndim == 2


def _check(
    origin: str, model: str, state: Mapping[str, Tensor], expected: Mapping[str, ReleasedTensor]
) -> None:
    problems = [
        *_listed("missing", (key for key in expected if key not in state)),
        *_listed("unexpected", (key for key in state if key not in expected)),
    ]
    common = [(key, state[key], tensor) for key, tensor in expected.items() if key in state]
    misshapen = [
        f"{key} (found {list(value.shape)}, expected {list(tensor.shape)})"
        for key, value, tensor in common
        if tuple(value.shape) != tensor.shape
    ]
    mistyped = [
        f"{key} (found {_type_of(value)}, expected {_short(tensor.dtype)})"
        for key, value, tensor in common
        if _type_of(value) != _short(tensor.dtype)
    ]
    problems += [*_listed("misshapen", misshapen), *_listed("wrong type", mistyped)]
    if not mistyped:
        infinite = (key for key, value, _ in common if not torch.isfinite(value).all())
        problems += _listed("NaN or infinite values", infinite)
    if problems:
        raise HyperPoseError(f"{origin}: these are not the weights of {model}: {'; '.join(problems)}")


def _listed(problem: str, keys: Iterable[str]) -> list[str]:
    keys = list(keys)
    if not keys:
        return []
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return [f"{problem}: {', '.join(keys[:_LISTED])}{more}"]


def _type_of(tensor: Tensor) -> str:
    """Name a tensor's type as errors should show it; sparse ones are never what is expected."""
    name = _short(tensor.dtype)
    return name if tensor.layout == torch.strided else f"{name}, {_short(tensor.layout)}"


def _short(kind: object) -> str:
    return str(kind).removeprefix("torch.")
