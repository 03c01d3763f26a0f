"""Keys of a recipe replaced one by one, as `hyperpose train --set key=value` does."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.models.registry import default_options
from hyperpose_core.training.recipe import Recipe, recipe_from_dict, recipe_to_dict
from hyperpose_core.untrusted import parse_yaml

_MOST_SUGGESTIONS = 3
_LEAST_SIMILARITY = 0.5
# YAML 1.1 takes 1e-4 for text.
_SCIENTIFIC = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def replace_keys(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Return a recipe with some keys replaced, checked like one read from a file.

    Args:
        recipe: the one to start from; a new `model` keeps those of its `model_options` that it has, too.
        assignments: each `key=value`, such as `augmentation.brightness=0.3`, `stages.0.epochs=5` or
            `model_options.hidden_width=256`; values are YAML.

    Raises:
        HyperPoseError: an assignment has no value, a key is unknown, for which the nearest ones are named,
            or a value has the wrong type or is impossible.
    """
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        origin = f"--set {assignment}"
        if not key or not separator:
            raise HyperPoseError(f"{origin}: give key=value, such as augmentation.brightness=0.3")
        data = recipe_to_dict(recipe)
        if key == "model":
            _leave_options_to(data, text)
        _replace(data, key, _value(text, origin), origin)
        recipe = recipe_from_dict(data, origin)
    return recipe


def _leave_options_to(data: dict[str, Any], model: str) -> None:
    known = default_options(model).keys()
    data["model_options"] = {key: value for key, value in data["model_options"].items() if key in known}


def _value(text: str, origin: str) -> Any:
    return float(text) if _SCIENTIFIC.fullmatch(text) else parse_yaml(text, origin, "value")


def _replace(data: dict[str, Any], key: str, value: Any, origin: str) -> None:
    all_keys = {**data, "model_options": {**default_options(data["model"]), **data["model_options"]}}
    known = list(_dotted(all_keys))
    if key not in known:
        nearest = difflib.get_close_matches(key, known, _MOST_SUGGESTIONS, _LEAST_SIMILARITY)
        advice = f"did you mean {', '.join(nearest)}?" if nearest else f"one of: {', '.join(data)}"
        raise HyperPoseError(f"{origin}: a recipe has no key {key!r}; {advice}")
    *parents, last = key.split(".")
    node: Any = data
    for parent in parents:
        node = node[int(parent) if isinstance(node, list) else parent]
    node[int(last) if isinstance(node, list) else last] = value


def _dotted(node: Any, prefix: str = "") -> Iterator[str]:
    """Name every key below a node, those of lists by their number."""
    if not isinstance(node, (dict, list)):
        return
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield f"{prefix}{key}"
        yield from _dotted(child, f"{prefix}{key}.")
