"""Writes a place: labels, camera and world for the other verbs, and the model in COLMAP's format."""

from __future__ import annotations

import csv
import json
import shutil
from io import StringIO
from pathlib import Path

import pycolmap

from hyperpose_core.datasets.label_csv import COLUMNS, companion_path
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.datasets.splits import MissingSplitError, SplitPolicy
from hyperpose_core.files import replace_text
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.similarity import Similarity
from hyperpose_core.geometry.world import World
from hyperpose_core.reconstruction.frames import FrameSet
from hyperpose_core.reconstruction.model import Model

LABELS_FILE = "labels.csv"
IMAGE_FOLDER = "images"
MODEL_FOLDER = "sparse"


def write_labels(
    output: Path,
    scene: str,
    frames: FrameSet,
    poses: dict[str, Pose],
    camera: CameraModel | None,
    world: World,
) -> None:
    """Write `labels.csv`, and `labels.json` with the camera and the world beside it.

    Args:
        output: the place's folder, with its images in it.
        scene: what the place is called.
        frames: in the order of the rows; those without a pose are left out.
        poses: camera-to-world in `world`, by the frames' names.
        camera: the one camera of all images, None where there are several.
        world: the frame of the poses.

    Raises:
        HyperPoseError: a file cannot be written.
    """
    records = [
        PosedImage(Path(IMAGE_FOLDER) / frame.name, poses[frame.name], scene, frame.source, frame.stamp_ns)
        for frame in frames.frames
        if frame.name in poses
    ]
    companion = {"camera": None if camera is None else camera.to_dict(), "world": world.to_dict()}
    labels = output / LABELS_FILE
    replace_text(labels, _table(scene, records), "labels")
    replace_text(companion_path(labels), json.dumps(companion, indent=2) + "\n", "companion of the labels")


def write_models(output: Path, folders: list[Path], placed: Similarity) -> None:
    """Write the models to `sparse/0`, `sparse/1` and so on, the first one where `placed` says."""
    target = output / MODEL_FOLDER
    shutil.rmtree(target, ignore_errors=True)
    for number, folder in enumerate(folders):
        reconstruction = pycolmap.Reconstruction(folder)
        if number == 0:
            w, x, y, z = placed.pose.orientation
            rotation = pycolmap.Rotation3d([x, y, z, w])
            reconstruction.transform(pycolmap.Sim3d(placed.scale, rotation, placed.pose.position))
        part = target / str(number)
        part.mkdir(parents=True)
        reconstruction.write(part)


def common_camera(model: Model) -> CameraModel | None:
    """Return the camera of all images, None where there are several."""
    cameras = set(model.cameras.values())
    return cameras.pop() if len(cameras) == 1 else None


def _table(scene: str, records: list[PosedImage]) -> str:
    """Return the labels as CSV, split into blocks for training and testing."""
    try:
        tested = {id(record) for record in SplitPolicy().select(records, "test")}
    except MissingSplitError:
        tested = set()
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "stamp_ns"])
    for record in records:
        numbers = [f"{value:.7f}" for value in record.pose.position]
        numbers += [f"{value:.9f}" for value in record.pose.orientation]
        split = "test" if id(record) in tested else "train"
        stamp = "" if record.stamp_ns is None else record.stamp_ns
        writer.writerow([scene, split, record.sequence, record.path.as_posix(), *numbers, stamp])
    return text.getvalue()
