"""`hyperpose build`: from a video or posed images to everything that a robot loads."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.cli.map import show_progress
from hyperpose_core.cli.train import require_agreement
from hyperpose_core.datasets.options import parse_assignments
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.place.build import BuildSettings, build_place
from hyperpose_core.place.parts import Parts, has_poses, open_parts

LABELS_FILE = "labels.csv"


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
    try:
        import pycolmap  # noqa: F401
    except ModuleNotFoundError as missing:
        raise HyperPoseError(
            f"{arguments.sources[0]}: has no poses; finding them needs pycolmap: "
            "pip install 'hyperpose_ros[map]'"
        ) from missing
    from hyperpose_core.cli.reconstruction_settings import reconstruction_settings_from
    from hyperpose_core.reconstruction.reconstruct import reconstruct
    from hyperpose_core.reconstruction.report import summary_lines

    place = reconstruct(arguments.sources, arguments.output, reconstruction_settings_from(arguments))
    print("\n".join(summary_lines(place)))
