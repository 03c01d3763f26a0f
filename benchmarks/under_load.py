"""Engines and node beside busy processes: robots are loaded machines.

python -m benchmarks.run under_load
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.measuring import Array
from benchmarks.results import Section, Target
from benchmarks.subjects import EAGER, Subject, Way, random_images, run_hyperpose
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.engines.adaptive import AdaptiveEngine
from hyperpose_core.inference.engines.engine import Engine

NETWORKS = (("hyperpose", 1), ("atloc", 1), ("mshyperpose", 7))
NEIGHBOURS = (0, 1, 2)
EXPORTED = Way("exported")
AUTO = "auto"

_RATE_HZ = 30.0
_CALLS_A_TURN = 10
_LARGEST_RATIO = 1.15
_LARGEST_SPREAD = 2.5
_LEAST_ANSWERED = 0.99
_LARGEST_AGE_MS = 60.0


def measure_under_load(context: Context) -> Section:
    """Measure the engines, then the node, with none, one and two busy neighbours."""
    section = Section(
        "Under load",
        [
            "Beside processes that do nothing but compute, one a neighbour. Engines: float32, one image of "
            f"224x224 pixels at a time, asked at {_RATE_HZ:.0f} Hz or as fast as they answer, "
            f"{_CALLS_A_TURN} images in turns. `auto` has both engines and began with the one that is faster "
            "alone; it has had 30 s under the load to change. Node: HyperPose, exported, images of 640x480 "
            f"pixels at {_RATE_HZ:.0f} Hz from another process; `age` is an image's when its pose is out."
        ],
        [
            [["network", "neighbours", "engine", "median", "95%"]],
            [["node beside", "answered", "age, median", "age, 95%"]],
        ],
    )
    for architecture, scenes in tqdm(NETWORKS, unit="network", disable=None):
        _measure_engines(section, context, architecture, context.untrained(architecture, scenes))
    for neighbours in NEIGHBOURS:
        _measure_node(section, context, neighbours)
    return section


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """Keep so many processes computing until the block ends."""
    command = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def _measure_engines(section: Section, context: Context, architecture: str, subject: Subject) -> None:
    eager, exported = subject.engine(EAGER), subject.engine(EXPORTED)
    if eager is None or exported is None:
        section.notes.append(f"{architecture}: {'; '.join(subject.missing.values())}")
        return
    engines: dict[str, Engine] = {"eager": eager, "exported": exported}
    alone = _turns(engines, context.effort(10.0).seconds)
    best = min(engines, key=lambda name: float(np.median(alone[name])))
    for neighbours in NEIGHBOURS:
        auto = AdaptiveEngine(engines[best], lambda _: None)
        auto.offer(next(engine for name, engine in engines.items() if name != best), False, "")
        with busy_neighbours(neighbours):
            _turns({AUTO: auto}, 2.0 if context.quick else 30.0)
            found = _turns({**engines, AUTO: auto}, context.effort(30.0).seconds)
        for name, values in found.items():
            shown = f"auto ({auto.name} at the end)" if name == AUTO else name
            median, high = np.percentile(values, [50, 95])
            section.tables[0].append(
                [architecture, str(neighbours), shown, f"{median:.1f} ms", f"{high:.1f} ms"]
            )
        section.targets.extend(_engine_targets(architecture, neighbours, found))


def _engine_targets(architecture: str, neighbours: int, found: dict[str, Array]) -> list[Target]:
    beside = f"{architecture}, auto, {neighbours} busy neighbours"
    better = min(float(np.median(values)) for name, values in found.items() if name != AUTO)
    median, high = np.percentile(found[AUTO], [50, 95])
    ratio = median / better
    targets = [
        Target(
            beside,
            f"at most {_LARGEST_RATIO} x the better engine",
            f"{ratio:.2f} x",
            bool(ratio <= _LARGEST_RATIO),
        )
    ]
    if neighbours == 1:
        wanted = f"95th percentile at most {_LARGEST_SPREAD} x the median"
        targets.append(
            Target(beside, wanted, f"{high / median:.2f} x", bool(high <= _LARGEST_SPREAD * median))
        )
    return targets


def _turns(engines: dict[str, Engine], seconds: float) -> dict[str, Array]:
    """Ask engines in turns for so long; milliseconds of each answer, by name."""
    images = random_images(1)
    durations: dict[str, list[float]] = {name: [] for name in engines}
    end = time.monotonic() + seconds
    with torch.inference_mode():
        while time.monotonic() < end or not all(durations.values()):
            for name, engine in engines.items():
                durations[name] += [_paced(engine, images) for _ in range(_CALLS_A_TURN)]
    return {name: np.array(values) for name, values in durations.items()}


def _paced(engine: Engine, images: torch.Tensor) -> float:
    begin = time.perf_counter()
    engine(images)
    seconds = time.perf_counter() - begin
    time.sleep(max(0.0, 1 / _RATE_HZ - seconds))
    return 1e3 * seconds


def _measure_node(section: Section, context: Context, neighbours: int) -> None:
    try:
        file = context.untrained("hyperpose").file(EXPORTED)
        seconds = "8" if context.quick else "40"
        command = ("benchmark", "node", str(file), "--rate", str(_RATE_HZ), "--seconds", seconds, "--json")
        with busy_neighbours(neighbours):
            measured = json.loads(run_hyperpose(*command))
    except HyperPoseError as error:
        section.notes.append(str(error))
        return
    age, answered = measured["stages"]["age"], measured["frames"].get("published", 0) / measured["sent"]
    row = [f"{neighbours} neighbours", f"{100 * answered:.1f} %"]
    section.tables[1].append([*row, f"{age['median_ms']:.1f} ms", f"{age['p95_ms']:.1f} ms"])
    if neighbours == 1:
        section.targets.append(
            Target(
                "node beside a busy neighbour",
                f"{100 * _LEAST_ANSWERED:.0f} % answered, 95% of ages at most {_LARGEST_AGE_MS:.0f} ms",
                f"{100 * answered:.1f} %, {age['p95_ms']:.1f} ms",
                bool(answered >= _LEAST_ANSWERED and age["p95_ms"] <= _LARGEST_AGE_MS),
            )
        )
