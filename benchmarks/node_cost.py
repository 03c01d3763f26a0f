"""What the localizer node adds to the bare network, by `hyperpose benchmark node`."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.context import Context
from benchmarks.results import Section, Target
from benchmarks.subjects import run_hyperpose
from hyperpose_core.errors import HyperPoseError

_RATE_HZ = 30.0


def measure_node_cost(context: Context) -> Section:
    """Measure the node around HyperPose on EfficientNet-B0."""
    section = Section(
        "Node",
        [
            "HyperPose (EfficientNet-B0, 224x224 pixels), engine auto, images of 640x480 pixels at 30 Hz "
            "from another process. `total` is from receipt to publication; transport is from just before "
            "publishing to the subscription's callback and no part of it; `age` includes it. The bare "
            "network ran in turns with the node, at the images' rate."
        ],
    )
    checkpoint = context.untrained("hyperpose").checkpoint
    seconds = "8" if context.quick else "30"
    command = ("benchmark", "node", str(checkpoint), "--rate", str(_RATE_HZ), "--seconds", seconds, "--json")
    try:
        measured = json.loads(run_hyperpose(*command))
    except HyperPoseError as error:
        section.notes.append(str(error))
        section.targets.append(Target("node", "", "could not be measured here", None))
        return section
    section.tables.append(_rows(measured))
    section.notes.append(
        f"{measured['rate_hz']:.1f} poses a second of {measured['sent']} images sent: {measured['frames']}."
    )
    section.targets.extend(_targets(measured))
    return section


def _rows(measured: dict[str, Any]) -> list[list[str]]:
    stages = {**measured["stages"], "bare network": measured["network_alone"]}
    rows = [["stage", "median", "95%"]]
    for name, stage in stages.items():
        rows.append([name, f"{stage['median_ms']:.2f} ms", f"{stage['p95_ms']:.2f} ms"])
    return rows


def _targets(measured: dict[str, Any]) -> list[Target]:
    alone_ms = measured["network_alone"]["median_ms"]
    limit_ms = max(0.15 * alone_ms, 4.0)
    added_ms, age_ratio, rate_hz = measured["added_ms"], measured["age_ratio"], measured["rate_hz"]
    published = measured["frames"].get("published", 0)
    return [
        Target(
            "node's own time, 640x480",
            f"at most {limit_ms:.1f} ms (15% of {alone_ms:.1f} ms, or 4 ms)",
            f"{added_ms:.2f} ms",
            added_ms <= limit_ms,
        ),
        Target(
            "rate it holds",
            "30 Hz, 99% of the images answered",
            f"{rate_hz:.1f} Hz, {published} of {measured['sent']}",
            rate_hz >= 0.99 * _RATE_HZ and published >= 0.99 * measured["sent"],
        ),
        Target(
            "95th percentile of the age at publication",
            "at most 1.5x the median",
            f"{age_ratio:.2f}x",
            age_ratio <= 1.5,
        ),
    ]
