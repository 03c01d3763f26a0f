"""A room with pictures on its walls, seen by a camera whose poses are known exactly, and the room's map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, euler_to_matrix, matrix_to_quaternion
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.features import ImageFeatures, extract_features, to_bytes
from hyperpose_core.landmarks.landmark_map import LandmarkMap, Landmarks, MapImages, Observations
from hyperpose_core.landmarks.lens import normalized_points

CAMERA = CameraModel(width=320, height=240, fx=260.0, fy=260.0, cx=159.5, cy=119.5)
SIZE_M = np.array([6.0, 5.0, 3.0])
"""The room reaches from zero to there: x forward, y left, z up."""

_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_PIXELS_PER_METRE = 120
_SAME_POINT_M = 0.015
_LIKE = 0.9


@dataclass(frozen=True, eq=False)
class Room:
    """Six walls; another seed has other pictures on them."""

    seed: int

    def render(self, pose: Pose, camera: CameraModel = CAMERA) -> RgbImage:
        """Return what a camera sees, RGB uint8."""
        across, down = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        points, walls = hits(np.column_stack([across.ravel(), down.ravel()]), pose, camera)
        image = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
        for wall, texture in enumerate(_pictures(self.seed)):
            place = points[:, [axis for axis in range(3) if axis != wall // 2]] * _PIXELS_PER_METRE - 0.5
            x, y = place.astype(np.float32).reshape(camera.height, camera.width, 2).transpose(2, 0, 1)
            seen = (walls == wall).reshape(camera.height, camera.width)
            image[seen] = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)[seen]
        return image


def looking(x: float, y: float, yaw_deg: float, pitch_deg: float = 0.0, z: float = 1.4) -> Pose:
    """Return the pose of a camera in the room, metres; yaw 0 looks along x, positive pitch down."""
    turn = euler_to_matrix(0.0, np.radians(pitch_deg), np.radians(yaw_deg))
    return Pose(np.array([x, y, z]), matrix_to_quaternion(turn @ _OPTICAL))


def tour(count: int = 40) -> list[Pose]:
    """Return poses of a camera that walks round and looks about."""
    angles = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    x, y = 3.0 + 0.9 * np.cos(angles), 2.5 + 0.7 * np.sin(angles)
    pitches, heights = 6.0 * np.sin(3.0 * angles), 1.4 + 0.1 * np.cos(2.0 * angles)
    return [looking(*values) for values in zip(x, y, np.degrees(angles), pitches, heights, strict=True)]


def hits(pixels: npt.ArrayLike, pose: Pose, camera: CameraModel) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return the points of the walls [N, 3] that pixels [N, 2] show, and which wall each is on."""
    plane = normalized_points(camera, pixels)
    rays = np.column_stack([plane, np.ones(len(plane))]) @ pose.rotation().T
    with np.errstate(divide="ignore"):
        distances = np.where(rays > 0, (SIZE_M - pose.position) / rays, -pose.position / rays)
    axes = distances.argmin(axis=1)
    rows = np.arange(len(rays))
    points = pose.position + rays * distances[rows, axes][:, np.newaxis]
    return points, 2 * axes + (rays[rows, axes] > 0)


def landmark_map(rooms: dict[str, Room], poses: list[Pose], camera: CameraModel = CAMERA) -> LandmarkMap:
    """Return the map of some rooms, a scene each; its landmarks lie where their features' rays end."""
    positions, descriptors, scenes, seen = np.zeros((0, 3)), np.zeros((0, 128)), np.zeros(0, int), []
    for scene, name in enumerate(sorted(rooms)):
        for pose in poses:
            found = extract_features(rooms[name].render(pose, camera), count=600)
            points, _ = hits(found.points, pose, camera)
            numbers = _known(points, found, positions, descriptors, scenes == scene)
            new = numbers < 0
            numbers[new] = len(positions) + np.arange(new.sum())
            positions = np.vstack([positions, points[new]])
            descriptors = np.vstack([descriptors, found.descriptors[new]])
            scenes = np.append(scenes, np.full(new.sum(), scene))
            numbers, first = np.unique(numbers, return_index=True)
            seen.append((numbers, found.points[first], scene))
    return _assembled(positions, descriptors, scenes, seen, [*poses] * len(rooms), sorted(rooms), camera)


def _known(
    points: Array,
    found: ImageFeatures,
    positions: Array,
    descriptors: Array,
    candidates: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Return the number of the landmark that each feature is, -1 for a new one."""
    numbers = np.full(len(points), -1, dtype=np.int64)
    known = np.flatnonzero(candidates)
    for row, (point, descriptor) in enumerate(zip(points, found.descriptors.astype(float), strict=True)):
        near = known[np.square(positions[known] - point).sum(axis=1) < _SAME_POINT_M**2]
        if len(near):
            like = descriptors[near] @ descriptor / 512.0**2
            if like.max() > _LIKE:
                numbers[row] = near[like.argmax()]
    return numbers


def _assembled(
    positions: Array,
    descriptors: Array,
    scenes: npt.NDArray[np.int64],
    seen: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], int]],
    poses: list[Pose],
    names: list[str],
    camera: CameraModel,
) -> LandmarkMap:
    landmarks = np.concatenate([numbers for numbers, _, _ in seen])
    images = np.repeat(np.arange(len(seen)), [len(numbers) for numbers, _, _ in seen])
    centres = np.array([pose.position for pose in poses])
    kept = np.bincount(landmarks, minlength=len(positions)) >= 2
    use = kept[landmarks]
    pixels = np.concatenate([points for _, points, _ in seen])[use]
    landmarks, images = (np.cumsum(kept) - 1)[landmarks[use]], images[use]
    points = _landmarks(positions[kept], descriptors[kept], scenes[kept], landmarks, centres[images])
    return LandmarkMap(
        points,
        MapImages(
            tuple(f"{index:04d}.png" for index in range(len(seen))),
            centres,
            np.array([pose.orientation for pose in poses]),
            np.array([scene for _, _, scene in seen], dtype=np.int16),
            np.zeros(len(seen), dtype=np.int16),
        ),
        Observations(
            np.concatenate([[0], np.cumsum(np.bincount(images, minlength=len(seen)))]).astype(np.int64),
            landmarks.astype(np.int32),
            pixels.astype(np.float32),
        ),
        (camera,),
        tuple(names),
    )


def _landmarks(
    positions: Array,
    descriptors: Array,
    scenes: npt.NDArray[np.int64],
    landmarks: npt.NDArray[np.int64],
    centres: Array,
) -> Landmarks:
    """Return the landmarks of observations [O] by cameras at `centres` [O, 3]."""
    count = len(positions)
    rays = centres - positions[landmarks]
    distances = np.linalg.norm(rays, axis=1)
    rays /= distances[:, np.newaxis]
    middle = np.zeros((count, 3))
    np.add.at(middle, landmarks, rays)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    cosines, ranges = np.ones(count), np.tile([np.inf, 0.0], (count, 1))
    np.minimum.at(cosines, landmarks, np.einsum("ij,ij->i", rays, middle[landmarks]))
    np.minimum.at(ranges[:, 0], landmarks, distances)
    np.maximum.at(ranges[:, 1], landmarks, distances)
    return Landmarks(
        positions.astype(np.float32),
        np.tile(np.float32([1e-5, 0.0, 0.0, 1e-5, 0.0, 1e-5]), (count, 1)),
        to_bytes(descriptors.astype(np.float32)),
        middle.astype(np.float32),
        cosines.astype(np.float32),
        ranges.astype(np.float32),
        scenes.astype(np.int16),
    )


@cache
def _pictures(seed: int) -> list[npt.NDArray[np.uint8]]:
    """Return the pictures of the walls at x = 0, x = 6, y = 0, y = 5, z = 0, z = 3."""
    generator = np.random.default_rng(seed)
    return [_picture(generator, SIZE_M[[i for i in range(3) if i != axis]]) for axis in (0, 0, 1, 1, 2, 2)]


def _picture(generator: np.random.Generator, size_m: Array) -> npt.NDArray[np.uint8]:
    width, height = (size_m * _PIXELS_PER_METRE).astype(int)
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[:] = generator.integers(60, 200, 3)
    for _ in range(int(30 * size_m.prod())):
        centre = generator.integers((0, 0), (width, height)).tolist()
        colour = generator.integers(0, 256, 3).tolist()
        reach = generator.integers(3, 28, 2).tolist()
        cv2.ellipse(picture, centre, reach, float(generator.uniform(0, 360)), 0, 360, colour, -1, cv2.LINE_AA)
    return picture
