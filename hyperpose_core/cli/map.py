"""`hyperpose map`: landmark maps, which tell poses to the centimetre and whether they are true."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from hyperpose_core.cli.common import open_dataset_from
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
        localised = refiner.refine(read_photograph(path, content.cameras[0]), content.cameras[0])
        if localised.pose is None or not localised.verified:
            print(f"{path}: not localised: {localised.reason.value if localised.reason else 'no pose'}")
            continue
        where = ", ".join(f"{value:.3f}" for value in localised.pose.position)
        print(f"{path}: position [{where}] m, {localised.inliers} landmarks")
        poses[path.name] = localised.pose
    return poses
