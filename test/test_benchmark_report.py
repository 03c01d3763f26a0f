"""What `make benchmark` keeps, goes on with and writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring import Effort, measure, times_faster
from benchmarks.results import Kept, Section, Target
from benchmarks.run import SECTIONS, main


def keep_section(folder: Path, name: str, run: str, met: bool | None = True) -> None:
    section = Section(
        f"About {name}",
        ["A note."],
        [[["way", "median"], ["eager", "1.0 ms"]]],
        [Target(f"target of {name}", "2x", "3x", met)],
    )
    kept = Kept(run, "2026-01-02 03:04 UTC", 5.0, {"CPU": "a fast one"}, section)
    kept.write(folder / "sections" / f"{name}.json")


def test_an_interrupted_run_goes_on_and_writes_every_section(tmp_path: Path) -> None:
    for name in SECTIONS:
        keep_section(tmp_path, name, "first run", met={"networks": False, "growth": None}.get(name, True))
    unfinished = tmp_path / "sections" / "unfinished_run"
    unfinished.write_text("first run\n")
    report = tmp_path / "results.md"

    assert main(["--work", str(tmp_path), "--output", str(report)]) == 0

    text = report.read_text()
    assert all(f"## About {name}" in text for name in SECTIONS)
    assert "a fast one" in text
    results = {
        line.split("|")[1].strip(): line.split("|")[-2].strip()
        for line in text.splitlines()
        if line.startswith("| target of")
    }
    assert results.pop("target of networks") == "not met"
    assert results.pop("target of growth") == "not measured"
    assert set(results.values()) == {"met"}
    assert not unfinished.exists(), "the next run begins anew"


def test_a_section_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["speed", "--work", str(tmp_path)])
    assert ended.value.code == 2
    assert "no section speed; there are networks" in capsys.readouterr().err


def test_tasks_take_turns_and_are_run_equally_often() -> None:
    calls: list[str] = []
    tasks = {name: lambda name=name: calls.append(name) for name in ("first", "second")}
    turns = measure(tasks, Effort(rounds=4, runs=2, seconds=60.0))
    assert {len(values) for values in turns.values()} == {4}
    assert calls.count("first") == calls.count("second")
    changes = sum(before != after for before, after in zip(calls, calls[1:], strict=False))
    # Beforehand once, and then within each round: the order turns round after each.
    assert changes == 1 + 1 + 4


def test_the_interval_of_a_ratio_holds_it() -> None:
    generator = np.random.default_rng(3)
    reference = 20 * generator.lognormal(0, 0.3, 40)
    other = reference / 2 * generator.lognormal(0, 0.02, 40)
    ratio = times_faster(reference, other)
    assert ratio.low <= 2.0 <= ratio.high
    assert ratio.high - ratio.low < 0.1, "rounds are paired: what both share does not widen it"
    assert ratio == times_faster(reference, other)
