"""Pose networks: one file an architecture, the parts that they share beside them, and a registry by name."""

from hyperpose_core.models.base import PARTS, PoseModel
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.registry import (
    MODEL_NAMES,
    build_model,
    default_normalisation,
    default_options,
    restore_model,
)

__all__ = [
    "MODEL_NAMES",
    "PARTS",
    "PoseModel",
    "PoseOutput",
    "build_model",
    "default_normalisation",
    "default_options",
    "restore_model",
]
