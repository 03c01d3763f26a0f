"""What `colcon build` and `pip install` put where, and whether the manifests agree with each other."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pytest
import yaml
from conftest import draw_image
from packaging.requirements import Requirement

import hyperpose_core
from hyperpose_core.cli.main import main

PROJECT = Path(__file__).resolve().parents[1]
MANIFEST = ElementTree.parse(PROJECT / "package.xml").getroot()
# Distributions whose module has another name.
DISTRIBUTES = {"opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml", "rerun-sdk": "rerun"}
SHARE = "hyperpose_ros-{version}.data/data/share/hyperpose_ros"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that `pip install .` makes; of a copy, because building leaves traces in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("hyperpose_core", "hyperpose_ros", "launch", "config", "resource"):
        shutil.copytree(
            PROJECT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "LICENSE"):
        shutil.copy(PROJECT / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(folder / "source")], check=True, timeout=120)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def shipped(folder: str) -> set[str]:
    files = (path for path in (PROJECT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(PROJECT)) for path in files}


def test_the_version_is_the_same_everywhere(wheel: zipfile.ZipFile) -> None:
    version = MANIFEST.findtext("version")
    assert hyperpose_core.__version__ == version
    assert f"-{version}-" in Path(wheel.filename).name


def test_an_installation_holds_every_launch_file_configuration_and_recipe(wheel: zipfile.ZipFile) -> None:
    share = SHARE.format(version=MANIFEST.findtext("version"))
    installed = {name[len(share) + 1 :] for name in wheel.namelist() if name.startswith(share)}
    assert {"config/localizer.yaml", "config/localizer.rviz", "launch/localize.launch.py"} <= installed
    assert any(name.startswith("config/recipes/") and name.endswith(".yaml") for name in installed)
    assert shipped("launch") | shipped("config") | {"package.xml"} == installed


def test_an_installation_holds_every_module_and_what_the_modules_read(wheel: zipfile.ZipFile) -> None:
    installed = set(wheel.namelist())
    for package in ("hyperpose_core", "hyperpose_ros"):
        assert shipped(package) <= installed
    assert not any(name.startswith(("test/", "tools/", "interfaces/")) for name in installed)


@pytest.fixture(scope="module")
def unpacked(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it lies in `site-packages`."""
    folder = tmp_path_factory.mktemp("site-packages")
    wheel.extractall(folder)
    return folder


def test_every_command_can_be_started(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    entry_points = configparser.ConfigParser(delimiters="=")
    entry_points.read_string(wheel.read(name).decode())
    commands = dict(entry_points["console_scripts"])
    assert set(commands) >= {"hyperpose", "localizer", "evaluator", "bag_player", "dataset_to_bag"}
    program = "import importlib, sys\n"
    program += "for module, function in (target.split(':') for target in sys.argv[1:]):\n"
    program += "    assert callable(getattr(importlib.import_module(module), function))\n"
    subprocess.run([sys.executable, "-c", program, *commands.values()], check=True, timeout=60, cwd=PROJECT)


def hyperpose_without(modules: Sequence[str], site_packages: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `hyperpose` where some modules cannot be imported."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({list(modules)})); "
        "from hyperpose_core.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(site_packages)},
        cwd=site_packages,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_help_lists_the_verb_that_needs_ros_and_imports_neither_ros_nor_torch(unpacked: Path) -> None:
    code, output = hyperpose_without(["rclpy", "torch"], unpacked, "--help")
    assert code == 0, output
    assert re.search(r"^ +benchmark\s+say how long", output, flags=re.MULTILINE)


def test_a_verb_that_needs_ros_says_so_where_there_is_none(unpacked: Path) -> None:
    code, output = hyperpose_without(["rclpy"], unpacked, "benchmark", "node", "any.safetensors")
    assert code == 2
    assert output == (
        "hyperpose: error: `hyperpose benchmark node` needs ROS 2: rclpy cannot be imported here\n"
    )


def test_the_core_can_be_imported_where_there_is_no_ros() -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        "sys.modules.update(rclpy=None, hyperpose_ros=None)\n"
        "import hyperpose_core\n"
        "for found in pkgutil.walk_packages(hyperpose_core.__path__, 'hyperpose_core.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=PROJECT)


def test_the_parameter_file_names_every_parameter_with_its_default() -> None:
    pytest.importorskip("rclpy", reason="rclpy is missing")
    from hyperpose_ros.parameters.declaration import declarations
    from hyperpose_ros.parameters.localizer import LocalizerParameters

    text = (PROJECT / "config" / "localizer.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    declared = {declaration.name: declaration.default for declaration in declarations(LocalizerParameters)}
    unset = {name for name, default in declared.items() if default == ()}
    assert values == {name: default for name, default in declared.items() if name not in unset}
    for name in unset:
        assert f"    # {name}: [" in text


def test_everything_that_is_imported_is_declared(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    required = re.findall(r"^Requires-Dist: ([\w-]+)", wheel.read(metadata).decode(), flags=re.MULTILINE)
    declared = {DISTRIBUTES.get(name, name.replace("-", "_")) for name in required}
    declared |= {element.text for element in MANIFEST if element.tag == "exec_depend"}
    for package in ("hyperpose_core", "hyperpose_ros"):
        for path in (PROJECT / package).rglob("*.py"):
            third_party = imported_by(path) - sys.stdlib_module_names - {"hyperpose_core", "hyperpose_ros"}
            assert third_party <= declared, path


def required_by(requirements: Sequence[str]) -> dict[str, Path]:
    """What lies in `site-packages` for requirements and what these require, by name."""
    places: dict[str, Path] = {}
    waiting, known = [*requirements], set[str]()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name in known or (
            requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        known.add(requirement.name)
        found = distribution(requirement.name)
        waiting += found.requires or []
        names = {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}
        places |= {name: Path(str(found.locate_file(name))) for name in names}
    return places


def test_an_installation_without_extras_localises_an_image(
    wheel: zipfile.ZipFile, unpacked: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    pytest.importorskip(
        "onnx", reason="onnx is missing, which exports the network: pip install 'hyperpose_ros[train]'"
    )
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    required = re.findall(r"^Requires-Dist: (.+)", wheel.read(metadata).decode(), flags=re.MULTILINE)
    site = tmp_path / "site-packages"
    site.mkdir()
    for name, place in {**required_by(required), **{path.name: path for path in unpacked.iterdir()}}.items():
        (site / name).symlink_to(place)
    file, image = tmp_path / "tiny.onnx", tmp_path / "image.png"
    assert main(["export", str(tiny_checkpoint), "--output", str(file), "--images", "2"]) == 0
    assert cv2.imwrite(str(image), draw_image(3))
    program = (
        "import importlib.util as util, sys\n"
        "assert not [name for name in ('torch', 'onnx', 'pydantic') if util.find_spec(name)]\n"
        "from hyperpose_core.cli.main import main\nsys.exit(main())\n"
    )
    command = [sys.executable, "-S", "-c", program, "predict", str(file), str(image)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "image.png: position [" in done.stdout


def imported_by(path: Path) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return {name.split(".")[0] for name in names}


def test_make_says_in_one_line_that_a_python_is_unsuitable(tmp_path: Path) -> None:
    program = (
        'import runpy, sys; sys.version_info = (3, 8, 0); runpy.run_path(sys.argv[1], run_name="__main__")'
    )
    old_python = tmp_path / "python3"
    old_python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{program}' \"$@\"\n")
    old_python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    command = ["make", f"PYTHON={old_python}", f"VENV={tmp_path}/environment", "venv"]
    made = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60)
    assert made.returncode != 0
    assert "is not 3.10 to 3.13" in made.stderr.splitlines()[0]
    assert not (tmp_path / "environment").exists()
