"""The landmark map of a checkpoint: where it is, and whether it shows the same place by the same camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.world import World
from hyperpose_core.landmarks.landmark_map import NETWORK_KEY, LandmarkMap

MAP_SUFFIX = ".map"

_SAME_ORIGIN_M = 1e-3
# Adjusted intrinsics differ from the given ones by less, another lens by more.
_SAME_FOCAL_LENGTH = 0.05


def map_beside(checkpoint: Path) -> Path:
    """Return where a checkpoint's map is unless another is named: `best.map` beside `best.safetensors`."""
    return checkpoint.with_suffix(MAP_SUFFIX)


def load_map(path: Path, checkpoint: Checkpoint, tell: Callable[[str], object]) -> LandmarkMap:
    """Read a map for use with a checkpoint, without the features of another network.

    Args:
        path: the map's file.
        checkpoint: what will be used with it.
        tell: is told, in one line, what of the map cannot be used.

    Raises:
        HyperPoseError: the file is missing or damaged, or of another world, other scenes or another camera
            than the checkpoint.
    """
    content = LandmarkMap.load(path)
    check_map(path, content, checkpoint)
    known, network = content.source.get(NETWORK_KEY), checkpoint.network_digest
    if content.images.network_features is None or None in (known, network) or known == network:
        return content
    tell(
        f"{path}: its images' features are of network {known}, not of the checkpoint's, {network}: no image "
        "is found by them; `hyperpose map build --checkpoint` writes the checkpoint's"
    )
    return replace(content, images=replace(content.images, network_features=None))


def check_map(path: Path, content: LandmarkMap, checkpoint: Checkpoint) -> None:
    """Refuse a map that does not show what a checkpoint was trained on.

    Raises:
        HyperPoseError: its world, its scenes or its camera are others; the message names the file.
    """
    reason = _other_world(content.world, checkpoint.world)
    if reason is None and checkpoint.scenes and not set(checkpoint.scenes) & set(content.scenes):
        reason = f"it shows {_listed(content.scenes)}, the checkpoint knows {_listed(checkpoint.scenes)}"
    camera = checkpoint.camera
    if reason is None and camera and not any(_same_camera(camera, other) for other in content.cameras):
        cameras = ", ".join(_in_words(other) for other in content.cameras)
        reason = f"it was built with another camera ({cameras}) than the checkpoint's ({_in_words(camera)})"
    if reason is not None:
        raise HyperPoseError(
            f"{path}: not this checkpoint's map: {reason}; build one from its training images "
            "with `hyperpose map build`"
        )


def camera_of_images(
    height: int, width: int, cameras: tuple[CameraModel | None, ...], content: LandmarkMap
) -> CameraModel:
    """Return the camera of images of a size.

    Args:
        height: of the images, pixels.
        width: of the images, pixels.
        cameras: those that may have taken them, such as the data's and the checkpoint's, the likeliest first;
            None where one is not known.
        content: the map, one of whose cameras is taken where none of these is of the size.

    Raises:
        HyperPoseError: no camera has images of this size or of its proportions.
    """
    known = [camera for camera in (*cameras, *content.cameras) if camera is not None]
    for camera in known:
        if (camera.width, camera.height) == (width, height):
            return camera
    for camera in known:
        if camera.width * height == camera.height * width:
            return camera.resized(height, width)
    sizes = _listed(dict.fromkeys(f"{camera.width}x{camera.height}" for camera in known))
    raise HyperPoseError(f"no intrinsics for images of {width}x{height} pixels: the camera's are {sizes}")


def _other_world(found: World, wanted: World) -> str | None:
    # Descriptions name files, and one world may be read from several: scenes tell more.
    if found.utm_zone != wanted.utm_zone:
        return f"its world is in {_zone(found)}, the checkpoint's in {_zone(wanted)}"
    distance = float(np.linalg.norm(found.origin - wanted.origin))
    if distance > _SAME_ORIGIN_M:
        return f"its world's origin lies {distance:.3f} m from the checkpoint's"
    return None


def _zone(world: World) -> str:
    return f"UTM zone {world.utm_zone}" if world.utm_zone else "no UTM zone"


def _same_camera(first: CameraModel, second: CameraModel) -> bool:
    if first.width * second.height != first.height * second.width:
        return False
    second = second.resized(first.height, first.width)
    ratios = np.array([second.fx / first.fx, second.fy / first.fy])
    return bool(np.abs(ratios - 1.0).max() <= _SAME_FOCAL_LENGTH)


def _in_words(camera: CameraModel) -> str:
    return f"{camera.width}x{camera.height} pixels, focal length {camera.fx:.0f}"


def _listed(names: object) -> str:
    return ", ".join(str(name) for name in names)  # type: ignore[attr-defined]
