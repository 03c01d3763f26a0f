"""`hyperpose map`: landmark maps, which tell poses to the centimetre and whether they are true."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from hyperpose_core.cli.common import add_dataset_arguments, add_device_argument, open_dataset_from
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import replacing
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.images import read_photograph
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks.budget import parse_size
from hyperpose_core.landmarks.building import build_map
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.map_description import describe_map
from hyperpose_core.landmarks.map_export import export_map
from hyperpose_core.landmarks.map_settings import MapSettings

_PICTURES = (".png", ".svg", ".pdf")
_RECORDING = ".rrd"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "map",
        description="Build and look at landmark maps, which tell a camera's pose to the centimetre, and "
        "whether it is true.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_build(actions)
    info = actions.add_parser("info", help="say what a map holds")
    export = actions.add_parser("export", help="write a map as a PLY point cloud and a COLMAP text model")
    view = actions.add_parser(
        "view",
        help="draw a map",
        description="Draw the landmarks and the cameras that saw them, from above and from the side, or "
        "write them as a recording for the Rerun viewer.",
    )
    for action, run in ((info, run_info), (export, run_export), (view, run_view)):
        action.add_argument("map", type=Path, metavar="FILE", help="a landmark map")
        action.set_defaults(run=run)
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
        help="localise this image and draw it; may be repeated",
    )


def _add_build(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    defaults = MapSettings()
    build = actions.add_parser(
        "build",
        help="build a map from posed images",
        description="Find features in posed images, match those whose views overlap, and triangulate what "
        "was matched with the given poses. Interrupted, it goes on where it was when it is started again.",
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
        help="do not try the map on its own images; the covariance of poses in it is then a general one",
    )
    build.add_argument(
        "--checkpoint",
        type=Path,
        help="keep what this network sees in the images, to find them by their look",
    )
    add_device_argument(build)
    build.set_defaults(run=run_build)


def run_build(arguments: argparse.Namespace) -> int:
    """Build a map as the arguments say.

    Raises:
        HyperPoseError: the data, an argument or the checkpoint is wrong, or nothing can be triangulated.
    """
    for name in ("features", "neighbours"):
        if getattr(arguments, name) < 1:
            raise HyperPoseError(f"--{name} is {getattr(arguments, name)}; it must be at least 1")
    settings = MapSettings(
        features=arguments.features,
        neighbours=arguments.neighbours,
        adjust_poses=arguments.adjust_poses,
        calibrate=not arguments.no_calibration,
        budget=None if arguments.budget is None else parse_size(arguments.budget),
    )
    if arguments.output.is_dir():
        raise HyperPoseError(f"--output {arguments.output} is a folder; give the file to write")
    images = open_dataset_from(arguments)
    checkpoint: Path | None = arguments.checkpoint
    estimator = None if checkpoint is None else PoseEstimator.load(checkpoint, arguments.device)
    content = build_map(images, arguments.output, settings, show_progress, estimator=estimator)
    print(describe_map(content, arguments.output))
    return 0


def run_info(arguments: argparse.Namespace) -> int:
    """Say what a map holds.

    Raises:
        HyperPoseError: the file is no map.
    """
    print(describe_map(LandmarkMap.load(arguments.map), arguments.map))
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    """Write a map for other tools.

    Raises:
        HyperPoseError: the file is no map, or the folder cannot be written.
    """
    files = export_map(LandmarkMap.load(arguments.map), arguments.output)
    print("written: " + ", ".join(map(str, files)))
    return 0


def run_view(arguments: argparse.Namespace) -> int:
    """Draw a map.

    Raises:
        HyperPoseError: the file is no map, an image is none, or the output cannot be written.
    """
    output: Path = arguments.output or arguments.map.with_name(arguments.map.name + ".png")
    if output.suffix.lower() not in (*_PICTURES, _RECORDING):
        raise HyperPoseError(
            f"--output {output}: the file's name must end in {', '.join(_PICTURES)} or {_RECORDING}"
        )
    content = LandmarkMap.load(arguments.map)
    queries = _localised(content, arguments.image)
    if output.suffix.lower() == _RECORDING:
        from hyperpose_core.landmarks.map_recording import record_map

        record_map(content, output, queries)
    else:
        from hyperpose_core.landmarks.map_plot import map_figure

        with replacing(output, "picture") as stream:
            figure = map_figure(content, tuple(queries.values()))
            figure.savefig(stream, dpi=150, format=output.suffix.removeprefix(".") or None)
    print(f"written: {output}")
    return 0


def show_progress(work: Iterable[object], title: str, total: int) -> Iterable[object]:
    """Show a bar."""
    return tqdm(work, total=total, desc=title, file=sys.stderr, dynamic_ncols=True)


def _localised(content: LandmarkMap, paths: Sequence[Path]) -> dict[str, Pose]:
    """Return the poses of images that the map's first camera took, those that were found."""
    from hyperpose_core.landmarks.refiner import Refiner

    if not paths:
        return {}
    refiner = Refiner(content)
    poses = {}
    for path in paths:
        answer = refiner.refine(read_photograph(path, content.cameras[0]), content.cameras[0])
        if answer.pose is None or not answer.verified:
            print(f"{path}: not localised: {answer.reason.value if answer.reason else 'no pose'}")
            continue
        where = ", ".join(f"{value:.3f}" for value in answer.pose.position)
        print(f"{path}: position [{where}] m, {answer.inliers} landmarks")
        poses[path.name] = answer.pose
    return poses
