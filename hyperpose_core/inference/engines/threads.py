"""How many threads of the CPU an inference takes where nobody says. Needs no PyTorch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def default_threads() -> int:
    """Return PyTorch's number of threads where that is imported, else what it would be.

    That is the cores that this process may use, two threads of one core counting once, or fewer where
    OMP_NUM_THREADS or MKL_NUM_THREADS says so.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    cores = len({_core(processor) for processor in os.sched_getaffinity(0)})
    for name in _VARIABLES:
        first = os.environ.get(name, "").partition(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            return min(int(first), cores)
    return cores


def _core(processor: int) -> str:
    """Name the core that a processor, as Linux counts them, is a thread of."""
    try:
        return Path(_SIBLINGS.format(processor)).read_text().strip()
    except OSError:
        return str(processor)
