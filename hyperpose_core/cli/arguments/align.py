"""Arguments of `hyperpose align`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "align",
        description="Fit the localizer's parameter world_to_map, the trained world's pose in map_frame, to "
        "poses of the camera that are known in both. Both files are in the TUM format (timestamp x y z qx qy "
        "qz qw), as `hyperpose evaluate`, the evaluator and evo write them. Poses are matched by stamp; a "
        "rigid transform is fitted to their positions; outliers, up to half of them, are left out (least "
        "median of squares). Where positions lie on a line or are fewer than three, the orientations give "
        "the rotation.",
    )
    parser.add_argument(
        "--estimated", type=Path, required=True, help="TUM file: the camera's poses in the trained world"
    )
    parser.add_argument(
        "--reference", type=Path, required=True, help="TUM file: the camera's poses in the robot's map"
    )
    parser.add_argument(
        "--max-difference",
        type=float,
        default=0.02,
        help="seconds by which the stamps of two matching poses may differ (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, help="write a parameter file for the localizer")
