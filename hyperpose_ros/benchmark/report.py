"""What `hyperpose benchmark node` found, as a table and as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

from hyperpose_ros.benchmark.run import NodeBenchmark

_MEANINGS = {
    "transport": "from just before publishing to the subscription's callback, not the node's",
    "queue": "waiting for the worker",
    "convert": "decoding, debayering, rectifying",
    "preprocess": "resizing and normalising",
    "network": "the network, its outputs read as poses",
    "judge": "placed in the map, validated",
    "publish": "transform and poses sent",
    "total": "from receipt to publication",
    "age": "from just before the image's publishing to its pose's",
}


def format_table(measured: NodeBenchmark) -> str:
    """Return lines for a terminal."""
    settings, alone = measured.settings, measured.network_alone
    rows = {stage: (duration, _MEANINGS[stage]) for stage, duration in measured.stages.items()}
    rows["bare network"] = alone, "alone, in turns with the node"
    return "\n".join(
        [
            f"{settings.width}x{settings.height} {settings.transport} at {settings.rate:g} Hz, "
            f"{os.cpu_count()} cores, threads {settings.threads or 'one a core'}, "
            f"engine {settings.engine}, precision {settings.precision}"
            + ("" if settings.map is None else f", verified with {settings.map}"),
            f"{'':12} {'median':>10} {'95%':>10}",
            *(
                f"{name:12} {duration.median_ms:7.2f} ms {duration.p95_ms:7.2f} ms  {meaning}"
                for name, (duration, meaning) in rows.items()
            ),
            f"the node adds {measured.added_ms:.2f} ms, {measured.added_ms / alone.median_ms:.1%} of the "
            "bare network",
            f"age at publication: 95th percentile {measured.age_ratio:.2f} times the median",
            f"{measured.rate_hz:.1f} poses a second; {measured.sent} images sent, {_counts(measured)}",
            f"ready {measured.ready_s:.1f} s after the process's start, first pose after "
            f"{measured.first_pose_s:.1f} s",
        ]
    )


def format_json(measured: NodeBenchmark) -> str:
    """Return all that was measured as one JSON document."""
    document = asdict(measured)
    document["settings"]["checkpoint"] = str(measured.settings.checkpoint)
    document["settings"]["map"] = measured.settings.map and str(measured.settings.map)
    document.update(added_ms=measured.added_ms, age_ratio=measured.age_ratio)
    return json.dumps(document, indent=2)


def _counts(measured: NodeBenchmark) -> str:
    parts = []
    for outcome, count in measured.frames.items():
        if isinstance(count, int):
            parts.append(f"{count} {outcome.replace('_', ' ')}")
        else:
            parts += [f"{number} {outcome} ({cause.replace('_', ' ')})" for cause, number in count.items()]
    return ", ".join(parts)
