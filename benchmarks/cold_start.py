"""From a process's start to its first pose."""

from __future__ import annotations

import statistics

from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.probes import Probe, probe
from benchmarks.results import Section, Target
from benchmarks.subjects import COMPRESSED, EAGER, Subject, Way
from hyperpose_core.errors import HyperPoseError

_WITHOUT_TORCH = Way("exported")
_WAYS = (EAGER, _WITHOUT_TORCH)
_LONGEST_START_S = 1.0
_LARGEST_PEAK_MB = 300


def measure_cold_start(context: Context) -> Section:
    """Start processes in turns and ask each for the pose of an image of 640x480 pixels."""
    section = Section(
        "Cold start",
        [
            "Medians of processes started in turns, the files in the page cache: until the program was "
            "imported, from there until the network was loaded, from there until the first pose. The "
            "exported way runs without PyTorch. `peak` is the process's largest resident memory."
        ],
        [[["network", "way", "imported", "loaded", "first pose", "in all", "peak"]]],
    )
    candidates: dict[tuple[str, str], tuple[Subject, Way]] = {}
    for architecture, scenes in (("hyperpose", 1), ("mshyperpose", 7)):
        subject = context.untrained(architecture, scenes)
        for way in (*_WAYS, *((COMPRESSED,) if scenes > 1 else ())):
            try:
                subject.file(way)
                candidates[architecture, way.name] = (subject, way)
            except HyperPoseError as error:
                section.notes.append(f"{architecture}, {way.name}: {error}")
    probes: dict[tuple[str, str], list[Probe]] = {key: [] for key in candidates}
    for _ in tqdm(range(2 if context.quick else 3), unit="round", disable=None):
        for key, (subject, way) in candidates.items():
            probes[key].append(probe(subject, way))
    for (architecture, way_name), found in probes.items():
        parts = ("imported_s", "loaded_s", "answered_s", "total_s")
        medians = [statistics.median(getattr(one, part) for one in found) for part in parts]
        peak_mb = statistics.median(one.peak_mb for one in found)
        row = [architecture, way_name, *(f"{value:.2f} s" for value in medians), f"{peak_mb:.0f} MB"]
        section.tables[0].append(row)
        if (architecture, way_name) == ("hyperpose", _WITHOUT_TORCH.name):
            section.targets.extend(_targets(medians[-1], peak_mb))
    return section


def _targets(total_s: float, peak_mb: float) -> list[Target]:
    """Hold a process without PyTorch against what is wanted of it."""
    return [
        Target(
            "HyperPose without PyTorch, start to first pose",
            f"at most {_LONGEST_START_S} s",
            f"{total_s:.2f} s",
            total_s <= _LONGEST_START_S,
        ),
        Target(
            "HyperPose without PyTorch, peak memory",
            f"at most {_LARGEST_PEAK_MB} MB",
            f"{peak_mb:.0f} MB",
            peak_mb <= _LARGEST_PEAK_MB,
        ),
    ]
