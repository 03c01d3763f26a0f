"""docs/parameters.md says what the declarations say."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is missing")

from hyperpose_ros.parameters.declaration import declarations  # noqa: E402
from hyperpose_ros.parameters.evaluator import EvaluatorParameters  # noqa: E402
from hyperpose_ros.parameters.localizer import LocalizerParameters  # noqa: E402
from hyperpose_ros.parameters.reference import main, reference  # noqa: E402
from hyperpose_ros.parameters.viewer import ViewerParameters  # noqa: E402


def test_the_reference_in_docs_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_every_parameter_has_a_row_with_all_that_is_declared() -> None:
    lines = reference().splitlines()
    kinds = (LocalizerParameters, EvaluatorParameters, ViewerParameters)
    everything = [declaration for kind in kinds for declaration in declarations(kind)]
    for declaration in everything:
        word = declaration.change.name.lower().replace("_", " ")
        assert f"- {word}: {declaration.change.value}" in lines
        ends = f"{declaration.constraints} | {word} | {declaration.description} |"
        assert any(line.startswith(f"| `{declaration.name}` |") and line.endswith(ends) for line in lines)
    assert sum(line.startswith("| `") for line in lines) == len(everything)
    columns = {line.replace(r"\|", "").count("|") for line in lines if line.startswith("|")}
    assert columns == {7}, "a row with more or fewer cells than the head"


def test_a_file_that_is_not_current_is_named_and_writing_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "parameters.md"
    assert main(["--check", str(path)]) == 1
    assert str(path) in capsys.readouterr().err
    assert main([str(path)]) == 0
    assert main(["--check", str(path)]) == 0
    path.write_text(path.read_text().replace("metres", "feet"))
    assert main(["--check", str(path)]) == 1
    assert main([str(tmp_path / "missing" / "parameters.md")]) == 2
    assert "hyperpose: error: " in capsys.readouterr().err
