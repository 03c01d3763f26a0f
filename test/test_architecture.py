"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from architecture import PAGE, PROJECT_ROOT, boxes_in_code, boxes_on_page, modules_named_in, violations

CORE_FILES = sorted((PROJECT_ROOT / "hyperpose_core").rglob("*.py"))
ROS_PACKAGES = {"rclpy", "hyperpose_ros", "sensor_msgs", "geometry_msgs", "tf2_ros", "cv_bridge"}


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_the_core_imports_no_ros(path: Path) -> None:
    imported = {name.split(".")[0] for name in modules_named_in(path)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert not imported & ROS_PACKAGES


def test_every_import_is_in_the_architecture_page_and_no_boxes_import_each_other() -> None:
    assert violations(boxes_on_page(PAGE.read_text(encoding="utf-8")), boxes_in_code()) == []


def test_a_broken_line_of_the_page_is_found() -> None:
    page = PAGE.read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith("| `losses.py` |"))
    purpose = line.rpartition(" | ")[0]
    broken = page.replace(line, f"{purpose} | datasets |")
    assert violations(boxes_on_page(broken), boxes_in_code()) == [
        "hyperpose_core/losses.py imports hyperpose_core/geometry, its row does not say so",
        "hyperpose_core/losses.py imports hyperpose_core/models, its row does not say so",
        "hyperpose_core/losses.py does not import hyperpose_core/datasets, as its row says",
    ]


def test_boxes_that_import_each_other_around_a_corner_are_found() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert violations(imports, imports) == [f"{box} imports itself around a corner" for box in "abc"]


def test_a_module_named_in_a_string_counts_as_imported(tmp_path: Path) -> None:
    path = tmp_path / "verb.py"
    path.write_text("import importlib\nimportlib.import_module('hyperpose_ros.localizer.node')\n")
    assert modules_named_in(path) == {"hyperpose_ros.localizer.node"}
