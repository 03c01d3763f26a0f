"""Starts processes that load a network and ask it once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.subjects import Subject, Way

_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Probe:
    """What one process said.

    Attributes:
        imported_s: from the process's start until the program was imported.
        loaded_s: from there until the network was loaded.
        answered_s: from there until the first pose of an image of 640x480 pixels.
        grown_mb: resident memory (10^6 bytes) that loading and answering added, mapped files included.
        peak_mb: the process's largest resident memory, PyTorch included.
    """

    imported_s: float
    loaded_s: float
    answered_s: float
    grown_mb: float
    peak_mb: float

    @property
    def total_s(self) -> float:
        """From the process's start to its first pose."""
        return self.imported_s + self.loaded_s + self.answered_s


def probe(subject: Subject, way: Way) -> Probe:
    """Run one process.

    Raises:
        HyperPoseError: the way's file could not be made.
        subprocess.CalledProcessError: the process failed; its own words are on standard error.
    """
    command = [sys.executable, "-m", "benchmarks.process_probe", str(subject.file(way).resolve())]
    command += ["--engine", way.engine, "--precision", way.precision]
    command += ["--started", str(time.time_ns())]
    printed = subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Probe(**json.loads(printed))
