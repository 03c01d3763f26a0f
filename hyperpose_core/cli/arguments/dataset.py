"""Arguments of `hyperpose dataset`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.common import add_layout_arguments


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser("dataset", description="Inspect a dataset.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="report what a dataset holds and what is wrong with it",
        description="Open a dataset, read every image once, and report what it holds (frames a scene and "
        "split, image sizes, extents, steps, gaps, time stamps, how far test frames are from "
        "training frames) and what is wrong with it (unreadable images, bad rows, duplicated "
        "or unsorted time stamps, images that are in both splits). Poses and camera are "
        "checked against a sample of the images: the usual mistakes (inverted poses, other "
        "axes, quaternion order, shifted labels, focal length ...) are named. Scale cannot be "
        "seen this way.",
        epilog="Exit code: 0 if nothing is wrong, 1 if problems were found, 2 if it cannot be opened.",
    )
    check.add_argument("data", type=Path, metavar="DIR", help="label CSV, bag or dataset folder")
    add_layout_arguments(check)
    check.add_argument(
        "--no-images", action="store_true", help="do not read the images, only check that they exist"
    )
    check.add_argument("--test-data", type=Path, metavar="DIR", help="the test frames, if elsewhere")
    check.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for check.json, the distances as CSV and a plot"
    )
    check.set_defaults(function="run_check")
