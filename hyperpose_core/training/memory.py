"""Keeps freed memory with the process while it trains."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER_TRIM = 2**31 - 1
# Where glibc's own adaptation to large blocks ends, and how many blocks it maps at most.
_ADAPTED_MMAP_THRESHOLD, _ADAPTED_TRIM_THRESHOLD, _DEFAULT_MMAP_MAX = 32 << 20, 64 << 20, 65536


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Take memory that a training step frees for the next step, instead of giving it back in between.

    glibc maps every large block anew from the system, which clears it page by page: a tenth to a fifth of a
    training step on a CPU. Afterwards large blocks are mapped again. Does nothing where the C library is
    another one.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
        library.mallopt(_MMAP_THRESHOLD, _ADAPTED_MMAP_THRESHOLD)
        library.mallopt(_TRIM_THRESHOLD, _ADAPTED_TRIM_THRESHOLD)
        library.malloc_trim(0)
