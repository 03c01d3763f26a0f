"""From a process's start to its first pose."""

from __future__ import annotations

import statistics

from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.probes import Probe, probe
from benchmarks.results import Section
from benchmarks.subjects import COMPRESSED, EAGER, Subject, Way
from hyperpose_core.errors import HyperPoseError

_WAYS = (EAGER, Way("exported"))


def measure_cold_start(context: Context) -> Section:
    """Start processes in turns and ask each for the pose of an image of 640x480 pixels."""
    section = Section(
        "Cold start",
        [
            "Medians of processes started in turns, the files in the page cache: until the program was "
            "imported, from there until the network was loaded, from there until the first pose."
        ],
        [[["network", "way", "imported", "loaded", "first pose", "in all"]]],
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
        section.tables[0].append([architecture, way_name, *(f"{value:.2f} s" for value in medians)])
    return section
