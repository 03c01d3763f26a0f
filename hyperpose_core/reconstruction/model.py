"""A reconstructed model in this project's conventions: camera-to-world poses, pixel centres at integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pycolmap

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, normalize_quaternion
from hyperpose_core.reconstruction.database import camera_model


@dataclass(frozen=True, eq=False)
class Observations:
    """What an image saw of the model's points.

    Attributes:
        pixels: [O, 2], of the image as it is, distortion and all.
        points: int64 [O], places among the model's points.
    """

    pixels: Array
    points: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Model:
    """Images, cameras and points that belong together, in units that may be anything.

    Attributes:
        poses: of the registered images' cameras in the model, by the images' names.
        cameras: by the images' names.
        observations: by the images' names.
        points: [P, 3].
        colours: RGB uint8 [P, 3].
        track_lengths: how many images saw each point [P].
        reprojection_error_px: mean over all observations.
    """

    poses: Mapping[str, Pose]
    cameras: Mapping[str, CameraModel]
    observations: Mapping[str, Observations]
    points: Array
    colours: npt.NDArray[np.uint8]
    track_lengths: npt.NDArray[np.int64]
    reprojection_error_px: float

    @property
    def names(self) -> tuple[str, ...]:
        """The registered images' names, in alphabetical order."""
        return tuple(self.poses)

    def centres(self) -> Array:
        """Return the cameras' positions [N, 3], in the order of `names`."""
        return np.array([pose.position for pose in self.poses.values()]).reshape(-1, 3)


def read_model(folder: Path) -> Model:
    """Read a COLMAP model."""
    return model_of(pycolmap.Reconstruction(folder))


def model_of(reconstruction: pycolmap.Reconstruction) -> Model:
    """Turn COLMAP's reconstruction to this project's conventions."""
    ids = list(reconstruction.points3D)
    places = {number: place for place, number in enumerate(ids)}
    points = [reconstruction.points3D[number] for number in ids]
    cameras = {number: camera_model(camera) for number, camera in reconstruction.cameras.items()}
    images = sorted(
        (image for image in reconstruction.images.values() if image.has_pose), key=lambda image: image.name
    )
    return Model(
        poses={image.name: _pose(image) for image in images},
        cameras={image.name: cameras[image.camera_id] for image in images},
        observations={image.name: _observations(image, places) for image in images},
        points=np.array([point.xyz for point in points], dtype=np.float64).reshape(-1, 3),
        colours=np.array([point.color for point in points], dtype=np.uint8).reshape(-1, 3),
        track_lengths=np.array([point.track.length() for point in points], dtype=np.int64),
        reprojection_error_px=_reprojection_error(reconstruction),
    )


def _pose(image: pycolmap.Image) -> Pose:
    world_to_camera = image.cam_from_world()
    x, y, z, w = world_to_camera.rotation.quat
    return Pose(world_to_camera.translation, normalize_quaternion([w, x, y, z])).inverse()


def _observations(image: pycolmap.Image, places: Mapping[int, int]) -> Observations:
    seen = [point for point in image.points2D if point.has_point3D()]
    return Observations(
        np.array([point.xy for point in seen], dtype=np.float64).reshape(-1, 2) - 0.5,
        np.array([places[point.point3D_id] for point in seen], dtype=np.int64),
    )


def _reprojection_error(reconstruction: pycolmap.Reconstruction) -> float:
    reconstruction.update_point_3d_errors()
    return float(reconstruction.compute_mean_reprojection_error())
