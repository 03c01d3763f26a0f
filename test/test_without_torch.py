"""A robot that runs an exported file needs no PyTorch: commands and node where it cannot be imported."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image
from landmark_images import CAMERA_OPTION, write_rooms
from landmark_scene import CAMERA, Room, landmark_map, looking, tour

from hyperpose_core.checkpoint.file import load_checkpoint, save_checkpoint
from hyperpose_core.cli.main import main
from hyperpose_core.geometry.world import World
from hyperpose_core.inference.engines.threads import default_threads
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.refinement.checkpoint_map import map_beside

pytest.importorskip("openvino", reason="openvino is missing: pip install openvino")
pytest.importorskip("onnx", reason="onnx is missing: pip install 'hyperpose_ros[train]'")

NOT_THERE = ("torch", "torchvision", "tensorboard", "onnx", "pydantic")
ROOM = Room(seed=1)
QUERIES = [looking(2.9, 2.6, yaw) for yaw in (20.0, 140.0)]


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH on which packages that only training needs cannot be imported."""
    folder = tmp_path_factory.mktemp("blocked")
    for name in NOT_THERE:
        text = f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        (folder / f"{name}.py").write_text(text)
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="module")
def robot_file(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network of a room with the room's map beside it, and the checkpoint that it was made of."""
    folder = tmp_path_factory.mktemp("robot")
    known = load_checkpoint(tiny_checkpoint)
    path = folder / "room.safetensors"
    save_checkpoint(path, dataclasses.replace(known, scenes=("room",), camera=CAMERA, world=World()))
    landmark_map({"room": ROOM}, tour(24)).save(map_beside(path))
    output = folder / "for the robot.onnx"
    assert main(["export", str(path), "--map", "--output", str(output), "--images", "2"]) == 0
    assert map_beside(output).read_bytes() == map_beside(path).read_bytes()
    return output


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("queries"), {"room": ROOM}, QUERIES)


def run(blocked: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a verb where PyTorch cannot be imported."""
    return subprocess.run(
        [sys.executable, "-m", "hyperpose_core", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": blocked},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_predict_localises_as_with_pytorch(
    blocked: str, robot_file: Path, labels: Path, tmp_path: Path
) -> None:
    image = labels.parent / "room-000.png"
    done = run(blocked, "predict", robot_file, image, "--csv", tmp_path / "poses.csv", "--no-map")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "poses.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
    pose = PoseEstimator.load(robot_file.with_name("room.safetensors"), "cpu").estimate([pixels])[0].pose
    assert pose is not None
    np.testing.assert_allclose([float(row[axis]) for axis in "xyz"], pose.position, atol=1e-4)
    found = [float(row[f"q{axis}"]) for axis in "wxyz"]
    np.testing.assert_allclose(found, pose.orientation, atol=1e-4)


def test_evaluate_and_the_map_need_no_pytorch(
    blocked: str, robot_file: Path, labels: Path, tmp_path: Path
) -> None:
    data = ("--data", labels, "--split", "train", "--data-option", CAMERA_OPTION)
    done = run(blocked, "evaluate", robot_file, *data, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["refined"]["verified"] == 2
    assert set(results["metadata"]["versions"]) == {"hyperpose", "openvino"}


def test_info_tells_of_an_exported_file(blocked: str, robot_file: Path) -> None:
    done = run(blocked, "info", robot_file)
    assert done.returncode == 0 and "architecture  hyperpose" in done.stdout, done.stderr


def test_what_needs_pytorch_says_so_in_a_line(blocked: str, robot_file: Path, labels: Path) -> None:
    image, checkpoint = labels.parent / "room-000.png", robot_file.with_name("room.safetensors")
    for arguments in (
        ("predict", checkpoint, image),
        ("info", checkpoint),
        ("evaluate", robot_file, "--data", labels, "--split", "train", "--turns", 5),
        ("train", "--data", labels, "--output", labels.parent / "run"),
    ):
        done = run(blocked, *arguments)
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        said = r"this needs (torch|pydantic), which is not installed: pip install 'hyperpose_ros\[train\]'"
        assert re.search(said, done.stderr), done.stderr
        assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_threads_are_pytorchs_where_there_is_none() -> None:
    program = (
        "from hyperpose_core.inference.engines.threads import default_threads as threads\n"
        "alone = threads()\nimport torch\nassert alone == torch.get_num_threads(), (alone, threads())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    for chosen in ({}, {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "300"}):
        command = [sys.executable, "-c", program]
        subprocess.run(command, env={**environment, **chosen}, check=True, timeout=120)
    assert default_threads() >= 1


@pytest.fixture
def process(blocked: str, robot_file: Path, domain_id: int, tmp_path: Path) -> Iterator[object]:
    pytest.importorskip("rclpy", reason="rclpy is missing")
    pytest.importorskip("tf2_msgs", reason="tf2_msgs is missing: `make venv` builds it")
    from ros_helpers import NodeProcess

    arguments = ["--ros-args", "-r", "__node:=bare", "-r", "image:=/bare_camera"]
    arguments += ["-p", f"checkpoint:={robot_file}", "-p", "refinement:=verify"]
    module = "hyperpose_ros.localizer.node"
    with NodeProcess(module, arguments, domain_id, tmp_path / "log.txt", PYTHONPATH=blocked) as process:
        yield process


def test_the_node_answers_an_image(peer: object, process: object, robot_file: Path) -> None:
    from geometry_msgs.msg import PoseStamped
    from localizer_helpers import RELIABLE, SECOND, assert_same_pose, message_of
    from ros_helpers import send_until
    from sensor_msgs.msg import Image

    image, stamp_ns = draw_image(3, CAMERA.height, CAMERA.width), 1_403_774_720 * SECOND
    poses = peer.collect(PoseStamped, "/bare/pose")  # type: ignore[attr-defined]
    process.wait_for_output("active")  # type: ignore[attr-defined]
    camera = peer.publisher(Image, "/bare_camera", RELIABLE)  # type: ignore[attr-defined]
    message = message_of(image, stamp_ns)
    answer = send_until(camera, message, lambda: poses[-1] if poses else None, "a pose")
    checkpoint = robot_file.with_name("room.safetensors")
    assert_same_pose(answer, PoseEstimator.load(checkpoint, "cpu").estimate([image])[0])
