"""Arguments of `hyperpose reconstruct`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.reconstruction import add_reconstruction_arguments


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "reconstruct",
        description="Find the poses of a video's frames, a folder's photographs or a bag's images by "
        "structure from motion, and write labels.csv, the camera and COLMAP's model, ready for every other "
        "verb. Several sources of one place come into one world. An interrupted run resumes with "
        "the same command; a finished one takes seconds to rescale.",
        epilog="Exit code: 0 if all went well, 1 if there are poses but something asked for was not had "
        "(said in a line that begins with 'problem'), 2 if there are none.",
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="video, folder of images, or bag"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the place")
    add_reconstruction_arguments(parser)
