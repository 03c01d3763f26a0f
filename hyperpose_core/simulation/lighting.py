"""Sunlight, skylight and shadows, baked into the colours of corners and of the ground."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.simulation.conditions import Condition
from hyperpose_core.simulation.mesh import Surface
from hyperpose_core.simulation.town import Town

Array = npt.NDArray[np.float64]

_CELL_M = 0.25
_BORDER_CELLS = 1
_SNOW = np.array([0.94, 0.95, 0.97])


class Lighting:
    """The light of one condition in one town.

    Shadows come from a map of heights (buildings, trees and cars seen from above): a point lies in shadow
    where the way to the sun passes below the map.
    """

    def __init__(self, town: Town, condition: Condition) -> None:
        """Rasterise the heights of what throws shadows."""
        self._condition = condition
        azimuth, elevation = np.radians(condition.sun_azimuth_deg), np.radians(condition.sun_elevation_deg)
        self.to_sun = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
        )
        self._half = np.array([town.half_x, town.half_y])
        self._heights = _height_map(town, self._half)
        self._bordered = np.pad(self._heights, _BORDER_CELLS)

    def visibility(self, points: Array) -> Array:
        """Return 1 for each of the points [N, 3] that sees the sun, else 0."""
        cells = np.floor((points[:, :2] + self._half) / _CELL_M)
        visible = np.ones(len(points))
        for way, rise in self._way_to_sun(1.5, 90.0):
            columns, rows = (np.floor(cells + way / _CELL_M) + _BORDER_CELLS).astype(np.int32).T
            columns = np.clip(columns, 0, self._bordered.shape[1] - 1)
            rows = np.clip(rows, 0, self._bordered.shape[0] - 1)
            visible[self._bordered[rows, columns] > points[:, 2] + rise + 0.05] = 0.0
        return visible

    def ground_visibility(self) -> npt.NDArray[np.float32]:
        """Return 1 where the ground sees the sun, else 0 [rows, columns], row 0 in the north."""
        rows, columns = self._heights.shape
        visible = np.ones((rows, columns), dtype=np.float32)
        for way, rise in self._way_to_sun(0.0, 60.0):
            shift = np.array([[1.0, 0.0, -way[0] / _CELL_M], [0.0, 1.0, -way[1] / _CELL_M]])
            ahead = cv2.warpAffine(self._heights, shift, (columns, rows), flags=cv2.INTER_NEAREST)
            visible[ahead > rise + 0.05] = 0.0
        return visible[::-1]

    def colors(self, surfaces: Sequence[Surface]) -> list[Array]:
        """Return the lit colours of each surface's corners [N, 3] in 0..1."""
        condition = self._condition
        sizes = [len(surface.positions) for surface in surfaces]
        positions = np.concatenate([surface.positions for surface in surfaces])
        normals = np.concatenate([surface.normals for surface in surfaces])
        albedo = np.concatenate([surface.albedo for surface in surfaces])
        shaded = np.repeat([surface.shaded for surface in surfaces], sizes)
        facing = np.clip(normals @ self.to_sun, 0.0, 1.0)
        asked = shaded & (facing > 0)
        facing[asked] *= self.visibility(positions[asked] + normals[asked] * 0.4)
        snow = condition.snow * np.clip((normals[:, 2:] - 0.45) * 3.0, 0.0, 1.0)
        albedo = albedo * (1.0 - snow) + _SNOW * snow
        sky = 0.78 + 0.22 * normals[:, 2:]
        occlusion = 0.72 + 0.28 * np.clip(positions[:, 2:] / 3.0, 0.0, 1.0)
        light = np.array(condition.ambient) * sky * occlusion + np.array(condition.sun) * facing[:, None]
        return np.split(np.clip(albedo * light, 0.0, 1.0), np.cumsum(sizes)[:-1])

    def _way_to_sun(self, start: float, reach: float) -> Iterator[tuple[Array, float]]:
        """Yield steps towards the sun, as far as something may be in the way: (x, y) and rise, metres."""
        horizontal = float(np.linalg.norm(self.to_sun[:2]))
        slope = float(self.to_sun[2]) / horizontal
        for step in np.arange(start, min(float(self._heights.max()) / slope, reach), 2 * _CELL_M):
            yield self.to_sun[:2] / horizontal * step, step * slope


def _height_map(town: Town, half: Array) -> npt.NDArray[np.float32]:
    """Return the height of what throws shadows, seen from above [rows, columns], row 0 in the south."""
    columns, rows = np.ceil(2 * half / _CELL_M).astype(int)
    heights = np.zeros((rows, columns), dtype=np.float32)
    shapes: list[tuple[float, Array]] = []
    for building in town.buildings:
        forwards = np.array([np.cos(building.heading), np.sin(building.heading)]) * building.width / 2
        left = np.array([-np.sin(building.heading), np.cos(building.heading)]) * building.depth / 2
        corners = np.array([-forwards - left, forwards - left, forwards + left, -forwards + left])
        shapes.append((building.height + building.roof_height / 2, corners + [building.x, building.y]))
    angle = np.linspace(0.0, 2 * np.pi, 10, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    shapes += [
        (0.85 * tree.height, circle * 0.9 * tree.crown_radius + [tree.x, tree.y]) for tree in town.trees
    ]
    shapes += [(1.3, circle * 1.2 + [car.x, car.y]) for car in town.cars]
    # From low to high, so that the highest of what overlaps stays.
    for height, corners in sorted(shapes, key=lambda shape: shape[0]):
        cells = np.round((corners + half) / _CELL_M - 0.5).astype(np.int32)
        cv2.fillConvexPoly(heights, cells, float(height))
    return heights
