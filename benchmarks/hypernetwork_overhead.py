"""What a hypernetwork costs: each network beside the same one without it."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.measuring import measure, median_of
from benchmarks.networks import PLAIN, plain_and_ways
from benchmarks.results import Section, Target
from benchmarks.subjects import EAGER, Way, random_images

PAIRS = (
    ("posenet", "hyperpose", 1),
    ("atloc", "hyperatloc", 1),
    ("mstransformer", "mshyperpose", 7),
)


_WAYS = (EAGER, Way("exported"))


def measure_hypernetwork_overhead(context: Context) -> Section:
    """Measure all pairs, plainly and in two engines."""
    section = Section(
        "Hypernetwork overhead",
        [
            "Batch 1, float32, with and without hypernetwork in turns; the difference is paired. "
            "MS-HyperPose has fewer transformer layers than MS-Transformer and needs the backbone's last "
            "layers, so its row compares two networks as they are published, not one part."
        ],
        [[["network", "way", "without", "with", "added, ms", "added"]]],
    )
    for without, with_it, scenes in tqdm(PAIRS, unit="pair", disable=None):
        images = random_images(1)
        tasks = {
            (name, way): task
            for name in (without, with_it)
            for way, task in plain_and_ways(context.untrained(name, scenes), _WAYS, images).items()
        }
        turns = measure(tasks, context.effort(15.0))
        for way in (PLAIN, *(way.name for way in _WAYS)):
            base, more = turns[without, way], turns[with_it, way]
            added = median_of(more - base)
            row = [f"{without} to {with_it}", way, f"{np.median(base):.2f} ms", f"{np.median(more):.2f} ms"]
            section.tables[0].append([*row, added.text(), median_of(100 * (more / base - 1)).text(1, "%")])
            if with_it == "hyperpose" and way != PLAIN:
                plain_ms = float(np.median(turns[without, PLAIN]))
                limit = max(0.02 * plain_ms, 1.0)
                wanted = f"interval at most {limit:.2f} ms (2% of {plain_ms:.1f} ms, or 1 ms)"
                met = bool(added.high <= limit)
                target = Target(f"HyperPose over PoseNet, {way}", wanted, f"{added.text()} ms", met)
                section.targets.append(target)
    return section
