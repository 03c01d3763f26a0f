"""Imports that bring hundreds of thousands of objects, which stay: kept from the garbage collector."""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType


def import_large(name: str) -> ModuleType:
    """Import a module that brings torch along, collecting no garbage meanwhile, and none of it ever.

    Going over all those objects again and again takes a quarter of the import's time; later on, each full
    collection would stop every thread for the tenths of a second that it takes to go over them once.
    """
    if name in sys.modules:
        return sys.modules[name]
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        module = importlib.import_module(name)
    finally:
        if was_enabled:
            gc.enable()
    gc.freeze()
    return module
