"""One process that loads a network and asks it once, and says how long and how much memory that took.

    python -m benchmarks.process_probe CHECKPOINT --engine eager --precision float32 --started NANOSECONDS

It imports nothing at first that would be counted as the program's own import.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path


def main() -> None:
    """Load, ask once and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--started", type=int, required=True)
    options = parser.parse_args()
    print(json.dumps(_load_and_ask(options)))


def _load_and_ask(options: argparse.Namespace) -> Mapping[str, float]:
    import numpy as np

    from hyperpose_core.inference.estimator import PoseEstimator, import_what_runs

    import_what_runs(options.checkpoint)
    before = _resident_mb()
    times = [options.started, time.time_ns()]
    estimator = PoseEstimator.load(
        options.checkpoint, "cpu", engine=options.engine, precision=options.precision
    )
    times.append(time.time_ns())
    estimator.estimate([np.zeros((480, 640, 3), dtype=np.uint8)])
    times.append(time.time_ns())
    imported, loaded, answered = ((end - begin) / 1e9 for begin, end in zip(times, times[1:], strict=False))
    return {
        "imported_s": imported,
        "loaded_s": loaded,
        "answered_s": answered,
        "grown_mb": _resident_mb() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
