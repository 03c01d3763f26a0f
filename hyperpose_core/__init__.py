"""HyperPose absolute pose regression: models, data, training, evaluation and inference, without ROS.

    from hyperpose_core import PoseEstimator, evaluate, open_dataset

    estimator = PoseEstimator.load("best.safetensors")
    scores = evaluate(estimator, open_dataset("labels.csv", split="test"))

What stands in `__all__` is imported when it is first used: importing the package alone imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hyperpose_core.datasets import open_dataset
    from hyperpose_core.evaluation.offline import evaluate
    from hyperpose_core.inference.estimator import PoseEstimator
    from hyperpose_core.training.recipe import load_recipe

__version__ = "0.1.0"
__all__ = ["PoseEstimator", "evaluate", "load_recipe", "open_dataset"]

_HOMES = {
    "PoseEstimator": "hyperpose_core.inference.estimator",
    "evaluate": "hyperpose_core.evaluation.offline",
    "load_recipe": "hyperpose_core.training.recipe",
    "open_dataset": "hyperpose_core.datasets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
