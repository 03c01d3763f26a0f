"""A textured room with tags of known size on its walls, seen by a camera whose poses are known exactly."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose, matrix_to_quaternion
from hyperpose_core.images import RgbImage

CAMERA = CameraModel(400, 300, 300.0, 300.0, 199.5, 149.5)
TAG_SIDE_M = 0.4
ROOM = np.array([6.0, 5.0, 3.0])  # metres; one corner at the origin, z up

_PIXELS_A_METRE = 100


@dataclass(frozen=True)
class Room:
    """Six walls: for each axis, the textures of the low and the high one."""

    textures: tuple[tuple[RgbImage, RgbImage], ...]

    def render(self, pose: Pose, camera: CameraModel = CAMERA) -> RgbImage:
        """Cast a ray a pixel."""
        columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
        rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ pose.rotation().T
        image = np.zeros((camera.height, camera.width, 3), np.uint8)
        nearest = np.full(rays.shape[:2], np.inf)
        for axis, walls in enumerate(self.textures):
            for level, texture in zip((0.0, ROOM[axis]), walls, strict=True):
                with np.errstate(divide="ignore", invalid="ignore"):
                    distance = (level - pose.position[axis]) / rays[..., axis]
                    hit = pose.position + distance[..., np.newaxis] * rays
                across, along = (hit[..., other] for other in range(3) if other != axis)
                seen = cv2.remap(
                    texture,
                    (np.nan_to_num(across) * _PIXELS_A_METRE).astype(np.float32),
                    (np.nan_to_num(along) * _PIXELS_A_METRE).astype(np.float32),
                    cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE,
                )
                chosen = (distance > 0) & (distance < nearest)
                image[chosen], nearest[chosen] = seen[chosen], distance[chosen]
        return image


def make_room(seed: int = 0, with_tags: bool = True) -> Room:
    """Paint a room that no other seed gives."""
    generator = np.random.default_rng(seed)
    textures = []
    for axis in range(3):
        across, along = (ROOM[other] for other in range(3) if other != axis)
        size = round(along * _PIXELS_A_METRE), round(across * _PIXELS_A_METRE)
        textures.append((_painted(generator, size), _painted(generator, size)))
    if with_tags:
        # Textures run along the axes, so that those of two walls are seen in a mirror.
        walls = (textures[0][1], False), (textures[1][1], True), (textures[0][0], True)
        for number, (wall, is_mirrored) in enumerate(walls):
            _hang_tag(wall, number, (220, 130), is_mirrored)
    return Room(tuple(textures))


def walk(count: int, start: float = 0.0, end: float = 1.0) -> list[Pose]:
    """A camera's way round the room's middle, looking outwards and down a little; 0 to 1 is once round."""
    poses = []
    for share in np.linspace(start, end, count, endpoint=False):
        angle = 2.0 * np.pi * share
        bob = 0.1 * np.sin(5.0 * angle)
        position = [3.0 + 1.3 * np.cos(angle), 2.5 + 1.0 * np.sin(angle), 1.4 + bob]
        poses.append(looking(position, angle + 0.3, 0.25 + 0.1 * np.sin(3.0 * angle)))
    return poses


def looking(position: Sequence[float] | Array, yaw: float, pitch: float = 0.0) -> Pose:
    """A level camera at a place; yaw from x to y, pitch downwards, radians."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    return Pose(
        np.asarray(position),
        matrix_to_quaternion(np.stack([right, np.cross(forward, right), forward], axis=1)),
    )


def write_video(path: Path, images: Sequence[RgbImage], rate: int = 10) -> None:
    """Encode images as H.264 with imageio-ffmpeg's encoder."""
    import imageio_ffmpeg

    height, width = images[0].shape[:2]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=b"".join(image.tobytes() for image in images), check=True)


def write_images(folder: Path, images: Sequence[RgbImage]) -> None:
    """Write images as photographs of a folder."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"photo {number:02d}.jpg"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _painted(generator: np.random.Generator, size: tuple[int, int]) -> RgbImage:
    """Blotches of several sizes, which features are found on near and far."""
    total = np.zeros((*size, 3), np.float32)
    for cell in (8, 20, 50):
        coarse = generator.random((size[0] // cell + 2, size[1] // cell + 2, 3), dtype=np.float32)
        total += cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(total / 3.0, (0, 0), 1.0)
    return np.clip(blurred * 255.0, 0, 255).astype(np.uint8)


def _hang_tag(wall: RgbImage, number: int, corner: tuple[int, int], is_mirrored: bool) -> None:
    side = round(TAG_SIDE_M * _PIXELS_A_METRE)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    tag = cv2.aruco.generateImageMarker(dictionary, number, side)
    margin = side // 4
    left, top = corner
    wall[top - margin : top + side + margin, left - margin : left + side + margin] = 255
    wall[top : top + side, left : left + side] = (tag[::-1] if is_mirrored else tag)[..., np.newaxis]
