"""Images a second by batch size."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.measuring import Effort, measure, median_of
from benchmarks.networks import PLAIN, plain_and_ways
from benchmarks.results import Section
from benchmarks.subjects import WAYS, random_images

SIZES = (1, 2, 4, 8, 16, 32)
_WAYS = tuple(way for way in WAYS if way.engine == "eager")


def measure_batches(context: Context) -> Section:
    """Measure HyperPose and MS-HyperPose."""
    section = Section(
        "Batch sizes", ["224x224 pixels; images a second, and how many times the plain network's."]
    )
    effort = Effort(rounds=3, runs=1, seconds=2.0 if context.quick else 6.0)
    sizes = SIZES[:3] if context.quick else SIZES
    for architecture, scenes in (("hyperpose", 1), ("mshyperpose", 7)):
        subject = context.untrained(architecture, scenes)
        rows = [[f"batch ({architecture})", PLAIN, *(way.name for way in _WAYS)]]
        for size in tqdm(sizes, unit="size", disable=None):
            turns = measure(plain_and_ways(subject, _WAYS, random_images(size)), effort)
            row = [str(size), f"{1e3 * size / np.median(turns[PLAIN]):.1f}"]
            for way in _WAYS:
                if way.name in turns:
                    faster = median_of(turns[PLAIN] / turns[way.name])
                    row.append(f"{1e3 * size / np.median(turns[way.name]):.1f}, {faster.median:.2f}x")
                else:
                    row.append("not here")
            rows.append(row)
        section.tables.append(rows)
    return section
