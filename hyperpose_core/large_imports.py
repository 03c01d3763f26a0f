"""Imports of PyTorch: late, since a robot may do without it, and with its objects kept from the collector.

It brings hundreds of thousands of them, which stay.
"""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType

from hyperpose_core.errors import HyperPoseError

_OF_TRAINING = ("onnx", "pydantic", "tensorboard", "torch", "torchvision")


def import_large(name: str) -> ModuleType:
    """Import a module that may bring torch along, collecting no garbage meanwhile, and none of it ever.

    Going over all those objects again and again takes a quarter of the import's time; later on, each full
    collection would stop every thread for the tenths of a second that it takes to go over them once.

    Raises:
        HyperPoseError: PyTorch or a package that comes with it is not installed.
    """
    if name in sys.modules:
        return sys.modules[name]
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _OF_TRAINING:
            raise
        raise HyperPoseError(
            f"this needs {package}, which is not installed: pip install 'hyperpose_ros[train]' (what "
            "`hyperpose export` writes, .onnx, runs without)"
        ) from error
    finally:
        if was_enabled:
            gc.enable()
    gc.freeze()
    return module
