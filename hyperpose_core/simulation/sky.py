"""Paints the sky all around: gradient, clouds, sun, and the hills at the horizon."""

from __future__ import annotations

import cv2
import numpy as np

from hyperpose_core.simulation import painting
from hyperpose_core.simulation.conditions import Condition

LOWEST_DEG = -10.0
HIGHEST_DEG = 90.0


def paint_sky(town_seed: int, condition: Condition, run_seed: int) -> np.ndarray:
    """Return the panorama as RGB uint8 [256, 1024, 3].

    Columns go clockwise from grid north through 360 degrees, rows from 90 degrees above the horizon on top
    to 10 below it.
    """
    height, width = 256, 1024
    rng = np.random.default_rng([town_seed, 21, run_seed])
    elevation = np.linspace(HIGHEST_DEG, LOWEST_DEG, height, dtype=np.float32)[:, None]
    azimuth = (np.arange(width, dtype=np.float32) + 0.5)[None, :] * 360.0 / width
    share = np.clip(elevation / 50.0, 0.0, 1.0)[..., None] ** 0.7
    image = np.array(condition.zenith, np.float32) * share + np.array(condition.horizon, np.float32) * (
        1 - share
    )
    image = np.repeat(image, width, axis=1) if image.shape[1] == 1 else image
    image = _with_sun(image, condition, elevation, azimuth)
    image = _with_clouds(image, condition, elevation, rng)
    return painting.to_bytes(
        _with_hills(image, condition, elevation, azimuth, np.random.default_rng([town_seed, 22]))
    )


def _with_sun(
    image: np.ndarray, condition: Condition, elevation: np.ndarray, azimuth: np.ndarray
) -> np.ndarray:
    difference = np.abs((azimuth - condition.sun_azimuth_deg + 180.0) % 360.0 - 180.0)
    distance = np.hypot(difference * np.cos(np.radians(elevation)), elevation - condition.sun_elevation_deg)
    clear = 1.0 - condition.clouds
    glow = (0.45 * np.exp(-distance / 22.0) + 0.9 * np.exp(-((distance / 4.0) ** 2))) * clear
    light = np.array(condition.sun, np.float32)
    warm = light / max(float(light.max()), 1e-3)
    return np.asarray(image + (warm - image * 0.6) * np.clip(glow, 0.0, 1.0)[..., None], dtype=np.float32)


def _with_clouds(
    image: np.ndarray, condition: Condition, elevation: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    height, width = image.shape[:2]
    total = np.zeros((height, width), dtype=np.float32)
    for rows, columns, weight in ((4, 7, 0.9), (9, 16, 0.6), (22, 40, 0.35), (50, 90, 0.2)):
        coarse = rng.standard_normal((rows, columns)).astype(np.float32)
        wrapped = np.concatenate([coarse, coarse[:, :2]], axis=1)
        wide = cv2.resize(wrapped, (width * (columns + 2) // columns, height), interpolation=cv2.INTER_CUBIC)
        start = width // columns
        total += weight * wide[:, start : start + width]
    threshold = 1.3 - 2.6 * condition.clouds
    cover = np.clip((total - threshold) / 0.9, 0.0, 1.0) * np.clip((elevation + 2.0) / 12.0, 0.0, 1.0)
    tone = (0.93 + 0.07 * np.clip(total - threshold - 0.6, -1.0, 1.0) * -1.0)[..., None]
    cloud = (
        (0.35 * np.array(condition.horizon, np.float32) + 0.62)
        * tone
        * (0.75 + 0.25 * (1 - condition.clouds))
    )
    cloud = cloud * (np.array(condition.ambient, np.float32) / max(condition.ambient)) ** 0.5
    return np.asarray(image * (1 - 0.9 * cover[..., None]) + cloud * 0.9 * cover[..., None], dtype=np.float32)


def _with_hills(
    image: np.ndarray,
    condition: Condition,
    elevation: np.ndarray,
    azimuth: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw hills that are the same on every day, white in winter."""
    angle = np.radians(azimuth)
    ridge = np.full(azimuth.shape, 3.0, dtype=np.float32)
    for order in (1, 2, 3, 5, 9, 17):
        ridge += 1.6 / order**0.6 * np.sin(order * angle + rng.uniform(0, 2 * np.pi))
    ridge = np.clip(ridge, 0.6, 8.0)
    hill = 0.45 * np.array(condition.horizon, np.float32) + 0.25 * np.array(condition.grass, np.float32)
    land = np.clip((ridge - elevation) / 0.6, 0.0, 1.0)[..., None]
    return np.asarray(image * (1 - land) + hill * land, dtype=np.float32)
