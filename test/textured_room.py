"""A room with papered walls, ray-cast, in which cameras stand at poses that are known exactly."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from hyperpose_core.geometry.poses import Array, Pose, matrix_to_quaternion
from hyperpose_core.images import RgbImage

WIDTH, HEIGHT, FOCAL = 160, 120, 130.0
CAMERA = f"{WIDTH},{HEIGHT},{FOCAL},{FOCAL},{(WIDTH - 1) / 2},{(HEIGHT - 1) / 2}"

_LOW, _HIGH = np.array([-3.0, -2.5, 0.0]), np.array([3.0, 2.5, 3.0])
_PIXELS_PER_METRE = 90.0


def look(position: Array, yaw: float, pitch: float = 0.0) -> Pose:
    """Return the pose of a level camera (optical frame) in a world with z up; angles in radians."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    axes = np.stack([right, np.cross(forward, right), forward], axis=1)
    return Pose(np.asarray(position), matrix_to_quaternion(axes))


def walk(count: int) -> list[Pose]:
    """Return the poses of a walk that is nowhere uniform, so that no frame can stand for the next."""
    time = np.arange(count) * 0.1
    return [
        look(
            np.array(
                [0.5 * np.sin(2.1 * t), 0.6 * t - 0.6 + 0.1 * np.cos(5 * t), 1.4 + 0.15 * np.sin(4 * t)]
            ),
            yaw=0.35 * np.sin(2.6 * t) + 0.25 * t,
            pitch=0.12 * np.cos(3.1 * t),
        )
        for t in time
    ]


def see(pose: Pose, size: tuple[int, int] = (WIDTH, HEIGHT), focal: float = FOCAL) -> RgbImage:
    """Return what a pinhole camera sees, RGB uint8 [H, W, 3]."""
    u, v = np.meshgrid(np.arange(size[0], dtype=float), np.arange(size[1], dtype=float))
    rays = np.stack([(u - (size[0] - 1) / 2) / focal, (v - (size[1] - 1) / 2) / focal, np.ones_like(u)], -1)
    return see_along(pose, rays)


def see_along(pose: Pose, rays: Array) -> RgbImage:
    """Return what is seen along rays [H, W, 3] of the optical frame."""
    directions = rays @ pose.rotation().T
    with np.errstate(divide="ignore"):
        lengths = np.where(directions > 0, _HIGH - pose.position, _LOW - pose.position) / directions
    lengths[~np.isfinite(lengths)] = np.inf
    wall = np.argmin(lengths, axis=-1)
    points = pose.position + np.min(lengths, axis=-1)[..., None] * directions
    image = np.zeros((*rays.shape[:2], 3), np.uint8)
    for axis in range(3):
        across, along = (np.delete(points - _LOW, axis, axis=-1) * _PIXELS_PER_METRE).transpose(2, 0, 1)
        for side in (0, 1):
            seen = cv2.remap(
                _paper(2 * axis + side), across.astype(np.float32), along.astype(np.float32), cv2.INTER_LINEAR
            )
            here = (wall == axis) & ((directions[..., axis] > 0) == bool(side))
            image[here] = seen[here]
    return image


@cache
def _paper(number: int) -> RgbImage:
    """Return a wall's texture: blots of all sizes."""
    generator = np.random.default_rng(number)
    side = int(6.0 * _PIXELS_PER_METRE) + 2
    paper = np.full((side, side, 3), 120.0)
    for cells in (12, 40, 120):
        blots = generator.normal(0.0, 45.0, (cells, cells, 3)).astype(np.float32)
        paper += cv2.resize(blots, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(paper, 0, 255).astype(np.uint8)
