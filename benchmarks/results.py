"""What the sections of a benchmark hand back, how it is kept, and `results.md`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hyperpose_core.evaluation.documents import markdown_table


@dataclass(frozen=True)
class Target:
    """One thing that the project wants to show.

    Attributes:
        what: what is measured.
        wanted: what it should be.
        measured: what it is.
        met: whether that is good enough; None where it could not be measured here.
    """

    what: str
    wanted: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        title: its heading.
        notes: paragraphs before the tables.
        tables: rows of cells; the first row is the header.
        targets: what it was measured for.
    """

    title: str
    notes: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)


@dataclass(frozen=True)
class Kept:
    """A section as it is kept on disk.

    Attributes:
        run: what the sections of one run share.
        date: when it was measured, ISO 8601.
        seconds: how long it took.
        environment: what it was measured on.
        section: what it says.
    """

    run: str
    date: str
    seconds: float
    environment: Mapping[str, str]
    section: Section

    def write(self, path: Path) -> None:
        """Write to a JSON file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Kept | None:
        """Read from a JSON file; None where there is none."""
        if not path.is_file():
            return None
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        section = data["section"]
        targets = [Target(**target) for target in section.pop("targets")]
        return cls(**{**data, "section": Section(**section, targets=targets)})


def write_report(path: Path, kept: Sequence[Kept]) -> None:
    """Write the sections as one Markdown file."""
    environment = kept[-1].environment
    lines = [
        "# Benchmarks",
        "",
        "Written by `make benchmark`. What is compared was run in turns (A, B, B, A, ...) in one process, or "
        "processes in turns; figures are medians over the rounds, ranges 95% bootstrap intervals of the "
        "paired figure.",
        "",
        markdown_table([("measured on", ""), *environment.items()]),
        "",
        "## Targets",
        "",
        _targets_table([target for one in kept for target in one.section.targets]),
    ]
    for one in kept:
        lines += ["", *_section_lines(one, environment)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section_lines(kept: Kept, environment: Mapping[str, str]) -> list[str]:
    section = kept.section
    others = [f"{key} {value}" for key, value in kept.environment.items() if environment.get(key) != value]
    where = f" On another set-up: {', '.join(others)}." if others else ""
    heading = [f"## {section.title}", "", f"{kept.date}, {kept.seconds:.0f} s.{where}"]
    return [*heading, *section_lines(section)]


def section_lines(section: Section) -> list[str]:
    """Return what a section says below its heading."""
    lines: list[str] = []
    for note in section.notes:
        lines += ["", note]
    for table in section.tables:
        lines += ["", markdown_table(table)]
    if section.targets:
        lines += ["", _targets_table(section.targets)]
    return lines


def _targets_table(targets: Sequence[Target]) -> str:
    words = {True: "met", False: "not met", None: "not measured"}
    rows = [(one.what, one.wanted, one.measured, words[one.met]) for one in targets]
    return markdown_table([("target", "wanted", "measured", ""), *rows])
