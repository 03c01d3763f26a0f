"""`hyperpose reconstruct`: poses of images that have none."""

from __future__ import annotations

import argparse

from hyperpose_core.errors import HyperPoseError

try:
    import pycolmap  # noqa: F401
except ModuleNotFoundError as missing:
    raise HyperPoseError("reconstruct needs pycolmap: pip install 'hyperpose_ros[map]'") from missing
from hyperpose_core.cli.reconstruction_settings import reconstruction_settings_from
from hyperpose_core.reconstruction.reconstruct import reconstruct
from hyperpose_core.reconstruction.report import REPORT_FOLDER, summary_lines
from hyperpose_core.reconstruction.writing import LABELS_FILE

PROBLEMS_FOUND = 1


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct as the arguments say.

    Raises:
        HyperPoseError: an argument or a source is wrong, or no images could be joined.
    """
    place = reconstruct(arguments.sources, arguments.output, reconstruction_settings_from(arguments))
    print("\n".join(summary_lines(place)))
    print(
        f"written to {place.output} in {place.seconds:.0f} s: {LABELS_FILE}, sparse/0, "
        f"{REPORT_FOLDER}/results.md"
    )
    print(f"next: hyperpose train --data {place.output / LABELS_FILE} --split train --output RUN")
    return PROBLEMS_FOUND if place.problems else 0
