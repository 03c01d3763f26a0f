"""What `from hyperpose_core import ...` gives, as the README shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def test_the_names_of_the_readme_score_a_checkpoint(seven_scenes_folder: Path, tiny_checkpoint: Path) -> None:
    from hyperpose_core import PoseEstimator, evaluate, load_recipe, open_dataset

    data = open_dataset(seven_scenes_folder, split="test")
    scores = evaluate(PoseEstimator.load(tiny_checkpoint, "cpu"), data)
    assert scores.overall.frames == len(data.images)
    assert load_recipe("small_data").model == "hyperpose"


def test_importing_the_package_imports_nothing_large() -> None:
    program = "import sys, hyperpose_core; sys.exit({'torch', 'cv2', 'numpy'} & set(sys.modules) != set())"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_unknown_name_is_no_attribute() -> None:
    import hyperpose_core

    with pytest.raises(AttributeError, match="has no attribute 'PoseEstimate'"):
        hyperpose_core.PoseEstimate  # noqa: B018
