"""Depth of the training images, estimated from each other once and kept on disk."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from hyperpose_core.datasets.image_cache import ImageCache
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import opened, replacing
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array
from hyperpose_core.untrusted import reading
from hyperpose_core.view_synthesis.plane_sweep import inverse_depths
from hyperpose_core.view_synthesis.projection import pixel_rays, sampling_grid
from hyperpose_core.view_synthesis.translation import filled_inverse_depths

_LUMINANCE = (0.299, 0.587, 0.114)
_NEIGHBOURS = 6
_PLANES = 64
_NEAREST, _FARTHEST = 0.2, 2.5  # how far apart two cameras may be, in baselines
_LARGEST_ANGLE_DEG = 30.0
_REDUCTION = 2  # of the images: depth needs fewer pixels than colour
_AGREEMENT = 0.1  # relative difference of two images' inverse depths that is still one surface
_VERSION = 2  # of the method; a cache of another one is made anew
_IMAGES_A_PART = 32  # that an interruption costs at most


class DepthMaps:
    """Inverse depths of some images at half their size; zero all over where nothing could be estimated."""

    def __init__(
        self,
        images: Sequence[PosedImage],
        indices: Sequence[int],
        pixels: ImageCache,
        camera: CameraModel,
        baseline: float,
        folder: Path,
    ) -> None:
        """Open the maps in a folder, estimating them where they are missing or belong to other images.

        Args:
            images: the records.
            indices: those to estimate the depth of, and from.
            pixels: the records' images.
            camera: of those, at their size.
            baseline: distance that cameras compared should be apart, metres; depth begins at twice that.
            folder: where the maps are kept.

        Raises:
            HyperPoseError: no image has neighbours to estimate its depth from.
        """
        self._places = np.full(len(images), -1)
        self._places[list(indices)] = np.arange(len(indices))
        path = folder / "depth.npz"
        key = _fingerprint(images, indices, pixels, camera, baseline)
        if (maps := _kept(path, key)) is None:
            parts = _Parts(folder / "depth_parts", key)
            maps = _estimated(images, indices, pixels, camera, baseline, parts).half()
            _keep(path, key, maps)
            parts.remove()
        self._maps = maps
        if not self.known(indices).any():
            nearest, farthest = _NEAREST * baseline, _FARTHEST * baseline
            raise HyperPoseError(
                f"view synthesis over {baseline:g} m: the depth of no training image could be estimated, "
                f"which needs images from {nearest:.2g} to {farthest:.2g} m apart that look the same way"
            )

    def known(self, indices: Sequence[int]) -> Tensor:
        """Return of which records the depth is known, bool [N]."""
        return self.batch(indices).flatten(1).amax(1) > 0

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return the inverse depths of some records, 1/m, float32 [N, h / 2, w / 2]."""
        return self._maps[self._places[list(indices)]].float()


class _Parts:
    """Maps as they are estimated, some images a file, with which an interrupted estimation goes on."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key

    def get(self, first: int, estimate: Callable[[], Tensor]) -> Tensor:
        """Return the maps of a part that begins with an image, from its file or estimated now."""
        path = self._folder / f"{first}.npz"
        if (maps := _kept(path, self._key)) is None:
            maps = estimate()
            self._folder.mkdir(parents=True, exist_ok=True)
            _keep(path, self._key, maps)
        return maps

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _keep(path: Path, key: str, maps: Tensor) -> None:
    with replacing(path, "depth maps") as stream:
        np.savez(stream, key=key, maps=maps.numpy())


def _kept(path: Path, key: str) -> Tensor | None:
    """Return the maps of a file; None where there is none, of other images, or a damaged one."""
    try:
        with opened(path) as stream, reading(path, "depth maps"), np.load(stream) as content:
            return torch.from_numpy(content["maps"]) if str(content["key"]) == key else None
    except HyperPoseError:
        return None


def choose_neighbours(poses: Array, baseline: float, count: int = _NEIGHBOURS) -> list[list[int]]:
    """Choose for each camera others that see the same things from about so far away, in several directions.

    Args:
        poses: camera-to-world [N, 4, 4].
        baseline: metres.
        count: how many at most.

    Returns:
        indices, best first; none where no camera is near enough and looks the same way.
    """
    chosen = []
    for pose in poses:
        distance = np.linalg.norm(poses[:, :3, 3] - pose[:3, 3], axis=1)
        trace = np.einsum("ij,nij->n", pose[:3, :3], poses[:, :3, :3])
        angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
        fits = (
            (distance > _NEAREST * baseline)
            & (distance < _FARTHEST * baseline)
            & (angle < _LARGEST_ANGLE_DEG)
        )
        cost = np.abs(np.log(np.maximum(distance, 1e-9) / baseline)) + angle / 20
        cost[~fits] = np.inf
        found: list[int] = []
        while len(found) < count and np.isfinite(cost.min()):
            best = int(cost.argmin())
            found.append(best)
            from_best = np.linalg.norm(poses[:, :3, 3] - poses[best, :3, 3], axis=1)
            # One taken, those around it would say little more.
            cost = cost + np.exp(-((from_best / (0.35 * baseline)) ** 2))
            cost[best] = np.inf
        chosen.append(found)
    return chosen


def _estimated(
    images: Sequence[PosedImage],
    indices: Sequence[int],
    pixels: ImageCache,
    camera: CameraModel,
    baseline: float,
    parts: _Parts,
) -> Tensor:
    grey = _grey(pixels.batch(indices))
    coarse = camera.resized(grey.shape[1], grey.shape[2])
    poses = np.array([images[index].pose.matrix() for index in indices])
    neighbours = _neighbours_within_scenes([images[index].scene for index in indices], poses, baseline)
    to_others = [
        torch.from_numpy(np.linalg.inv(poses[others]) @ pose).float()
        for pose, others in zip(poses, neighbours, strict=True)
    ]
    planes = torch.linspace(0, 1 / (2 * baseline), _PLANES)

    def estimate(places: range) -> Tensor:
        maps = torch.zeros_like(grey[places.start : places.stop])
        for place in places:
            if others := neighbours[place]:
                maps[place - places.start] = inverse_depths(
                    grey[place], grey[others], to_others[place], coarse, planes
                )
        return maps

    maps = torch.zeros_like(grey)
    with tqdm(total=len(maps), desc="estimating depth", unit="image", dynamic_ncols=True) as progress:
        for first in range(0, len(maps), _IMAGES_A_PART):
            part = range(first, min(first + _IMAGES_A_PART, len(maps)))
            maps[part.start : part.stop] = parts.get(first, partial(estimate, part))
            progress.update(len(part))
    trusted = torch.zeros_like(maps)
    for place, others in enumerate(neighbours):
        if others:
            agree = _agreeing(maps[place], maps[others], to_others[place], coarse)
            trusted[place] = maps[place] * agree
    return _smooth(trusted)


def _neighbours_within_scenes(scenes: Sequence[str], poses: Array, baseline: float) -> list[list[int]]:
    """Return `choose_neighbours` of all cameras, none from another scene, whose world is another."""
    neighbours: list[list[int]] = [[] for _ in scenes]
    for scene in set(scenes):
        members = np.flatnonzero(np.array(scenes) == scene)
        for member, chosen in zip(members, choose_neighbours(poses[members], baseline), strict=True):
            neighbours[member] = members[chosen].tolist()
    return neighbours


def _grey(images: Tensor) -> Tensor:
    """Return the brightness of uint8 images [N, 3, h, w] at half their size, in 0..1."""
    grey = (images * torch.tensor(_LUMINANCE).view(1, 3, 1, 1)).sum(1) / 255
    return functional.avg_pool2d(grey, _REDUCTION)


def _agreeing(own: Tensor, others: Tensor, to_others: Tensor, camera: CameraModel) -> Tensor:
    """Return where at least two other images (or the only one) found the same surface [h, w]."""
    height, width = own.shape
    points = torch.einsum("kij,jhw->kihw", to_others[:, :3, :3], pixel_rays(camera, height, width))
    points = points + own * to_others[:, :3, 3, None, None]
    expected = own / points[:, 2].clamp(min=1e-3)
    found = functional.grid_sample(
        others[:, None], sampling_grid(camera, points, height, width), mode="nearest", align_corners=False
    )[:, 0]
    agree = (found - expected).abs() < _AGREEMENT * expected
    return agree.sum(0) >= min(2, len(others))


def _smooth(maps: Tensor) -> Tensor:
    """Fill gaps from around them and take the median of 3x3 pixels [N, h, w]."""
    filled = filled_inverse_depths(maps)
    windows = functional.unfold(functional.pad(filled[:, None], (1, 1, 1, 1), mode="replicate"), 3)
    return windows.median(dim=1).values.view_as(maps)


def _fingerprint(
    images: Sequence[PosedImage],
    indices: Sequence[int],
    pixels: ImageCache,
    camera: CameraModel,
    baseline: float,
) -> str:
    digest = hashlib.sha256(repr((_VERSION, camera, baseline, pixels.size, list(indices))).encode())
    for index in indices:
        digest.update(images[index].pose.matrix().tobytes())
        digest.update(pixels.batch([index]).numpy().tobytes())
    return digest.hexdigest()
