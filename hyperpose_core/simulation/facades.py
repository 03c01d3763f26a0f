"""Paints the front of a house: material, windows, doors, shops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hyperpose_core.simulation import painting
from hyperpose_core.simulation.conditions import Color, Condition
from hyperpose_core.simulation.materials import paint_wall
from hyperpose_core.simulation.painting import Image
from hyperpose_core.simulation.town import FLOOR_M, Building

_PIXELS_PER_METRE = 44.0
_TEXTURE_PIXELS = 512
_WORDS = (
    *("BAKERY", "BOOKS", "CAFE", "PHARMACY", "FLOWERS", "CINEMA", "HOTEL", "BANK", "MUSIC", "TAILOR", "FISH"),
    *(
        "TEA ROOM",
        "BIKES",
        "POST",
        "THE CROWN",
        "ARTS",
        "PIZZA",
        "OPTICIAN",
        "TOYS",
        "LIBRARY",
        "GARAGE",
        "WINE",
    ),
)
_SIGNS: tuple[Color, ...] = (
    (0.10, 0.30, 0.20),
    (0.60, 0.08, 0.10),
    (0.10, 0.15, 0.40),
    (0.95, 0.75, 0.10),
    (0.15, 0.15, 0.15),
    (0.85, 0.40, 0.10),
    (0.10, 0.50, 0.55),
    (0.92, 0.90, 0.85),
)
_GLOW: Color = (1.0, 0.84, 0.50)


@dataclass(frozen=True)
class _Pattern:
    """How the upper floors' windows look: metres, and shares of the wall's colour."""

    spacing: float
    width: float
    height: float
    frame: Color
    arched: bool
    shutters: Color | None
    balcony: bool


def paint_facade(building: Building, condition: Condition, scale: float) -> np.ndarray:
    """Return the texture of a building's front as RGB uint8 [S, S, 3]; it spans the front's width and height.

    Args:
        building: the house.
        condition: lights its windows and puts snow on its ledges.
        scale: 1 for full detail, less for smaller textures.
    """
    rng = np.random.default_rng([building.seed, 5])
    density = _PIXELS_PER_METRE * min(1.0, max(0.3, scale))
    width, height = round(building.width * density), round(building.height * density)
    image = paint_wall(rng, building, height, width, density)
    bright = np.zeros((height, width), dtype=np.float32)
    glow_rng = np.random.default_rng([building.seed, 6])
    _Facade(image, bright, building, density, condition, rng, glow_rng).paint()
    stains = painting.noise(rng, height, width, (2, max(2, width // 40)))
    image *= (1.0 + 0.05 * stains)[..., None]
    if condition.window_glow > 0:
        dim = 1.0 - 0.45 * condition.window_glow
        image *= np.where(bright > 0, 1.0, dim)[..., None].astype(np.float32)
    size = max(32, round(_TEXTURE_PIXELS * scale / 32) * 32)
    size = 1 << (size - 1).bit_length()
    return painting.to_bytes(painting.resized(image, size, size))


def paint_poster(seed: int) -> np.ndarray:
    """Return a poster for a hoarding as RGB uint8 [128, 256, 3]: a word, a band and some discs."""
    rng = np.random.default_rng([seed, 7])
    image = painting.filled(128, 256, rng.uniform(0.25, 0.95, 3).tolist())
    for _ in range(5):
        center = (int(rng.integers(256)), int(rng.integers(128)))
        color = rng.uniform(0.1, 1.0, 3).tolist()
        cv2.circle(image, center, int(rng.integers(12, 44)), color, -1, cv2.LINE_AA)
    band = int(rng.integers(10, 76))
    ink, paper = (
        ((0.97, 0.96, 0.9), (0.1, 0.1, 0.12)) if rng.random() < 0.5 else ((0.1, 0.1, 0.12), (0.97, 0.96, 0.9))
    )
    painting.rectangle(image, 0, band, 256, band + 44, paper)
    painting.write(image, str(rng.choice(_WORDS)), 14, band + 6, 242, band + 40, ink)
    return painting.to_bytes(image)


class _Facade:
    """Paints openings onto a wall, in metres from its lower left corner."""

    def __init__(
        self,
        image: Image,
        bright: Image,
        building: Building,
        density: float,
        condition: Condition,
        rng: np.random.Generator,
        glow_rng: np.random.Generator,
    ) -> None:
        self._image, self._bright = image, bright
        self._building, self._density, self._condition = building, density, condition
        self._rng, self._glow_rng = rng, glow_rng

    def paint(self) -> None:
        building, rng = self._building, self._rng
        pattern = self._pattern()
        floors = max(1, int(building.height / FLOOR_M))
        first = self._ground_floor(pattern)
        for floor in range(first, floors):
            base = floor * FLOOR_M + (FLOOR_M - pattern.height) * 0.45
            count = max(1, int(building.width / pattern.spacing))
            margin = (building.width - count * pattern.spacing) / 2
            for column in range(count):
                middle = margin + (column + 0.5) * pattern.spacing
                self._window(middle, base, pattern)
        if building.style not in ("glass", "panels"):
            ledge = [min(1.0, value * 1.15 + 0.05) for value in building.wall]
            self._rectangle(0, building.height - 0.35, building.width, building.height, ledge)
            self._rectangle(
                0, building.height - 0.42, building.width, building.height - 0.35, (0.2, 0.2, 0.2)
            )
        if building.landmark == "clock":
            self._clock()
        if rng.random() < 0.12 and building.style in ("brick", "warehouse", "panels"):
            self._mural()

    def _pattern(self) -> _Pattern:
        rng, style = self._rng, self._building.style
        frames: tuple[Color, ...] = (
            (0.95, 0.95, 0.93),
            (0.22, 0.20, 0.20),
            (0.35, 0.22, 0.14),
            (0.18, 0.32, 0.26),
        )
        frame = frames[int(rng.integers(len(frames)))]
        shutter = _SIGNS[int(rng.integers(len(_SIGNS)))] if style == "stucco" and rng.random() < 0.8 else None
        if style == "glass":
            return _Pattern(1.35, 1.22, 2.7, (0.75, 0.78, 0.80), False, None, False)
        if style == "panels":
            return _Pattern(
                3.2, float(rng.uniform(1.6, 2.4)), 1.5, frame, False, None, bool(rng.random() < 0.6)
            )
        if style == "warehouse":
            return _Pattern(2.9, 1.9, 2.1, (0.20, 0.22, 0.22), True, None, False)
        if style == "stone":
            return _Pattern(2.3, 0.95, 2.1, (0.55, 0.52, 0.46), True, None, False)
        if style == "deco":
            return _Pattern(3.0, 2.1, 1.4, (0.15, 0.25, 0.30), False, None, False)
        spacing = float(rng.uniform(1.9, 2.7))
        height, balcony = float(rng.uniform(1.4, 1.9)), bool(rng.random() < 0.3)
        return _Pattern(spacing, spacing * 0.46, height, frame, bool(rng.random() < 0.25), shutter, balcony)

    def _ground_floor(self, pattern: _Pattern) -> int:
        """Paint a shop or a door; return the first floor that has windows of the pattern."""
        building, rng = self._building, self._rng
        if building.landmark or building.style == "glass" or rng.random() < 0.35:
            middle = building.width * float(rng.uniform(0.2, 0.8))
            color = _SIGNS[int(rng.integers(len(_SIGNS)))]
            self._rectangle(middle - 0.75, 0, middle + 0.75, 2.6, (0.85, 0.83, 0.78))
            self._rectangle(middle - 0.55, 0, middle + 0.55, 2.2, color)
            self._rectangle(middle - 0.55, 2.2, middle + 0.55, 2.5, (0.3, 0.36, 0.42))
            base = (FLOOR_M - pattern.height) * 0.45
            for side in np.arange(pattern.spacing, building.width, pattern.spacing):
                for place in (middle - side, middle + side):
                    if pattern.width * 0.6 < place < building.width - pattern.width * 0.6:
                        self._window(place, base, pattern)
            return 1
        self._shop()
        return 1

    def _shop(self) -> None:
        building, rng = self._building, self._rng
        color = _SIGNS[int(rng.integers(len(_SIGNS)))]
        ink: Color = (0.95, 0.92, 0.82) if sum(color) < 1.6 else (0.15, 0.12, 0.12)
        self._rectangle(0.25, 0, building.width - 0.25, 3.0, [value * 0.8 for value in color])
        door = building.width * float(rng.choice([0.12, 0.5, 0.85]))
        panes = max(2, round(building.width / 2.2))
        edges = np.linspace(0.5, building.width - 0.5, panes + 1)
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            self._glass(left + 0.07, 0.55, right - 0.07, 2.25, 0.75)
        self._rectangle(door - 0.55, 0, door + 0.55, 2.25, [value * 0.5 for value in color])
        self._glass(door - 0.4, 0.3, door + 0.4, 2.1, 0.75)
        self._rectangle(0.3, 2.35, building.width - 0.3, 2.98, color)
        word = str(rng.choice(_WORDS))
        reach = min(building.width * 0.45, 0.26 * len(word))
        box = self._box(building.width / 2 - reach, 2.43, building.width / 2 + reach, 2.9)
        painting.write(self._image, word, *box, ink)
        if rng.random() < 0.5:
            pale: Color = (0.95, 0.94, 0.90)
            for index, left in enumerate(np.arange(0.4, building.width - 0.6, 0.4)):
                self._rectangle(left, 1.85, left + 0.4, 2.35, color if index % 2 else pale)

    def _window(self, middle: float, base: float, pattern: _Pattern) -> None:
        left, right, top = middle - pattern.width / 2, middle + pattern.width / 2, base + pattern.height
        if pattern.shutters is not None:
            for edge in (left - pattern.width * 0.42, right + 0.06):
                self._rectangle(edge, base, edge + pattern.width * 0.36, top, pattern.shutters)
        self._rectangle(left - 0.1, base - 0.1, right + 0.1, top + 0.1, pattern.frame)
        lit = self._glow_rng.random() < self._condition.window_glow
        self._glass(left, base, right, top, 1.0 if lit else 0.0)
        if pattern.arched:
            self._arch(left, right, top, pattern.frame)
        bar = 0.035 if self._building.style != "warehouse" else 0.05
        self._rectangle(middle - bar, base, middle + bar, top, pattern.frame)
        self._rectangle(
            left, base + pattern.height * 0.6, right, base + pattern.height * 0.6 + 2 * bar, pattern.frame
        )
        if self._condition.snow > 0.3:
            self._rectangle(left - 0.14, base - 0.1, right + 0.14, base + 0.08, (0.96, 0.97, 0.98))
        if pattern.balcony:
            self._rectangle(left - 0.3, base - 0.12, right + 0.3, base, (0.5, 0.5, 0.5))
            for rail in np.arange(left - 0.3, right + 0.3, 0.14):
                self._rectangle(rail, base, rail + 0.05, base + 0.75, (0.18, 0.18, 0.2))

    def _glass(self, left: float, base: float, right: float, top: float, lit_share: float) -> None:
        """Fill with a pane: the sky's reflection by day, a lamp's light where it is lit."""
        condition = self._condition
        lit = lit_share > 0 and condition.window_glow > 0 and self._glow_rng.random() < lit_share
        first, upper, last, lower = (round(value) for value in self._box(left, base, right, top))
        pane = self._image[max(upper, 0) : max(lower, 0), max(first, 0) : max(last, 0)]
        if not pane.size:
            return
        if lit:
            pane[:] = np.array(_GLOW) * self._glow_rng.uniform(0.8, 1.0)
            self._bright[max(upper, 0) : max(lower, 0), max(first, 0) : max(last, 0)] = 1.0
            return
        sky = np.array(condition.horizon, dtype=np.float32) * 0.45
        dark = np.array((0.10, 0.13, 0.17), dtype=np.float32)
        share = np.linspace(self._rng.uniform(0.5, 0.9), 0.05, pane.shape[0], dtype=np.float32)[:, None, None]
        pane[:] = sky * share + dark * (1 - share)

    def _arch(self, left: float, right: float, top: float, frame: Color) -> None:
        center = (
            round((left + right) / 2 * self._density),
            round((self._building.height - top) * self._density),
        )
        radius = round((right - left) / 2 * self._density)
        cv2.ellipse(self._image, center, (radius + 2, radius), 0, 180, 360, frame, -1, cv2.LINE_AA)
        inner = max(1, radius - round(0.08 * self._density))
        cv2.ellipse(self._image, center, (inner, inner), 0, 180, 360, (0.16, 0.2, 0.25), -1, cv2.LINE_AA)

    def _clock(self) -> None:
        center = (round(self._building.width / 2 * self._density), round(2.6 * self._density))
        radius = round(1.9 * self._density)
        cv2.circle(self._image, center, radius, (0.15, 0.15, 0.15), -1, cv2.LINE_AA)
        cv2.circle(self._image, center, round(radius * 0.9), (0.96, 0.95, 0.88), -1, cv2.LINE_AA)
        for tip in ((0.1, -0.75), (0.5, 0.25)):
            end = (center[0] + round(tip[0] * radius), center[1] + round(tip[1] * radius))
            cv2.line(
                self._image, center, end, (0.1, 0.1, 0.1), max(1, round(0.16 * self._density)), cv2.LINE_AA
            )

    def _mural(self) -> None:
        rng, building = self._rng, self._building
        for _ in range(7):
            color = [float(value) for value in rng.uniform(0.1, 0.95, 3)]
            x, y = rng.uniform(0.2, 0.8) * building.width, rng.uniform(0.3, 0.8) * building.height
            center = (round(x * self._density), round((building.height - y) * self._density))
            cv2.circle(
                self._image, center, round(rng.uniform(0.4, 1.2) * self._density), color, -1, cv2.LINE_AA
            )

    def _rectangle(self, left: float, base: float, right: float, top: float, color: Sequence[float]) -> None:
        painting.rectangle(self._image, *self._box(left, base, right, top), color)

    def _box(self, left: float, base: float, right: float, top: float) -> tuple[float, float, float, float]:
        """Return a rectangle in metres as left, top, right, bottom in pixels."""
        height = self._building.height
        return (
            left * self._density,
            (height - top) * self._density,
            right * self._density,
            (height - base) * self._density,
        )
