"""Damage files and messages at random for some minutes and say what fell.

    make fuzz MINUTES=5                       # or, in test/: python -m fuzz.run --minutes 5 --seed 7
    python -m fuzz.run --again READER SEED    # one case again

Each case follows from its reader and seed. What fell is kept in --output: a case falls where it raises
anything but one short line, ends its process, takes longer than 20 s or more than 1 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fuzz.nodes import fuzz_nodes
from fuzz.readers import READERS, attempt

_LONGEST_S = 20.0
_LONGEST_START_S = 180.0
_MOST_MEMORY = 1 << 30
_NODES_SHARE = 0.3


class Worker:
    """A process that reads damaged files, replaced where one ends it."""

    def __init__(self, folder: Path) -> None:
        """Start it; files go into a folder."""
        self._folder = folder
        self._start()

    def attempt(self, reader: str, seed: int) -> tuple[str, str]:
        """Return what became of a case: "read", "refused" or "fell", and what was said."""
        before = self._peak
        answer = self._ask(reader, seed, _LONGEST_S)
        if answer is None:
            # One that has closed its output is about to end.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            code = self._process.poll()
            self.end()
            self._start()
            slow = f"took more than {_LONGEST_S:g} s"
            return "fell", slow if code is None else f"the process ended with {code}"
        self._peak = int(answer["peak"])
        if (grown := self._peak - before) > _MOST_MEMORY:
            self.end()
            self._start()
            return "fell", f"took {grown / 1e9:.1f} GB"
        return str(answer["outcome"]), str(answer["said"])

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def tried(self) -> Path:
        """Return the folder of the files of the latest case."""
        return self._folder / "tried"

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for entry in self._folder.iterdir():
            if entry != self.tried():  # what the former process fell over
                shutil.rmtree(entry)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.readers", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        answer = self._ask("", 0, _LONGEST_START_S)
        if answer is None:
            raise RuntimeError("the worker does not start: python -m fuzz.readers FOLDER says why")
        self._peak = int(answer["peak"])

    def _ask(self, reader: str, seed: int, timeout: float) -> dict[str, object] | None:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps({"reader": reader, "seed": seed}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(timeout) else ""
        return json.loads(line) if line else None


@dataclass
class Tally:
    """What was tried of a reader.

    Attributes:
        outcomes: how many cases were read, refused and fell.
        finds: the first seed of each way to fall, with what was said.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    finds: dict[str, int] = field(default_factory=dict)


def fuzz_readers(seconds: float, seed: int, output: Path) -> dict[str, Tally]:
    """Damage files of every kind in turns until the time is over."""
    tallies = {name: Tally() for name in READERS}
    seeds = np.random.default_rng(seed)
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder) / "files")
        try:
            while time.monotonic() < deadline:
                for name, tally in tallies.items():
                    case = int(seeds.integers(2**31))
                    outcome, said = worker.attempt(name, case)
                    tally.outcomes[outcome] += 1
                    if outcome == "fell" and (said := said[-400:]) not in tally.finds:
                        tally.finds[said] = case
                        _keep(worker, output / f"{name.replace(' ', '_')}-{case}")
        finally:
            worker.end()
    return tallies


def _keep(worker: Worker, place: Path) -> None:
    if worker.tried().exists():
        shutil.copytree(worker.tried(), place, dirs_exist_ok=True)


def main() -> int:
    """Fuzz, print and return 1 where anything fell."""
    options = _command_line().parse_args()
    if options.again:
        with tempfile.TemporaryDirectory() as folder:
            print(*attempt(Path(folder), options.again[0], int(options.again[1])), sep="\n")
        return 0
    print(f"seed {options.seed}", flush=True)
    seconds = 60.0 * options.minutes
    tallies = fuzz_readers(seconds * (1 - _NODES_SHARE), options.seed, options.output)
    print(f"{'files':<26}{'tried':>8}{'refused':>9}{'read':>8}{'fell':>6}")
    for name, tally in tallies.items():
        counts = tally.outcomes
        row = (counts.total(), counts["refused"], counts["read"], counts["fell"])
        print(f"{name:<26}{row[0]:>8,}{row[1]:>9,}{row[2]:>8,}{row[3]:>6,}")
    for name, tally in tallies.items():
        for said, case in tally.finds.items():
            print(f"\nfell: --again {name!r} {case} (kept in {options.output}):\n{said}")
    faults = fuzz_nodes(seconds * _NODES_SHARE, options.seed)
    fell = sum(tally.outcomes["fell"] for tally in tallies.values()) + faults
    print(f"\n{sum(tally.outcomes.total() for tally in tallies.values()):,} files; {fell} fell")
    return 1 if fell else 0


def _command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() % 2**31, help="of all damage (default: a fresh one)"
    )
    parser.add_argument("--output", type=Path, default=Path("fuzz_finds"), help="where finds are kept")
    parser.add_argument("--again", nargs=2, metavar=("READER", "SEED"), help="do one case again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
