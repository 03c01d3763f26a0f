"""Writes docs/parameters.md from the parameters' declarations, and checks that the file is current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.parameters.declaration import Change, Declaration, Value, declarations
from hyperpose_ros.parameters.evaluator import EvaluatorParameters
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.parameters.viewer import ViewerParameters

DEFAULT_FILE = Path(__file__).resolve().parents[2] / "docs" / "parameters.md"

_COMMAND = "python -m hyperpose_ros.parameters.reference"
_GROUPS = (
    ("Node", "autostart"),
    ("Network", "checkpoint"),
    ("Landmark map", "map"),
    ("Images", "image_transport"),
    ("Frames and transforms", "map_frame"),
    ("Path", "path_length"),
    ("Age, rate and silence of images", "max_age"),
    ("Pose validity", "on_invalid"),
)
"""The localizer's groups, each with the first of its parameters in the order of their declaration."""


def reference() -> str:
    """Return the parameter reference as Markdown.

    Raises:
        HyperPoseError: a group begins with a parameter that is not declared.
    """
    lines = [
        "# Parameters",
        "",
        f"Written by `{_COMMAND}` from the declarations in the code.",
        "",
        "`ros2 param describe NODE NAME` says the same of a running node. A double is written with a point:",
        "`1.0`, not `1`. The topics' QoS is set by `qos_overrides` parameters, as in every ROS 2 node.",
        "",
        "When a parameter may change:",
        "",
        *(f"- {_word(change)}: {change.value}" for change in Change),
        "",
        "## localizer",
    ]
    for title, group in _grouped(declarations(LocalizerParameters)):
        lines += ["", f"### {title}", "", *_table(group)]
    lines += ["", "## evaluator", "", *_table(declarations(EvaluatorParameters))]
    lines += ["", "## viewer", "", *_table(declarations(ViewerParameters))]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with --check compare it; 1 where it is not current, 2 after an error."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where the file is not current"
    )
    parser.add_argument(
        "file", nargs="?", type=Path, default=DEFAULT_FILE, help="default: docs/parameters.md"
    )
    options = parser.parse_args(arguments)
    try:
        text = reference()
        if not options.check:
            options.file.write_text(text, encoding="utf-8")
        elif not options.file.is_file() or options.file.read_text(encoding="utf-8") != text:
            print(f"{options.file} is not what the declarations say: run `{_COMMAND}`", file=sys.stderr)
            return 1
    except (HyperPoseError, OSError) as error:
        print(f"hyperpose: error: {error}", file=sys.stderr)
        return 2
    return 0


def _grouped(every: Sequence[Declaration]) -> list[tuple[str, list[Declaration]]]:
    names = [declaration.name for declaration in every]
    titles = {first: title for title, first in _GROUPS}
    missing = [first for first in titles if first not in names]
    if missing or names[0] not in titles:
        raise HyperPoseError(f"parameters/reference.py: no parameter {', '.join(missing)} begins a group")
    groups: list[tuple[str, list[Declaration]]] = []
    for declaration in every:
        if declaration.name in titles:
            groups.append((titles[declaration.name], []))
        groups[-1][1].append(declaration)
    return groups


def _table(group: Sequence[Declaration]) -> list[str]:
    rows = [
        (
            f"`{declaration.name}`",
            declaration.type.name.lower().replace("_", " "),
            _default(declaration.default),
            declaration.constraints,
            _word(declaration.change),
            declaration.description,
        )
        for declaration in group
    ]
    head = ("name", "type", "default", "allowed", "change", "description")
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _word(change: Change) -> str:
    return change.name.lower().replace("_", " ")


def _default(value: Value | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if value in ("", ()):
        return "not set"
    return f"`{value}`"


if __name__ == "__main__":
    sys.exit(main())
