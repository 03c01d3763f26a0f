"""The scale from printed tags of known size: ArUco and AprilTag markers that the images happen to show.

Garrido-Jurado et al., Automatic generation and detection of highly reliable fiducial markers under
occlusion (Pattern Recognition 2014); Olson, AprilTag (ICRA 2011). Corners are triangulated with
the model's own cameras.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.images import read_image
from hyperpose_core.reconstruction.model import Model
from hyperpose_core.reconstruction.scale import ScaleError, ScaleEstimate

DICTIONARIES: Mapping[str, int] = {
    "apriltag_36h11": cv2.aruco.DICT_APRILTAG_36h11,
    "apriltag_25h9": cv2.aruco.DICT_APRILTAG_25h9,
    "apriltag_16h5": cv2.aruco.DICT_APRILTAG_16h5,
    "aruco_original": cv2.aruco.DICT_ARUCO_ORIGINAL,
    "4x4": cv2.aruco.DICT_4X4_1000,
    "5x5": cv2.aruco.DICT_5X5_1000,
    "6x6": cv2.aruco.DICT_6X6_1000,
    "7x7": cv2.aruco.DICT_7X7_1000,
}
"""OpenCV's dictionaries by the names that --tag-dictionary takes."""

_TRIED = ("apriltag_36h11", "6x6", "5x5", "4x4", "7x7", "aruco_original", "apriltag_25h9")
_SAMPLE = 40  # images that all dictionaries are tried on
_FEWEST_VIEWS = 3
_LARGEST_ERROR_PX = 3.0
_LEAST_ANGLE_DEG = 2.0
_LARGEST_MISSHAPE = 0.1  # how far a square's sides may differ from their median, as a share of it
_SMALLEST_SIDE_PX = 12.0

# Corners of a tag seen in images: tag -> (image, pixels [4, 2]).
_Sightings = dict[int, list[tuple[str, Array]]]


@dataclass(frozen=True)
class TagSettings:
    """What is known of the tags.

    Attributes:
        side_m: length of the black square's side, metres.
        dictionary: a name of `DICTIONARIES`; None to find out.
    """

    side_m: float
    dictionary: str | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            HyperPoseError: the size is not positive, or the dictionary is unknown.
        """
        if not 0.0 < self.side_m < 100.0:
            raise HyperPoseError(f"--tag-size {self.side_m:g}: give the black square's side in metres")
        if self.dictionary is not None and self.dictionary not in DICTIONARIES:
            raise HyperPoseError(
                f"--tag-dictionary {self.dictionary!r} is unknown; use one of {', '.join(DICTIONARIES)}"
            )


def scale_from_tags(model: Model, image_folder: Path, settings: TagSettings) -> ScaleEstimate:
    """Find the scale from tags of known size in the registered images.

    Raises:
        ScaleError: no tag is seen, or none from enough sides to be measured.
    """
    name, sightings = _find_tags(model.names, image_folder, settings.dictionary)
    origin = f"tags of {settings.side_m:g} m ({name})"
    if not sightings:
        raise ScaleError(f"tags of {settings.side_m:g} m: no tag found in {len(model.poses)} images")
    sides = {tag: _side(model, seen) for tag, seen in sorted(sightings.items())}
    measured = np.array([side for side in sides.values() if side is not None])
    if not len(measured):
        raise ScaleError(
            f"{origin}: {len(sightings)} seen, none sharply enough from {_FEWEST_VIEWS} places to be measured"
        )
    middle = float(np.median(measured))
    # Tags that are far off were printed at another size, or hang in two places.
    used = measured[np.abs(measured / middle - 1.0) < _LARGEST_MISSHAPE]
    side = float(used.mean())
    single = 0.01  # of one tag alone: corners are found to a tenth of a pixel, papers bend
    spread = float(used.std(ddof=1)) / side if len(used) > 1 else single
    return ScaleEstimate(
        f"{len(used)} {origin}",
        settings.side_m / side,
        max(spread, 0.002) / np.sqrt(len(used)),
        detail=f"{len(sightings)} seen, {len(measured)} measured, {len(measured) - len(used)} left out",
    )


def _find_tags(names: Sequence[str], folder: Path, dictionary: str | None) -> tuple[str, _Sightings]:
    """Return the dictionary's name and what was seen of its tags."""
    if dictionary is None:
        counts = dict.fromkeys(_TRIED, 0)
        sample = names[:: 1 + len(names) // _SAMPLE]
        for image in tqdm(sample, "telling tags apart", unit="image"):
            gray = _gray(folder / image)
            for name in _TRIED:
                counts[name] += len(_detect(gray, name))
        dictionary = max(counts, key=counts.__getitem__)
    sightings: _Sightings = defaultdict(list)
    for image in tqdm(names, f"looking for {dictionary} tags", unit="image"):
        for tag, outline in _detect(_gray(folder / image), dictionary):
            sightings[tag].append((image, outline))
    return dictionary, dict(sightings)


def _detect(gray: npt.NDArray[np.uint8], dictionary: str) -> list[tuple[int, Array]]:
    """Return the numbers and the outlines [4, 2] of an image's tags, those apart that are too small."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    printed = cv2.aruco.getPredefinedDictionary(DICTIONARIES[dictionary])
    outlines, tags, _ = cv2.aruco.ArucoDetector(printed, parameters).detectMarkers(gray)
    numbers = [] if tags is None else [int(tag) for tag in tags.ravel()]
    found = [
        (tag, outline.reshape(4, 2).astype(np.float64))
        for tag, outline in zip(numbers, outlines, strict=True)
    ]
    return [(tag, outline) for tag, outline in found if _sides(outline).min() > _SMALLEST_SIDE_PX]


def _gray(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _sides(outline: Array) -> Array:
    return np.asarray(np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1))


def _side(model: Model, seen: Sequence[tuple[str, Array]]) -> float | None:
    """Return the mean side of a tag in the model's unit, None where it cannot be measured."""
    if len(seen) < _FEWEST_VIEWS:
        return None
    poses = [model.poses[name] for name, _ in seen]
    cameras = [model.cameras[name] for name, _ in seen]
    corners = []
    for index in range(4):
        pixels = np.array([outline[index] for _, outline in seen])
        corner = triangulate_point(poses, cameras, pixels)
        if corner is None:
            return None
        corners.append(corner)
    sides = _sides(np.array(corners))
    if np.abs(sides / np.median(sides) - 1.0).max() > _LARGEST_MISSHAPE:
        return None
    return float(sides.mean())


def triangulate_point(poses: Sequence[Pose], cameras: Sequence[CameraModel], pixels: Array) -> Array | None:
    """Return the point [3] that cameras see at pixels [N, 2]; None if from one side only, or they disagree.

    The point nearest to all rays; those that miss it are left out one by one.
    """
    origins = np.array([pose.position for pose in poses])
    rays = np.array(
        [
            pose.rotation() @ _ray(camera, pixel)
            for pose, camera, pixel in zip(poses, cameras, pixels, strict=True)
        ]
    )
    focal_lengths = np.array([camera.fx for camera in cameras])
    used = np.arange(len(rays))
    while len(used) >= _FEWEST_VIEWS:
        across = np.eye(3) - rays[used, :, np.newaxis] * rays[used, np.newaxis, :]
        try:
            point = np.linalg.solve(across.sum(axis=0), np.einsum("nij,nj->i", across, origins[used]))
        except np.linalg.LinAlgError:
            return None
        away = point - origins[used]
        misses = np.linalg.norm(np.cross(away, rays[used]), axis=1) / np.linalg.norm(away, axis=1)
        errors = misses * focal_lengths[used]
        if errors.max() < _LARGEST_ERROR_PX:
            cosines = rays[used] @ rays[used].T
            is_wide = cosines.min() < np.cos(np.radians(_LEAST_ANGLE_DEG))
            return np.asarray(point) if is_wide else None
        used = np.delete(used, int(errors.argmax()))
    return None


def _ray(camera: CameraModel, pixel: Array) -> Array:
    """Return the unit vector [3] in the camera's frame towards a pixel."""
    distortion = np.array(camera.distortion or (0.0,) * 5)
    flat = cv2.undistortPoints(pixel.reshape(1, 1, 2), camera.matrix(), distortion).ravel()
    ray = np.array([flat[0], flat[1], 1.0])
    return np.asarray(ray / np.linalg.norm(ray))
