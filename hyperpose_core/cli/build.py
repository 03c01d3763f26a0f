"""`hyperpose build`: from a video or posed images to everything that a robot loads."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.common import add_device_argument
from hyperpose_core.cli.map import show_progress
from hyperpose_core.cli.train import require_agreement
from hyperpose_core.datasets import DATASET_FORMATS
from hyperpose_core.datasets.options import parse_assignments
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.place.build import BuildSettings, build_place
from hyperpose_core.place.parts import Parts, has_poses, open_parts
from hyperpose_core.training.choice import AUTO

LABELS_FILE = "labels.csv"

_DEFAULTS = BuildSettings()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "build",
        description="Make everything that a robot needs to localise at a place: poses of the images, where "
        "they have none (`hyperpose reconstruct`), a check of the data, a trained network, a landmark map, "
        "and a report on frames held out. Interrupted, the same command goes on where it was.",
        epilog="`ros2 launch hyperpose_ros localize.launch.py place:=DIR` then runs it.",
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
        default=_DEFAULTS.minutes,
        help="train about so long, by the speed measured at the start (default: %(default)g)",
    )
    parser.add_argument(
        "--recipe",
        default=AUTO,
        help="a shipped recipe's name or a YAML file (default: chosen by what the data is like)",
    )
    parser.add_argument("--seed", type=int, default=_DEFAULTS.seed, help="of training (default: %(default)s)")
    parser.add_argument(
        "--reconstruct", action="store_true", help="find poses anew even where the source has some"
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="go on even where the images contradict their poses or camera",
    )
    add_device_argument(parser)
    _add_dataset_arguments(parser)
    _add_reconstruction_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build as the arguments say.

    Raises:
        HyperPoseError: an argument, a source or the data is wrong.
    """
    settings = BuildSettings(arguments.minutes, arguments.recipe, arguments.device, arguments.seed)
    parts = _posed(arguments)
    learned, held_out = len(parts.training.images), len(parts.test.images)
    print(f"{parts.training.name}: {learned} images to learn from, {held_out} held out")
    require_agreement(parts.training, arguments.unchecked)
    place = build_place(parts, arguments.output, settings, print, show_progress)
    print()
    print("\n".join(place.trial.lines()))
    print(f"report: {place.trial.report}")
    if place.why_no_map is not None:
        print(f"no landmark map: {place.why_no_map}")
    print(f"\nros2 launch hyperpose_ros localize.launch.py place:={arguments.output.absolute()}")
    return 0


def _posed(arguments: argparse.Namespace) -> Parts:
    """Open the source, after its poses were found where it has none.

    Raises:
        HyperPoseError: see `run`.
    """
    sources: list[Path] = arguments.sources
    options = parse_assignments(arguments.data_option)
    is_said = arguments.format != "auto" or bool(options)
    with_poses = [path for path in sources if is_said or (not arguments.reconstruct and has_poses(path))]
    if not with_poses:
        _reconstruct(arguments)
        return open_parts(arguments.output / LABELS_FILE)
    if len(sources) > 1:
        raise HyperPoseError(
            f"{with_poses[0]}: has poses, and there are other sources beside it: give one dataset alone, or "
            "--reconstruct to find the poses of all of them in one world"
        )
    return open_parts(sources[0], arguments.format, options)


def _reconstruct(arguments: argparse.Namespace) -> None:
    from hyperpose_core.cli.reconstruction_arguments import reconstruction_settings_from
    from hyperpose_core.reconstruction.reconstruct import reconstruct
    from hyperpose_core.reconstruction.report import summary_lines

    place = reconstruct(arguments.sources, arguments.output, reconstruction_settings_from(arguments))
    print("\n".join(summary_lines(place)))


def _add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a dataset that has poses")
    group.add_argument(
        "--format",
        default="auto",
        choices=["auto", *DATASET_FORMATS],
        help="how the data is laid out (default: told from the layout)",
    )
    group.add_argument(
        "--data-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the dataset's adapter, such as camera=640,480,525.5,525.5,320,240; repeatable",
    )


def _add_reconstruction_arguments(parser: argparse.ArgumentParser) -> None:
    try:
        from hyperpose_core.cli.reconstruction_arguments import add_reconstruction_arguments
    except ModuleNotFoundError as missing:
        if missing.name != "pycolmap":
            raise
        parser.epilog = (
            f"{parser.epilog} Sources without poses need pycolmap: pip install 'hyperpose_ros[map]'."
        )
        return
    add_reconstruction_arguments(parser)
