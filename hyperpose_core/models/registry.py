"""Networks by name, built from the options that a checkpoint carries."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hyperpose_core.choices import MODEL_NAMES
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.atloc import AtLoc, HyperAtLoc
from hyperpose_core.models.backbones import normalisation_of
from hyperpose_core.models.base import PoseModel
from hyperpose_core.models.compressed import fit_network_to_tensors
from hyperpose_core.models.hyperpose import HyperPose
from hyperpose_core.models.mshyperpose import MSHyperPose
from hyperpose_core.models.mstransformer import MSTransformer
from hyperpose_core.models.options import options_as_data, parse_options
from hyperpose_core.models.posenet import PoseNet

_MODELS: dict[str, type[PoseModel]] = {
    model.architecture: model for model in (PoseNet, HyperPose, AtLoc, HyperAtLoc, MSTransformer, MSHyperPose)
}


def build_model(name: str, options: Mapping[str, object] | None = None) -> PoseModel:
    """Build a network with random weights; no weights are looked for.

    Args:
        name: one of `MODEL_NAMES`.
        options: plain JSON data; what is left out keeps the default of `default_options(name)`.

    Raises:
        HyperPoseError: an unknown name, an unknown option, a wrong type or an impossible value.
    """
    kind = _model_kind(name)
    return kind(parse_options(kind.options_kind, name, options or {}))


def restore_model(name: str, options: Mapping[str, object], state: Mapping[str, Tensor]) -> PoseModel:
    """Build a network around trained tensors, without making random weights first.

    Args:
        name: one of `MODEL_NAMES`.
        options: as for `build_model`.
        state: the network's tensors by name, compressed or not; they become the network's own.

    Raises:
        HyperPoseError: an unknown name or impossible options, or the tensors do not fit; the keys are listed.
    """
    with torch.device("meta"):
        network = build_model(name, options)
    try:
        with torch.device("meta"):
            fit_network_to_tensors(network, state)
        network.load_state_dict(state, strict=True, assign=True)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise HyperPoseError(f"the tensors don't fit the architecture {name!r}: {reason}") from None
    return network


def default_options(name: str) -> dict[str, object]:
    """Give the options of a network that `build_model` takes where none are given.

    Raises:
        HyperPoseError: an unknown name.
    """
    return options_as_data(_model_kind(name).options_kind())


def default_normalisation(
    name: str, options: Mapping[str, object] | None = None
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Give mean and deviation (RGB, of values from 0 to 1) for the images that a network is given.

    Raises:
        HyperPoseError: an unknown name or impossible options.
    """
    return normalisation_of(parse_options(_model_kind(name).options_kind, name, options or {}).backbone)


def _model_kind(name: str) -> type[PoseModel]:
    if name not in _MODELS:
        raise HyperPoseError(f"unknown model {name!r}: choose one of {', '.join(MODEL_NAMES)}")
    return _MODELS[name]
