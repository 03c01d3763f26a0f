"""Arguments of `hyperpose build`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.choices import AUTO, BUILD_MINUTES
from hyperpose_core.cli.arguments.common import add_device_argument, add_layout_arguments
from hyperpose_core.cli.arguments.reconstruction import add_reconstruction_arguments


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "build",
        description="Build everything a robot needs to localize at a place: poses of the images, if they "
        "have none (`hyperpose reconstruct`), a check of the data, a trained network, a "
        "landmark map, and a report on frames held out. An interrupted run resumes with the "
        "same command.",
        epilog="`ros2 launch hyperpose_ros localize.launch.py place:=DIR` then runs it. Sources without "
        "poses need pycolmap: pip install 'hyperpose_ros[map]'.",
    )
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="a video, folder of images or bag, several of one place, too; or one dataset that has poses",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the place")
    parser.add_argument(
        "--minutes",
        type=float,
        default=BUILD_MINUTES,
        help="training time, by the speed measured at the start (default: %(default)g)",
    )
    parser.add_argument(
        "--recipe",
        default=AUTO,
        help="a shipped recipe's name or a YAML file (default: chosen by what the data is like)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of training (default: %(default)s)")
    parser.add_argument(
        "--reconstruct", action="store_true", help="estimate poses even if the source has some"
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="continue even if the images contradict their poses or camera",
    )
    add_device_argument(parser)
    add_layout_arguments(parser.add_argument_group("a dataset that has poses"))
    add_reconstruction_arguments(parser)
