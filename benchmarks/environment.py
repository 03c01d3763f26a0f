"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch
import torchvision

_FLAGS = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "bf16": "avx512_bf16",
    "vnni": "avx512_vnni",
    "amx": "amx_tile",
}


def describe_environment() -> dict[str, str]:
    """Name the CPU, what it can do, the threads and the versions."""
    processor = _processor()
    flags = set(processor.get("flags", "").split())
    return {
        "CPU": processor.get("model name", platform.processor() or platform.machine()),
        "CPU flags": ", ".join(f"{name} {'yes' if flag in flags else 'no'}" for name, flag in _FLAGS.items()),
        "cores": str(len(os.sched_getaffinity(0))),
        "threads of torch": str(torch.get_num_threads()),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def _processor() -> dict[str, str]:
    """Read what Linux says of the first processor; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
