"""Paints the ground as seen from above: asphalt, markings, pavements, lawns, leaves, snow and shadows."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.simulation import painting
from hyperpose_core.simulation.conditions import Condition
from hyperpose_core.simulation.lighting import Lighting
from hyperpose_core.simulation.painting import Image
from hyperpose_core.simulation.town import PAVEMENT_WIDTH_M, ROAD_HALF_WIDTH_M, Town

_PIXELS_PER_METRE = 20.0
_SHIFT = 4
_WHITE = (0.88, 0.88, 0.85)


def paint_ground(
    town: Town, condition: Condition, lighting: Lighting, run_seed: int, scale: float
) -> np.ndarray:
    """Return the lit ground as RGB uint8 [rows, columns, 3], north on top.

    It spans the town's half_x and half_y on either side of the origin.

    Args:
        town: with its parked cars, whose shadows fall on it.
        condition: light, snow and leaves.
        lighting: the town's shadows.
        run_seed: of what changes from day to day: leaves and the tracks in the snow.
        scale: 1 for full detail.
    """
    density = _PIXELS_PER_METRE * max(0.25, min(1.0, scale))
    painter = _Ground(town, density)
    painter.paint_surfaces()
    painter.paint_markings()
    day = np.random.default_rng([town.seed, 12, run_seed])
    painter.tint_grass(condition)
    if condition.fallen_leaves > 0:
        painter.scatter_leaves(condition, day)
    if condition.snow > 0:
        painter.lay_snow(condition.snow, day)
    return painter.lit(condition, lighting)


class _Ground:
    def __init__(self, town: Town, density: float) -> None:
        self._town, self._density = town, density
        self._columns, self._rows = round(2 * town.half_x * density), round(2 * town.half_y * density)
        x = (np.arange(self._columns, dtype=np.float32) + 0.5) / density - town.half_x
        y = town.half_y - (np.arange(self._rows, dtype=np.float32) + 0.5) / density
        self._offset = _offsets(town, x, y)
        self._rng = np.random.default_rng([town.seed, 11])
        self._grain = painting.grain(self._rng, self._rows, self._columns)
        self._image: Image = np.zeros((self._rows, self._columns, 3), dtype=np.float32)
        self._is_grass = np.zeros((self._rows, self._columns), dtype=bool)

    def paint_surfaces(self) -> None:
        """Fill road, pavements and lots."""
        side = np.abs(self._offset)
        is_road = side < ROAD_HALF_WIDTH_M
        is_pavement = ~is_road & (side < ROAD_HALF_WIDTH_M + PAVEMENT_WIDTH_M + 1.0)
        self._is_grass = ~is_road & ~is_pavement
        slabs = _slabs(self._rng, self._density)
        repeats = (-(-self._rows // slabs.shape[0]), -(-self._columns // slabs.shape[1]), 1)
        paving = np.tile(slabs, repeats)[: self._rows, : self._columns]
        self._image[is_road] = (0.33, 0.33, 0.345)
        self._image[is_pavement] = paving[is_pavement]
        is_kerb = (side >= ROAD_HALF_WIDTH_M - 0.05) & (side < ROAD_HALF_WIDTH_M + 0.2)
        self._image[is_kerb] = (0.72, 0.71, 0.69)
        self._patch_road()
        self._image *= (1.0 + 0.07 * self._grain)[..., None]

    def _patch_road(self) -> None:
        """Give stretches of road surfaces of their own: setts, red lanes, new asphalt."""
        colors = (
            (0.52, 0.30, 0.26),
            (0.24, 0.24, 0.25),
            (0.47, 0.45, 0.42),
            (0.28, 0.36, 0.30),
            (0.42, 0.40, 0.42),
        )
        perimeter = self._town.loop.perimeter
        for number, start in enumerate(np.arange(6.0, perimeter - 14.0, perimeter / 9)):
            color = colors[number % len(colors)]
            length = float(self._rng.uniform(5.0, 11.0))
            inner, outer = ((-5.0, 5.0), (-2.9, 0.0), (0.0, 2.9))[int(self._rng.integers(3))]
            self._strip(start, start + length, inner, outer, color)
        for _ in range(26):
            start, place = float(self._rng.uniform(0, perimeter)), float(self._rng.uniform(-3.5, 3.5))
            size = float(self._rng.uniform(0.6, 2.4))
            tone = float(self._rng.uniform(0.22, 0.42))
            self._strip(start, start + size, place, place + size * 0.6, (tone, tone, tone))
        for _ in range(18):
            center, _ = self._town.loop.at(self._rng.uniform(0, perimeter), self._rng.uniform(-2.6, 2.6))
            pixel = self._pixels(center)[0]
            radius = round(0.35 * self._density * (1 << _SHIFT))
            cv2.circle(self._image, pixel, radius, (0.16, 0.16, 0.17), -1, cv2.LINE_AA, _SHIFT)

    def paint_markings(self) -> None:
        """Draw the lane line, parking bays, crossings and arrows."""
        loop = self._town.loop
        for start in np.arange(0.0, loop.perimeter - 2.0, 5.0):
            self._strip(start, start + 2.2, -0.07, 0.07, _WHITE)
        for side in (-1.0, 1.0):
            self._strip(0.0, loop.perimeter, side * 2.92, side * 3.0, _WHITE)
            for way in np.arange(0.0, loop.perimeter, 6.6):
                self._strip(way, way + 0.1, side * 3.0, side * ROAD_HALF_WIDTH_M, _WHITE)
        crossings = self._rng.uniform(0.0, loop.perimeter, 5)
        for way in crossings:
            for place in np.arange(-4.8, 4.6, 1.1):
                self._strip(way, way + 2.6, place, place + 0.55, _WHITE)
        for way in self._rng.uniform(0.0, loop.perimeter, 7):
            self._arrow(float(way), float(self._rng.choice([-1.5, 1.5])))
        self._image = painting.blurred(self._image, 0.6)

    def scatter_leaves(self, condition: Condition, day: np.random.Generator) -> None:
        """Drop leaves around the trees, and some everywhere."""
        colors = np.array(condition.leaves)
        for tree in self._town.trees:
            count = round(900 * condition.fallen_leaves * tree.crown_radius)
            spots = np.array([tree.x, tree.y]) + day.normal(0.0, 1.3 * tree.crown_radius, (count, 2))
            self._leaves(spots, colors, day)
        half = np.array([self._town.half_x, self._town.half_y])
        count = round(12000 * condition.fallen_leaves)
        self._leaves(day.uniform(-1, 1, (count, 2)) * half, colors, day)

    def tint_grass(self, condition: Condition) -> None:
        """Colour the lawns."""
        tone = (1.0 + 0.12 * self._grain[self._is_grass])[:, None]
        self._image[self._is_grass] = np.array(condition.grass, dtype=np.float32) * tone

    def lay_snow(self, snow: float, day: np.random.Generator) -> None:
        """Whiten the ground, less on the road and least in the tracks of wheels."""
        drift = painting.noise(day, self._rows, self._columns, (self._rows // 40, self._columns // 40))
        drift += 0.5 * painting.noise(day, self._rows, self._columns, (self._rows // 8, self._columns // 8))
        cover = np.full(self._offset.shape, 1.1, dtype=np.float32)
        side = np.abs(self._offset)
        cover[side < ROAD_HALF_WIDTH_M] = 0.75
        for track in (0.75, 2.2):
            cover[np.abs(side - track) < 0.32] = 0.25
        cover = np.clip(cover + 0.28 * drift - (1.0 - snow), 0.0, 1.0).astype(np.float32)[..., None]
        white = np.array((0.93, 0.95, 0.98), dtype=np.float32) * (1.0 + 0.02 * self._grain[..., None])
        self._image = self._image * (1.0 - cover) + white * cover

    def lit(self, condition: Condition, lighting: Lighting) -> npt.NDArray[np.uint8]:
        """Return the ground in the condition's light, with shadows."""
        shadow = painting.blurred(lighting.ground_visibility(), 0.8)
        shadow = painting.resized(shadow, self._rows, self._columns)
        sun = np.array(condition.sun, dtype=np.float32) * max(0.0, float(lighting.to_sun[2]))
        ambient = np.array(condition.ambient, dtype=np.float32)
        return painting.to_bytes(self._image * (ambient + sun * shadow[..., None]))

    def _leaves(self, spots: np.ndarray, colors: np.ndarray, day: np.random.Generator) -> None:
        """Paint leaves of three pixels each at spots [N, 2] in metres."""
        columns = np.floor((spots[:, 0] + self._town.half_x) * self._density).astype(int)
        rows = np.floor((self._town.half_y - spots[:, 1]) * self._density).astype(int)
        inside = (columns >= 0) & (columns < self._columns - 1) & (rows >= 0) & (rows < self._rows - 1)
        chosen = colors[day.integers(len(colors), size=len(spots))] * day.uniform(0.7, 1.0, (len(spots), 1))
        for down, right in ((0, 0), (0, 1), (1, 0)):
            self._image[rows[inside] + down, columns[inside] + right] = chosen[inside]

    def _arrow(self, way: float, place: float) -> None:
        tip, _ = self._town.loop.at(way + 3.2, place)
        left, _ = self._town.loop.at(way + 1.8, place - 0.55)
        right, _ = self._town.loop.at(way + 1.8, place + 0.55)
        corners = np.array(self._pixels(np.concatenate([tip, left, right])), dtype=np.int32)
        cv2.fillConvexPoly(self._image, corners, _WHITE, cv2.LINE_AA, _SHIFT)
        self._strip(way, way + 1.9, place - 0.12, place + 0.12, _WHITE)

    def _strip(self, start: float, end: float, inner: float, outer: float, color: Sequence[float]) -> None:
        """Fill the road between two distances along the loop and two offsets, metres."""
        ways = np.linspace(start, end, max(2, int((end - start) / 0.5) + 1))
        for first, second in zip(ways[:-1], ways[1:], strict=True):
            near, _ = self._town.loop.at([first, first], [inner, outer])
            far, _ = self._town.loop.at([second, second], [outer, inner])
            corners = np.array(self._pixels(np.concatenate([near, far])), dtype=np.int32)
            cv2.fillConvexPoly(self._image, corners, color, cv2.LINE_8, _SHIFT)

    def _pixels(self, points: np.ndarray) -> list[tuple[int, int]]:
        """Return points [N, 2] in pixels, scaled for OpenCV's fixed point coordinates."""
        columns = (points[:, 0] + self._town.half_x) * self._density - 0.5
        rows = (self._town.half_y - points[:, 1]) * self._density - 0.5
        factor = 1 << _SHIFT
        return [(round(c * factor), round(r * factor)) for c, r in zip(columns, rows, strict=True)]


def _slabs(rng: np.random.Generator, density: float) -> Image:
    """Return a patch of paving of 32 x 32 slabs that can be repeated."""
    slab = max(2, round(0.7 * density))
    size = 32 * slab
    return painting.masonry(
        rng, painting.filled(size, size, (0.62, 0.60, 0.57)), slab, slab, (0.45, 0.44, 0.42), 0.08
    )


def _offsets(town: Town, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the signed distance of every pixel to the centre line, computed coarsely and enlarged."""
    columns, rows = x[::4], y[::4]
    coarse = town.loop.offset_of(np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float64))
    step = np.float32(x[1] - x[0])
    map_x, map_y = (x - columns[0]) / (4 * step), (rows[0] - y) / (4 * step)
    grid_x, grid_y = np.meshgrid(map_x, map_y)
    source = coarse.astype(np.float32)
    return np.asarray(cv2.remap(source, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
