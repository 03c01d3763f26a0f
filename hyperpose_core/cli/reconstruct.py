"""`hyperpose reconstruct`: poses of images that have none."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.errors import HyperPoseError

try:
    import pycolmap  # noqa: F401
except ModuleNotFoundError as missing:
    raise HyperPoseError("reconstruct needs pycolmap: pip install 'hyperpose_ros[map]'") from missing
from hyperpose_core.cli.reconstruction_arguments import (
    add_reconstruction_arguments,
    reconstruction_settings_from,
)
from hyperpose_core.reconstruction.reconstruct import reconstruct
from hyperpose_core.reconstruction.report import REPORT_FOLDER, summary_lines
from hyperpose_core.reconstruction.writing import LABELS_FILE

PROBLEMS_FOUND = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "reconstruct",
        description="Find the poses of a video's frames, a folder's photographs or a bag's images by "
        "structure from motion, and write labels.csv, the camera and COLMAP's model, ready for every other "
        "verb. Several sources of one place come into one world. Interrupted, the same command goes on where "
        "it was; once finished, it takes seconds to give it another scale.",
        epilog="Exit code: 0 if all went well, 1 if there are poses but something asked for was not had "
        "(said in a line that begins with 'problem'), 2 if there are none.",
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="video, folder of images, or bag"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the place")
    add_reconstruction_arguments(parser)
    parser.set_defaults(run=run)


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
