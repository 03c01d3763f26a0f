"""What can be checked of launch files and their YAML where launch is not installed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from hyperpose_core.errors import HyperPoseError
from hyperpose_ros.parameters.declaration import declarations
from hyperpose_ros.parameters.evaluator import EvaluatorParameters
from hyperpose_ros.parameters.launch_values import value_from_text
from hyperpose_ros.parameters.localizer import LocalizerParameters
from hyperpose_ros.parameters.viewer import ViewerParameters

PROJECT_ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((PROJECT_ROOT / "launch").glob("*.launch.py"))
LOCALIZER = {declaration.name: declaration for declaration in declarations(LocalizerParameters)}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("map_frame", "42", "42"),
        ("autostart", "false", False),
        ("threads", "2", 2),
        ("max_rate", "5", 5.0),
        ("cameras", "[front, 'rear']", ["front", "rear"]),
        ("camera_extrinsics", "[0.3, 0, 1.2, -1.57, 0, -1.57]", [0.3, 0.0, 1.2, -1.57, 0.0, -1.57]),
    ],
)
def test_an_argument_becomes_the_parameters_type(name: str, text: str, value: object) -> None:
    converted = value_from_text(LOCALIZER[name], text)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("autostart", "yes", "autostart:=yes: write true or false"),
        ("max_rate", "fast", "max_rate:=fast: write a number, 0 to 1000"),
        ("world_to_map", "[1, 2, x]", "world_to_map:=.* write a list of numbers"),
    ],
)
def test_an_argument_that_is_no_value_is_named(name: str, text: str, complaint: str) -> None:
    with pytest.raises(HyperPoseError, match=complaint):
        value_from_text(LOCALIZER[name], text)


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_every_argument_says_what_it_is(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if is_call(node, "DeclareLaunchArgument")]
    assert calls
    for call in calls:
        descriptions = [word.value for word in call.keywords if word.arg == "description"]
        assert len(descriptions) == 1, ast.unparse(call.args[0])


def test_launch_files_give_their_nodes_parameters_that_these_have() -> None:
    evaluator = {declaration.name for declaration in declarations(EvaluatorParameters)}
    viewer = {declaration.name for declaration in declarations(ViewerParameters)}
    assert set(assigned("localize.launch.py", "_PARAMETERS")) <= set(LOCALIZER)
    assert set(assigned("view.launch.py", "parameters")) <= viewer
    assert set(assigned("replay.launch.py", "parameters")) <= evaluator


def test_the_filter_agrees_with_the_localizer() -> None:
    given = yaml.safe_load((PROJECT_ROOT / "config" / "robot_localization.yaml").read_text())
    parameters = given["/**"]["ros__parameters"]
    assert parameters["world_frame"] == parameters["map_frame"] == LOCALIZER["map_frame"].default
    assert parameters["odom_frame"] == LOCALIZER["odom_frame"].default
    assert parameters["base_link_frame"] == LOCALIZER["base_frame"].default
    poses, velocities = parameters["pose0_config"], parameters["odom0_config"]
    assert [index for index, is_fused in enumerate(poses) if is_fused] == [0, 1, 2, 3, 4, 5]
    assert [index for index, is_fused in enumerate(velocities) if is_fused] == [6, 7, 8, 9, 10, 11]
    assert len(poses) == len(velocities) == 15
    # Certain of nothing at the start, or every pose is rejected where odometry comes before the first one.
    certainty = parameters["initial_estimate_covariance"]
    assert len(certainty) == 15
    assert min(certainty[:3]) >= 1e4
    assert min(certainty[3:6]) >= 3.14**2 / 3  # an angle of which nothing is known


def assigned(file: str, name: str) -> list[Any]:
    """The strings of a tuple, or the keys of a dict, that a launch file assigns to a name."""
    tree = ast.parse((PROJECT_ROOT / "launch" / file).read_text())
    (value,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == name
    )
    items = value.keys if isinstance(value, ast.Dict) else value.elts  # type: ignore[attr-defined]
    return [ast.literal_eval(item) for item in items]


def is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
