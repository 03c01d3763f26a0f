"""The localizer as it is, with the way of every frame written down: what `hyperpose benchmark node` measures.

Prints "ready" once images are subscribed to and, at its end, one line of JSON:
`{"frames": [...], "counts": {...}}`. A frame's document holds the nanoseconds of each stage, its `age` at
publication by the system clock, and `published`, the monotonic clock's nanoseconds then.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from typing import NoReturn

from hyperpose_ros.common.process import end_process, run_node
from hyperpose_ros.images.counters import FrameLedger, LatencyRecorder
from hyperpose_ros.localizer.node import Localizer

READY = "ready"


class FrameTraces(LatencyRecorder):
    """Keeps every answer.

    Attributes:
        frames: the answers' documents, in their order.
    """

    def __init__(self) -> None:
        """Start without any."""
        super().__init__()
        self.frames: list[dict[str, int]] = []

    def record(self, durations_ns: Mapping[str, int], stamp_ns: int | None = None) -> None:
        """Add an answer that has just been given."""
        super().record(durations_ns, stamp_ns)
        age_ns = time.time_ns() - (stamp_ns or 0)
        self.frames.append({**durations_ns, "age": age_ns, "published": time.monotonic_ns()})


class TracedLocalizer(Localizer):
    """Says when it is ready."""

    def start(self) -> bool:
        """Configure and activate; False where that failed."""
        started = super().start()
        if started:
            print(READY, flush=True)
        return started


def main() -> NoReturn:
    """Run until a signal ends it."""
    ledger, traces = FrameLedger(), FrameTraces()
    command_line = argparse.ArgumentParser(prog="traced_localizer", description=__doc__)
    code = run_node(command_line, lambda: TracedLocalizer(ledger, traces), sys.argv)
    print(json.dumps({"frames": traces.frames, "counts": dataclasses.asdict(ledger.counts())}))
    end_process(code)


if __name__ == "__main__":
    main()
