"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[1]
CORE_FILES = sorted((PROJECT_ROOT / "hyperpose_core").rglob("*.py"))


@pytest.mark.parametrize("path", CORE_FILES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_the_core_imports_no_ros(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert not imported & {"rclpy", "hyperpose_ros", "sensor_msgs", "geometry_msgs", "tf2_ros", "cv_bridge"}


def test_the_architecture_page_names_every_file_and_folder() -> None:
    page = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package in ("hyperpose_core", "hyperpose_ros"):
        for entry in sorted((PROJECT_ROOT / package).iterdir()):
            if entry.is_dir() and (entry / "__init__.py").exists():
                assert f"{entry.name}/" in page, f"{package}/{entry.name}/"
            elif entry.suffix == ".py" and not entry.name.startswith("__"):
                assert entry.name in page or f"{entry.stem.split('_')[0]}*" in page, f"{package}/{entry.name}"
