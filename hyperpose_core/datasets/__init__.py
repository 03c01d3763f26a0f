"""Dataset adapters: files in, `PosedImageSet` out. One small file an adapter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hyperpose_core.datasets.cambridge import looks_like_cambridge, open_cambridge
from hyperpose_core.datasets.colmap import looks_like_colmap, open_colmap
from hyperpose_core.datasets.findings import first_image_size
from hyperpose_core.datasets.kapture import looks_like_kapture, open_kapture
from hyperpose_core.datasets.label_csv import looks_like_labels, open_label_csv
from hyperpose_core.datasets.opensfm import looks_like_opensfm, open_opensfm
from hyperpose_core.datasets.options import parse_camera, parse_flag, parse_numbers
from hyperpose_core.datasets.polycam import looks_like_polycam, open_polycam
from hyperpose_core.datasets.record3d import looks_like_record3d, open_record3d
from hyperpose_core.datasets.records import PosedImage, PosedImageSet
from hyperpose_core.datasets.robotcar import looks_like_robotcar, open_robotcar
from hyperpose_core.datasets.rosbag import open_rosbag
from hyperpose_core.datasets.rosbag_reading import looks_like_rosbag
from hyperpose_core.datasets.rosbag_storage import check_suffix
from hyperpose_core.datasets.rtabmap import looks_like_rtabmap, open_rtabmap
from hyperpose_core.datasets.seven_scenes import looks_like_seven_scenes, open_seven_scenes
from hyperpose_core.datasets.splits import MissingSplitError
from hyperpose_core.datasets.transforms_json import looks_like_transforms_json, open_transforms_json
from hyperpose_core.datasets.tum import looks_like_tum, open_tum
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.untrusted import reading

__all__ = [
    "DATASET_FORMATS",
    "CameraModel",
    "MissingSplitError",
    "PosedImage",
    "PosedImageSet",
    "UnknownLayoutError",
    "World",
    "adapter_options",
    "dataset_format",
    "open_dataset",
]


class UnknownLayoutError(HyperPoseError):
    """A folder is there, and is none of the datasets that are known."""


DATASET_FORMATS: Mapping[str, Callable[..., PosedImageSet]] = {
    "csv": open_label_csv,
    "7scenes": open_seven_scenes,
    "cambridge": open_cambridge,
    "robotcar": open_robotcar,
    "rosbag": open_rosbag,
    "transforms": open_transforms_json,
    "colmap": open_colmap,
    "tum": open_tum,
    "polycam": open_polycam,
    "record3d": open_record3d,
    "opensfm": open_opensfm,
    "rtabmap": open_rtabmap,
    "kapture": open_kapture,
}

# In this order: a reconstructed place holds COLMAP's model, too, as does often a folder for NeRF tools.
_DETECTORS: Mapping[str, Callable[[Path], bool]] = {
    "csv": looks_like_labels,
    "robotcar": looks_like_robotcar,
    "7scenes": looks_like_seven_scenes,
    "cambridge": looks_like_cambridge,
    "rosbag": looks_like_rosbag,
    "transforms": looks_like_transforms_json,
    "colmap": looks_like_colmap,
    "tum": looks_like_tum,
    "polycam": looks_like_polycam,
    "record3d": looks_like_record3d,
    "opensfm": looks_like_opensfm,
    "rtabmap": looks_like_rtabmap,
    "kapture": looks_like_kapture,
}


_SHARED_OPTIONS = ("camera", "origin")


def open_dataset(
    path: Path | str,
    format: str = "auto",
    split: str | None = None,
    skip_missing: str | bool = False,
    **options: Any,
) -> PosedImageSet:
    """Open a dataset through its adapter.

    Args:
        path: a label CSV, a bag or a dataset's folder.
        format: a name of `DATASET_FORMATS`, or "auto" to tell from the layout.
        split: which part, by the dataset's own names; None for all of it.
        skip_missing: true leaves out images whose file is not there, and counts them.
        **options: what else the adapter takes, as text (see each adapter). Where it has no option of its own,
            `camera` is the images' camera, "WIDTH,HEIGHT,FX,FY,CX,CY" in pixels, and `origin` where local
            (0, 0, 0) lies in the dataset's world, x,y,z in metres.

    Raises:
        HyperPoseError: the path, the format, the layout or an option is wrong, or the camera is another one
            than the images'.
    """
    path = Path(path)
    name = dataset_format(path, format)
    known = adapter_options(name)
    for option in options:
        if option not in known:
            raise HyperPoseError(f"the {name} adapter has no option {option!r}; it has: {', '.join(known)}")
    shared = {
        key: options.pop(key) for key in _SHARED_OPTIONS if key not in _own_options(name) and key in options
    }
    with reading(path, "dataset"):
        data = _with_shared_options(DATASET_FORMATS[name](path, split=split, **options), **shared)
        if parse_flag("skip_missing", skip_missing):
            data = _without_missing(data)
        _check_camera(data)
    return data


def _with_shared_options(
    data: PosedImageSet,
    camera: str | CameraModel | None = None,
    origin: str | Sequence[float] | None = None,
) -> PosedImageSet:
    """Apply the options that every adapter has, to what one gave that knows nothing of them."""
    if camera is not None:
        data = replace(data, camera=parse_camera(camera))
    if origin is None:
        return data
    zero = np.array(parse_numbers("origin", origin, 3))
    images = tuple(
        replace(image, pose=Pose(image.pose.position - zero, image.pose.orientation)) for image in data.images
    )
    return replace(data, images=images, world=replace(data.world, origin=data.world.origin + zero))


def _without_missing(data: PosedImageSet) -> PosedImageSet:
    """Leave out the images whose file is not there.

    Raises:
        HyperPoseError: none is.
    """
    missing = [image for image in data.images if not image.path.is_file()]
    if not missing:
        return data
    if len(missing) == len(data.images):
        raise HyperPoseError(f"{data.name}: none of {len(missing)} image files is there: {missing[0].path}")
    cause = f"image file missing (first: {missing[0].path})"
    there = tuple(image for image in data.images if image.path.is_file())
    return replace(data, images=there, dropped={**data.dropped, cause: len(missing)})


def _check_camera(data: PosedImageSet) -> None:
    """Refuse a camera whose images have other proportions than the first that can be read."""
    if data.camera is None or (size := first_image_size(data.images)) is None:
        return
    if not data.camera.has_proportions(*size):
        turned = data.camera.has_proportions(*size[::-1])
        raise HyperPoseError(
            f"{data.name}: the camera model is of {data.camera.width}x{data.camera.height} images, the "
            f"images are {size[0]}x{size[1]}{' (turned, as by EXIF?)' if turned else ''}: give both alike"
        )


def adapter_options(name: str) -> list[str]:
    """Return the names of the options that an adapter of `DATASET_FORMATS` takes."""
    return list(dict.fromkeys([*_own_options(name), *_SHARED_OPTIONS, "skip_missing"]))


def _own_options(name: str) -> list[str]:
    parameters = inspect.signature(DATASET_FORMATS[name]).parameters
    return [option for option in parameters if option not in ("path", "split")]


def dataset_format(path: Path, format: str = "auto") -> str:
    """Return the name in `DATASET_FORMATS` of a path's format.

    Args:
        path: a label CSV, a bag or a dataset's folder.
        format: the name, which is then checked, or "auto" to tell it from the layout.

    Raises:
        HyperPoseError: the path does not exist, the format is unknown, or the layout is none of them.
    """
    if not path.exists():
        raise HyperPoseError(f"{path}: no such file or folder")
    if format != "auto":
        if format not in DATASET_FORMATS:
            raise HyperPoseError(
                f"dataset format {format!r} is unknown; use one of auto, {', '.join(DATASET_FORMATS)}"
            )
        return format
    check_suffix(path)
    for name, detects in _DETECTORS.items():
        if detects(path):
            return name
    if path.is_file():
        return "csv"
    raise UnknownLayoutError(
        f"{path}: layout not recognised; expected a label CSV, a 7Scenes folder (<scene>/seq-01/...), a "
        "Cambridge Landmarks folder (<Scene>/dataset_train.txt), a RobotCar folder "
        "(<date>/stereo.timestamps), a rosbag2 bag (metadata.yaml), a transforms.json, a COLMAP model "
        "(sparse/0/cameras.bin), a TUM sequence (groundtruth.txt), Polycam's raw data (keyframes), a "
        "Record3D file (.r3d), an OpenSfM project (reconstruction.json), an export of rtabmap-export "
        "(NAME_camera_poses.txt) or a kapture dataset (sensors/sensors.txt)"
    )
