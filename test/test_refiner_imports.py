"""A robot that localises in a landmark map needs neither PyTorch nor what builds maps."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
import hyperpose_core.landmarks.landmark_map, hyperpose_core.landmarks.refiner
print(sorted({"torch", "pycolmap", "matplotlib"} & set(sys.modules)))
"""


def test_map_and_refiner_import_no_pytorch():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
