"""Refines poses, intrinsics and landmarks together, and keeps the world where it was.

COLMAP's bundle adjustment (Schoenberger and Frahm, Structure-from-motion revisited, CVPR 2016) with a robust
loss; each scene is brought back to its given poses by the similarity that fits them best. Needs the optional
package pycolmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import (
    Array,
    Pose,
    matrix_to_quaternion,
    orientation_errors_deg,
    position_errors,
)
from hyperpose_core.landmarks.map_export import colmap_camera
from hyperpose_core.landmarks.reconstruction import Reconstruction, Views

_ROBUST_SCALE_PX = 1.0
_SMALLEST_SPREAD_M = 1e-6
# Where these stand among COLMAP's parameters after fx, fy, cx, cy.
_PLUMB_BOB = 5


def load_pycolmap() -> ModuleType:
    """Import pycolmap.

    Raises:
        HyperPoseError: it is not installed.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise HyperPoseError(
            "adjusting poses needs pycolmap: pip install 'hyperpose_ros[map]' or pip install pycolmap"
        ) from error
    return pycolmap  # type: ignore[no-any-return]


def adjust(views: Views, found: Reconstruction) -> Views:
    """Return the views with adjusted poses and cameras, in the world of the given poses.

    Args:
        views: the posed images.
        found: what was reconstructed from them.

    Raises:
        HyperPoseError: pycolmap is missing, or the adjustment did not converge to finite poses.
    """
    pycolmap = load_pycolmap()
    distinct = list(dict.fromkeys(views.cameras))
    model = _model(pycolmap, views, found, distinct)
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = _ROBUST_SCALE_PX
    what = pycolmap.BundleAdjustmentConfig()
    for image_id in model.images:
        what.add_image(image_id)
    what.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, what, model).solve()
    poses = [_pose(model, index) for index in range(len(views))]
    for scene in np.unique(views.scenes):
        members = np.flatnonzero(views.scenes == scene).tolist()
        brought = _in_given_world([views.poses[i] for i in members], [poses[i] for i in members])
        for index, pose in zip(members, brought, strict=True):
            poses[index] = pose
    refined = {camera: _camera(camera, model.cameras[number + 1]) for number, camera in enumerate(distinct)}
    return replace(views, poses=poses, cameras=[refined[camera] for camera in views.cameras])


def movement(given: Views, adjusted: Views) -> dict[str, object]:
    """Return by how much poses and intrinsics moved, as plain data."""
    moves = position_errors(_positions(adjusted.poses), _positions(given.poses))
    turns = orientation_errors_deg(_orientations(adjusted.poses), _orientations(given.poses))
    shares = [
        new.fx / old.fx - 1.0 for old, new in dict(zip(given.cameras, adjusted.cameras, strict=True)).items()
    ]
    return {
        "adjusted_position_median_m": float(np.median(moves)),
        "adjusted_position_largest_m": float(moves.max()),
        "adjusted_orientation_median_deg": float(np.median(turns)),
        "adjusted_orientation_largest_deg": float(turns.max()),
        "adjusted_focal_length_percent": 100.0 * max(shares, key=abs),
    }


def _model(pycolmap: ModuleType, views: Views, found: Reconstruction, cameras: Sequence[CameraModel]) -> Any:
    model = pycolmap.Reconstruction()
    for number, camera in enumerate(cameras, start=1):
        name, parameters = colmap_camera(camera)
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(
                model=name, width=camera.width, height=camera.height, params=parameters, camera_id=number
            )
        )
    seen, pixels = found.observations, found.observations.pixels
    assert pixels is not None  # a reconstruction has them
    for index, pose in enumerate(views.poses):
        rows = slice(seen.image_offsets[index], seen.image_offsets[index + 1])
        image = pycolmap.Image(
            name=str(index),
            keypoints=pixels[rows].astype(np.float64) + 0.5,
            camera_id=cameras.index(views.cameras[index]) + 1,
            image_id=index + 1,
        )
        world = pose.inverse()
        rotation = pycolmap.Rotation3d(np.roll(world.orientation, -1))
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(rotation, world.position))
    images = seen.images()
    places = np.arange(len(seen)) - seen.image_offsets[images]
    order = np.argsort(seen.landmarks, kind="stable")
    ends = np.cumsum(np.bincount(seen.landmarks, minlength=len(found.landmarks)))
    for position, members in zip(found.landmarks.positions, np.split(order, ends[:-1]), strict=True):
        track = pycolmap.Track([pycolmap.TrackElement(images[row] + 1, places[row]) for row in members])
        model.add_point3D(position.astype(np.float64), track)
    return model


def _camera(camera: CameraModel, adjusted: Any) -> CameraModel:
    fx, fy, cx, cy, *distortion = (float(value) for value in adjusted.params)
    bent = (*distortion[:_PLUMB_BOB], *[0.0] * _PLUMB_BOB)[:_PLUMB_BOB] if camera.distortion else ()
    return replace(camera, fx=fx, fy=fy, cx=cx - 0.5, cy=cy - 0.5, distortion=bent)


def _pose(model: Any, index: int) -> Pose:
    matrix = model.images[index + 1].cam_from_world().inverse().matrix()
    if not np.isfinite(matrix).all():
        raise HyperPoseError("adjusting the poses did not converge: build the map without it")
    return Pose(matrix[:, 3], matrix_to_quaternion(matrix[:, :3]))


def _in_given_world(given: Sequence[Pose], adjusted: Sequence[Pose]) -> list[Pose]:
    """Bring adjusted poses to the given ones by a similarity.

    The rotation is the mean of those that the orientations ask for, which positions on a line leave open.
    """
    turn = matrix_to_quaternion(
        np.mean([a.rotation() @ b.rotation().T for a, b in zip(given, adjusted, strict=True)], axis=0)
    )
    rotated = [Pose(np.zeros(3), turn) @ pose for pose in adjusted]
    targets, positions = _positions(given), _positions(rotated)
    levers, target_levers = positions - positions.mean(axis=0), targets - targets.mean(axis=0)
    spread = float(np.sum(levers**2))
    scale = float(np.sum(levers * target_levers)) / spread if spread > _SMALLEST_SPREAD_M**2 else 1.0
    return [
        Pose(targets.mean(axis=0) + scale * lever, pose.orientation)
        for lever, pose in zip(levers, rotated, strict=True)
    ]


def _positions(poses: Sequence[Pose]) -> Array:
    return np.array([pose.position for pose in poses])


def _orientations(poses: Sequence[Pose]) -> Array:
    return np.array([pose.orientation for pose in poses])
