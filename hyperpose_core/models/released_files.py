"""Reading of pickled weights: never with code in them, never anything but tensors by name."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.pickled_tensors import load_pickled_tensors


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict that PyTorch pickled, on the CPU, without running any code that it may carry.

    Args:
        path: file written by `torch.save`; a mapping of names to tensors, bare or under `model_state_dict`.

    Returns:
        The tensors by name, in the file's order.

    Raises:
        HyperPoseError: the file is missing, unreadable, carries code, or holds something else than tensors.
    """
    path = Path(path)
    content = load_pickled_tensors(path)
    return tensors_of(content, str(path))


def tensors_of(content: object, origin: str) -> dict[str, Tensor]:
    """Take the state dict out of what a weights file held.

    Args:
        content: a mapping of names to tensors, or one that holds such a mapping under `model_state_dict`.
        origin: named in errors.

    Raises:
        HyperPoseError: it is no mapping of names to tensors; the offending key is named.
    """
    if isinstance(content, Mapping) and isinstance(content.get("model_state_dict"), Mapping):
        content = content["model_state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise HyperPoseError(
            f"{origin}: expected a state dict (names to tensors), found {type(content).__name__}"
        )
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise HyperPoseError(
                f"{origin}: expected a state dict (names to tensors), but {key!r} is a {type(value).__name__}"
            )
    return dict(content)
