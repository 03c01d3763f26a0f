"""What arguments that several verbs share name, opened."""

from __future__ import annotations

import argparse
import sys

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.datasets import open_dataset
from hyperpose_core.datasets.options import parse_assignments
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.refinement.checkpoint_map import map_beside
from hyperpose_core.refinement.map_refiner import MapRefiner


def open_dataset_from(arguments: argparse.Namespace) -> PosedImageSet:
    """Open the dataset that the arguments of `add_dataset_arguments` name.

    Raises:
        HyperPoseError: the data or an option is wrong.
    """
    options = parse_assignments(arguments.data_option)
    data = open_dataset(arguments.data, format=arguments.format, split=arguments.split, **options)
    if data.world.unit_note:
        print(f"note: {data.name}: {data.world.unit_note}")
    return data


def map_refiner_from(
    arguments: argparse.Namespace, checkpoint: Checkpoint, camera: CameraModel | None = None
) -> MapRefiner | None:
    """Open the map that the arguments of `add_map_arguments` name, or the one beside the checkpoint.

    Args:
        arguments: with `checkpoint`, the file.
        checkpoint: what is in it.
        camera: of the images, where it is known.

    Raises:
        HyperPoseError: the file is missing, damaged or not this checkpoint's map.
    """
    path = arguments.map or map_beside(arguments.checkpoint)
    if arguments.no_map or (arguments.map is None and not path.is_file()):
        return None
    try:
        return MapRefiner.load(path, checkpoint, camera, _note)
    except HyperPoseError as error:
        if arguments.map is not None:
            raise
        raise HyperPoseError(f"{error} (--no-map does without)") from error


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
