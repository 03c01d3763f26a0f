"""`hyperpose reproduce`: the paper's tables, from tiny folders in the official layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from experiment_helpers import TINY, run_verb, write_cambridge
from robotcar_layout import write_run, write_sdk

from hyperpose_core.experiments.paper_tables import PAPER_TABLES
from hyperpose_core.experiments.reproduction import published_figures
from hyperpose_core.training.recipe import load_recipe


@pytest.fixture
def small_recipes(monkeypatch) -> None:
    """Let the command line shrink the recipes as far as a test needs."""
    small = {key: value for key, value in TINY.items() if key not in ("model", "model_options")}
    monkeypatch.setattr(
        "hyperpose_core.cli.reproduce.recipe_overrides_from",
        lambda arguments: {**small, "model_options": {"backbone": "efficientnet_lite0"}},
    )


def test_tables_are_made_from_what_is_there(tmp_path: Path, small_recipes, capsys) -> None:
    root = tmp_path / "data"
    write_cambridge(root / "Cambridge", "ShopFacade", ("evening", "winter"))
    command = ["--data", root, "--output", tmp_path / "out"]
    assert run_verb("reproduce", "table1", *command, "--plan") == 0
    plan = capsys.readouterr().out
    assert "AtLoc, ShopFacade: recipe atloc_cambridge, 1 epochs on 12 images, scored on 10" in plan
    assert "cambridge scene KingsCollege is missing" in plan
    assert not (tmp_path / "out").exists()

    assert run_verb("reproduce", "table1", *command) == 0
    results = json.loads((tmp_path / "out" / "table1" / "results.json").read_text())
    methods = ["AtLoc", "AtLoc w/ hypernet", "Baseline APR", "Baseline APR w/ hypernet"]
    assert [(cell["method"], cell["column"]) for cell in results["cells"]] == [
        (method, "ShopFacade") for method in methods
    ]
    assert results["cells"][2]["published"] == [0.74, 4.79]
    assert results["cells"][2]["frames"] == 10
    assert {item["unit"] for item in results["skipped"]} == {"KingsCollege", "OldHospital", "StMarysChurch"}
    markdown = (tmp_path / "out" / "table1" / "results.md").read_text()
    assert "Baseline APR, paper" in markdown and "A trial with other recipes" in markdown
    assert (tmp_path / "out" / "table1" / "table1.png").exists()

    # The same networks serve the Extended Cambridge Landmarks: nothing is trained again.
    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("*/best.safetensors")}
    assert run_verb("reproduce", "ecl", *command) == 0
    assert {path: path.stat().st_mtime_ns for path in runs} == runs and len(runs) == 4
    cells = json.loads((tmp_path / "out" / "ecl" / "results.json").read_text())["cells"]
    assert [cell["condition"] for cell in cells] == ["original", "evening", "winter"] * 4
    first = cells[0]["position_m"]["estimate"]
    assert first == pytest.approx(results["cells"][0]["position_m"]["estimate"], rel=1e-4)
    assert "against original" in (tmp_path / "out" / "ecl" / "results.md").read_text()


def test_robotcar_routes_are_found_and_a_missing_test_run_is_said(tmp_path: Path, small_recipes) -> None:
    loop = tmp_path / "data" / "robotcar" / "loop"
    write_sdk(loop)
    for date in ("2014-06-26-08-53-56", "2014-06-26-09-24-58", "2014-06-23-15-36-04"):
        write_run(loop, date)
    command = ["table4", "--data", tmp_path / "data", "--output", tmp_path / "out"]
    assert run_verb("reproduce", *command) == 0
    results = json.loads((tmp_path / "out" / "table4" / "results.json").read_text())
    assert [(cell["column"], cell["statistic"]) for cell in results["cells"]] == [
        ("LOOP1", "median"),
        ("LOOP1", "mean"),
    ] * 2
    assert results["cells"][0]["published"] == [5.68, 2.23]
    reasons = {item["unit"]: item["reason"] for item in results["skipped"]}
    assert reasons["LOOP2"] == "no test images of it in robotcar loop test"
    assert "2014-11-28-12-07-13, 2014-12-02-15-30-08 are missing" in reasons["full"]
    assert "INS body" in (tmp_path / "out" / "table4" / "results.md").read_text()


def test_a_table_of_which_nothing_is_there_says_what_is_missing(tmp_path: Path, capsys) -> None:
    assert run_verb("reproduce", "table4", "--data", tmp_path, "--output", tmp_path / "out") == 1
    assert "RobotCar runs 2014-06-26-08-53-56, 2014-06-26-09-24-58 are missing" in capsys.readouterr().out
    write_cambridge(tmp_path, "ShopFacade")
    assert run_verb("reproduce", "ecl", "--data", tmp_path, "--plan") == 1
    assert "no evening, winter, summer images of ShopFacade" in capsys.readouterr().out
    assert run_verb("reproduce", "ecl", "--data", tmp_path / "nowhere") == 2


def test_a_run_that_fails_is_left_out_and_said(tmp_path: Path, small_recipes) -> None:
    write_cambridge(tmp_path, "ShopFacade")
    (tmp_path / "ShopFacade" / "seq1" / "frame00003.png").write_bytes(b"no image")
    assert run_verb("reproduce", "table1", "--data", tmp_path, "--output", tmp_path / "out") == 1
    skipped = json.loads((tmp_path / "out" / "table1" / "results.json").read_text())["skipped"]
    reasons = [item["reason"] for item in skipped if item["unit"] == "ShopFacade"]
    assert len(reasons) == 4
    assert all("failed:" in reason and "frame00003.png" in reason for reason in reasons)


def test_the_tables_need_recipes_and_rows_that_exist() -> None:
    """Every method has a shipped recipe, and published figures in each of its columns."""
    for table in PAPER_TABLES.values():
        for method in table.methods:
            recipe = load_recipe(method.recipe)
            assert (len(recipe.stages) == 1) or table.name in ("table2", "table3")
            for unit in table.units_of(method):
                for column in unit.columns:
                    for statistic in table.statistics:
                        figures = published_figures(table, method.name, column, statistic)
                        assert (figures is None) == (table.number is None)
