"""`hyperpose VERB --help` comes at once: what takes long to import is not imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hyperpose_core.choices import (
    DATASET_FORMAT_NAMES,
    MODEL_NAMES,
    TAG_DICTIONARY_NAMES,
)
from hyperpose_core.cli.main import verb_names

LARGE = ("torch", "torchvision", "cv2", "matplotlib", "pandas", "scipy", "pycolmap", "openvino", "rclpy")

PROGRAM = f"""
import contextlib, io, sys
from hyperpose_core.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
    main(sys.argv[1:])
assert printed.getvalue().startswith("usage: hyperpose"), printed.getvalue()
sys.exit(", ".join(set({LARGE}) & set(sys.modules)) or 0)
"""


@pytest.mark.parametrize("arguments", [[], *([verb] for verb in verb_names())], ids=" ".join)
def test_help_imports_nothing_large(arguments: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, *arguments, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_choices_that_help_shows_are_those_that_there_are() -> None:
    from hyperpose_core.datasets import DATASET_FORMATS
    from hyperpose_core.models.registry import _MODELS
    from hyperpose_core.reconstruction.tags import DICTIONARIES

    assert tuple(DATASET_FORMATS) == DATASET_FORMAT_NAMES
    assert tuple(_MODELS) == MODEL_NAMES
    assert tuple(DICTIONARIES) == TAG_DICTIONARY_NAMES
