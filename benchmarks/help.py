"""How soon `hyperpose VERB --help` is there."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.results import Section, Target
from hyperpose_core.cli.main import verb_names

_WANTED_S = 0.5


def measure_help(context: Context) -> Section:
    """Ask each verb for its help, in processes that take turns."""
    verbs = verb_names()
    seconds: dict[str, list[float]] = {verb: [] for verb in verbs}
    for _ in tqdm(range(2 if context.quick else 9), unit="round", disable=None):
        for verb in verbs:
            seconds[verb].append(_time_help(verb))
    medians = {verb: statistics.median(times) for verb, times in seconds.items()}
    slowest = max(medians, key=medians.__getitem__)
    return Section(
        "Help",
        ["`hyperpose VERB --help`, from the process's start to its end: medians of processes in turns."],
        [[["verb", "seconds"], *([verb, f"{median:.2f} s"] for verb, median in medians.items())]],
        [
            Target(
                "help of any verb",
                f"less than {_WANTED_S:g} s",
                f"{medians[slowest]:.2f} s ({slowest})",
                medians[slowest] < _WANTED_S,
            )
        ],
    )


def _time_help(verb: str) -> float:
    command = [sys.executable, "-m", "hyperpose_core", verb, "--help"]
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start
