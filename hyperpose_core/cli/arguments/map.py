"""Arguments of `hyperpose map`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.arguments.common import add_dataset_arguments, add_device_argument
from hyperpose_core.landmarks.map_settings import MapSettings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "map",
        description="Build and inspect landmark maps, which refine a camera's pose to the centimetre and "
        "verify it.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_build(actions)
    info = actions.add_parser("info", help="describe a map")
    export = actions.add_parser("export", help="write a map as a PLY point cloud and a COLMAP text model")
    view = actions.add_parser(
        "view",
        help="draw a map",
        description="Draw the landmarks and the cameras that saw them, from above and from the side, or "
        "write them as a recording for the Rerun viewer.",
    )
    for action, function in ((info, "run_info"), (export, "run_export"), (view, "run_view")):
        action.add_argument("map", type=Path, metavar="FILE", help="a landmark map")
        action.set_defaults(function=function)
    export.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    view.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a picture (.png, .svg, .pdf) or a Rerun recording (.rrd); default: beside the map, as .png",
    )
    view.add_argument(
        "--image",
        type=Path,
        action="append",
        default=[],
        help="localize this image and draw it; repeatable",
    )


def _add_build(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    defaults = MapSettings()
    build = actions.add_parser(
        "build",
        help="build a map from posed images",
        description="Find features in posed images, match those whose views overlap, and triangulate what "
        "was matched with the given poses. An interrupted run resumes with the same command.",
    )
    add_dataset_arguments(build, split="train")
    build.add_argument("--output", type=Path, required=True, metavar="FILE", help="the map to write")
    build.add_argument(
        "--budget", metavar="SIZE", help="keep the most useful landmarks that fit, such as 20MB"
    )
    build.add_argument(
        "--adjust-poses",
        action="store_true",
        help="refine poses and intrinsics, too, and say by how much they moved (needs pycolmap)",
    )
    build.add_argument(
        "--features",
        type=int,
        default=defaults.features,
        help=f"at most so many features an image (default: {defaults.features})",
    )
    build.add_argument(
        "--neighbours",
        type=int,
        default=defaults.neighbours,
        help=f"match each image with so many others nearby (default: {defaults.neighbours})",
    )
    build.add_argument(
        "--no-calibration",
        action="store_true",
        help="do not evaluate the map on its own images; the covariance of its poses is then a general one",
    )
    build.add_argument(
        "--checkpoint",
        type=Path,
        help="store this network's features of the images, to retrieve them by appearance",
    )
    add_device_argument(build)
    build.set_defaults(function="run_build")
