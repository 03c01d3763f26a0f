"""Reads docs/architecture.md's tables of boxes, and the imports that there really are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hyperpose_core", "hyperpose_ros")
PAGE = PROJECT_ROOT / "docs" / "architecture.md"

# Importable everywhere: the packages themselves (their version), users' mistakes, what users can choose, how
# all deal with what users and their disks bring, and how PyTorch is imported where it is needed.
FREE_FOR_ALL = {
    "hyperpose_core",
    "hyperpose_core/choices.py",
    "hyperpose_core/command_line.py",
    "hyperpose_core/errors.py",
    "hyperpose_core/files.py",
    "hyperpose_core/large_imports.py",
    "hyperpose_core/limits.py",
    "hyperpose_core/untrusted.py",
    "hyperpose_ros",
}

_ROW = re.compile(r"^\| `([\w/.]+)` \|.*\|([^|]*)\|$")
_MODULE = re.compile(r"hyperpose_(core|ros)(\.\w+)+")

Imports = Mapping[str, set[str]]


def boxes_on_page(page: str) -> dict[str, set[str]]:
    """Return what each box may import, as the page's tables say: "hyperpose_core/datasets" -> boxes."""
    allowed: dict[str, set[str]] = {}
    package = ""
    for line in page.splitlines():
        if line.startswith("## "):
            package = line.strip("# `")
        row = _ROW.match(line)
        if row is None or package not in PACKAGES:
            continue
        allowed[_box_name(package, row[1])] = set(_listed(package, row[2]))
    return {box: imports for box, imports in allowed.items() if box not in FREE_FOR_ALL}


def _listed(package: str, cell: str) -> Iterator[str]:
    for part in cell.split(";"):
        home, _, names = part.rpartition(":")
        owner = "hyperpose_core" if home.strip() == "core" else package
        yield from (_box_name(owner, name) for name in names.split(",") if name.strip())


def _box_name(package: str, name: str) -> str:
    return f"{package}/{name.strip().strip('/')}"


def boxes_in_code() -> dict[str, set[str]]:
    """Return what each box imports: those of its own package as well as those of the other."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in sorted((PROJECT_ROOT / package).rglob("*.py")):
            box = box_of(path)
            imported = {box_of(module) for name in modules_named_in(path) if (module := _file_of(name))}
            found.setdefault(box, set()).update(imported - {box} - FREE_FOR_ALL)
    return {box: imported for box, imported in found.items() if box not in FREE_FOR_ALL}


def box_of(path: Path) -> str:
    """Return the box of a file: its folder, or the file itself where it stands at a package's top."""
    relative = path.relative_to(PROJECT_ROOT)
    if relative.name == "__main__.py":
        return f"{relative.parent}/cli"  # the same command by another name
    if len(relative.parts) == 2:
        return str(relative.parent if relative.name == "__init__.py" else relative)
    return str(relative.parent)


def modules_named_in(path: Path) -> set[str]:
    """Return the dotted names of this project's modules that a file imports, or names in a string."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _MODULE.fullmatch(node.value.rstrip(".")):
                names.add(node.value.rstrip("."))
    return {name for name in names if name.split(".")[0] in PACKAGES}


def _file_of(name: str) -> Path | None:
    """Return the file of a module, or of the module that a dotted name lies in."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = PROJECT_ROOT.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file():
            return path.with_suffix(".py")
        if (path / "__init__.py").is_file():
            return path / "__init__.py"
    return None


def violations(allowed: Imports, found: Imports) -> list[str]:
    """Say in a line each where code and page differ, and which boxes import each other."""
    lines = [f"{box} has no row" for box in sorted(set(found) - set(allowed))]
    lines += [f"{box} has a row and no code" for box in sorted(set(allowed) - set(found))]
    for box in sorted(set(found) & set(allowed)):
        lines += [
            f"{box} imports {other}, its row does not say so" for other in sorted(found[box] - allowed[box])
        ]
        lines += [
            f"{box} does not import {other}, as its row says" for other in sorted(allowed[box] - found[box])
        ]
    return lines + [
        f"{box} imports itself around a corner" for box in sorted(found) if box in _reached(box, found)
    ]


def _reached(box: str, imports: Imports) -> set[str]:
    reached: set[str] = set()
    waiting = list(imports.get(box, ()))
    while waiting:
        other = waiting.pop()
        if other not in reached:
            reached.add(other)
            waiting += imports.get(other, ())
    return reached
