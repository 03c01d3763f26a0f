"""Lays out a block of streets from a seed: the same in every run, but for some of the parked cars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hyperpose_core.simulation.conditions import Color
from hyperpose_core.simulation.loop import Loop
from hyperpose_core.simulation.town import (
    CORNER_RADIUS_M,
    FLOOR_M,
    LANDMARKS,
    PAVEMENT_WIDTH_M,
    ROAD_HALF_WIDTH_M,
    STYLES,
    Building,
    Car,
    Furniture,
    Town,
    Tree,
)

Array = npt.NDArray[np.float64]
Item = TypeVar("Item")

_STREET_HALF_WIDTH_M = ROAD_HALF_WIDTH_M + PAVEMENT_WIDTH_M
_RESIDENT_CARS = 0.45
_PARKED_CARS = 0.62

# In the order of the loop: neighbours are of a kind, as in a town whose quarters have their own character.
_WALL_COLORS: tuple[Color, ...] = (
    (0.68, 0.30, 0.24),
    (0.80, 0.46, 0.28),
    (0.90, 0.68, 0.36),
    (0.94, 0.86, 0.55),
    (0.72, 0.74, 0.42),
    (0.48, 0.62, 0.40),
    (0.38, 0.62, 0.56),
    (0.42, 0.66, 0.76),
    (0.36, 0.46, 0.66),
    (0.50, 0.44, 0.62),
    (0.72, 0.54, 0.70),
    (0.86, 0.60, 0.60),
)
_PALE_WALLS: tuple[Color, ...] = ((0.90, 0.89, 0.84), (0.78, 0.73, 0.62), (0.62, 0.63, 0.64))
_PALE_SHARE = 0.2
_CAR_COLORS: tuple[Color, ...] = (
    (0.75, 0.12, 0.10),
    (0.12, 0.25, 0.60),
    (0.90, 0.90, 0.90),
    (0.15, 0.15, 0.17),
    (0.62, 0.64, 0.66),
    (0.90, 0.75, 0.15),
    (0.15, 0.42, 0.25),
    (0.45, 0.75, 0.82),
)


def build_town(seed: int, length_m: float, width_m: float) -> Town:
    """Lay out a town around a loop of the given sides, metres, without its visiting cars."""
    rng = np.random.default_rng([seed, 1])
    loop = Loop(length_m, width_m, CORNER_RADIUS_M)
    rows = [*_row(loop, rng, outer=True), *_row(loop, rng, outer=False)]
    buildings = [lot for lot in rows if isinstance(lot, Building)]
    park_trees = [lot for lot in rows if isinstance(lot, Tree)]
    buildings += _landmarks(loop, rng) + _back_row(loop, rng)
    trees = park_trees + _street_trees(loop, rng)
    return Town(seed, loop, tuple(buildings), tuple(trees), (), tuple(_furniture(loop, rng)))


def park_cars(town: Town, run_seed: int) -> Town:
    """Return the town with its parked cars: about half of them stay from run to run."""
    town_rng, run_rng = np.random.default_rng([town.seed, 2]), np.random.default_rng([town.seed, 3, run_seed])
    cars = []
    for side in (-1.0, 1.0):
        for way in np.arange(3.0, town.loop.perimeter - 3.0, 6.6):
            resident, color, van, shift = town_rng.random(4)
            visitor = run_rng.random(4)
            if float(town.loop.straightness(way, 3.0)[0]) < 1.0:
                continue
            if resident > _RESIDENT_CARS:
                color, van, shift = visitor[1:]
                if visitor[0] > (_PARKED_CARS - _RESIDENT_CARS) / (1.0 - _RESIDENT_CARS):
                    continue
            point, heading = town.loop.at(way + shift * 0.8, side * (ROAD_HALF_WIDTH_M - 1.05 + 0.15 * shift))
            turn = np.pi if side < 0 and color < 0.5 else 0.0
            paint = _CAR_COLORS[int(color * len(_CAR_COLORS))]
            cars.append(Car(point[0, 0], point[0, 1], float(heading[0]) + turn, paint, van > 0.82))
    return replace(town, cars=tuple(cars))


def _row(loop: Loop, rng: np.random.Generator, outer: bool) -> list[Building | Tree]:
    """Fill the lots along the four sides of the outer or the inner row."""
    lots: list[Building | Tree] = []
    styles = _shuffled_cycle(STYLES, rng)
    depth = 9.0 if outer else 7.5
    reach = _STREET_HALF_WIDTH_M if outer else -_STREET_HALF_WIDTH_M
    number = 0
    for side in range(4):
        heading = side * np.pi / 2
        forwards = np.array([np.cos(heading), np.sin(heading)])
        outwards = np.array([forwards[1], -forwards[0]])
        along, across = (loop.length, loop.width) if side % 2 == 0 else (loop.width, loop.length)
        half = along / 2 + reach - (0.0 if outer or side % 2 == 0 else depth)
        start = -half
        while half - start > 4.0:
            width = min(rng.uniform(7.0, 12.5), half - start)
            if half - start - width < 6.0:
                width = half - start
            middle, setback = start + width / 2, rng.uniform(0.0, 0.9)
            start += width
            number += 1
            face = across / 2 + reach + (setback if outer else -setback)
            is_park = outer and number % 6 == 4
            if is_park:
                for _ in range(4):
                    spot = forwards * (middle + rng.uniform(-0.4, 0.4) * width) + outwards * (
                        face + rng.uniform(2.0, 8.0)
                    )
                    lots.append(_tree(spot, rng, taller=1.25))
                continue
            center = forwards * middle + outwards * (face + (depth / 2 if outer else -depth / 2))
            facing = heading + (np.pi if outer else 0.0)
            wall = _quarter_color((side + 0.5 + middle / along) / 4.0, rng)
            lots.append(_house(center, facing, width - 0.05, depth, next(styles), wall, rng))
    return lots


def _quarter_color(lap: float, rng: np.random.Generator) -> Color:
    """Return a wall's colour for a place on the loop, `lap` being the share of the lap up to there."""
    if rng.random() < _PALE_SHARE:
        return _PALE_WALLS[int(rng.integers(len(_PALE_WALLS)))]
    count = len(_WALL_COLORS)
    return _WALL_COLORS[round(lap * count + rng.normal(0.0, 0.7)) % count]


def _house(
    center: Array,
    heading: float,
    width: float,
    depth: float,
    style: str,
    wall: Color,
    rng: np.random.Generator,
) -> Building:
    floors = int(rng.integers(2, 5)) if style not in ("glass", "panels") else int(rng.integers(3, 6))
    flat = style in ("panels", "glass", "deco") or rng.random() < 0.2
    shade = rng.uniform(0.85, 1.05)
    roofs: tuple[Color, ...] = (
        (0.55, 0.26, 0.20),
        (0.33, 0.35, 0.40),
        (0.45, 0.36, 0.30),
        (0.30, 0.42, 0.38),
    )
    return Building(
        x=float(center[0]),
        y=float(center[1]),
        heading=heading,
        width=width,
        depth=depth,
        height=floors * FLOOR_M + rng.uniform(0.2, 1.2),
        roof="flat" if flat else ("gable" if rng.random() < 0.8 else "pyramid"),
        roof_height=0.0 if flat else float(rng.uniform(1.8, 3.6)),
        style=style,
        wall=(min(1.0, wall[0] * shade), min(1.0, wall[1] * shade), min(1.0, wall[2] * shade)),
        roof_color=roofs[int(rng.integers(len(roofs)))],
        seed=int(rng.integers(1 << 30)),
    )


def _landmarks(loop: Loop, rng: np.random.Generator) -> list[Building]:
    """Put one landmark outside each corner, where it can be seen from two streets."""
    order = rng.permutation(len(LANDMARKS))
    found = []
    for corner, index in enumerate(order):
        sign = np.array([(1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)][corner])
        center = sign * (np.array([loop.length, loop.width]) / 2 + _STREET_HALF_WIDTH_M + 4.6)
        kind = LANDMARKS[int(index)]
        height = {"church": 13.0, "clock": 19.0, "office": 26.0, "chimney": 9.0}[kind]
        wall = {"church": (0.80, 0.76, 0.66), "clock": (0.70, 0.40, 0.32), "office": (0.45, 0.62, 0.72)}.get(
            kind, (0.62, 0.36, 0.28)
        )
        style = {"church": "stone", "clock": "brick", "office": "glass"}.get(kind, "warehouse")
        house = _house(center, corner * np.pi / 2, 8.6, 8.6, style, wall, rng)
        roof = "pyramid" if kind in ("church", "clock") else "flat"
        top = {"church": 11.0, "clock": 4.0}.get(kind, 0.0)
        found.append(replace(house, height=height, roof=roof, roof_height=top, landmark=kind))
    return found


def _back_row(loop: Loop, rng: np.random.Generator) -> list[Building]:
    """Raise taller houses behind the outer row, so that every street has a skyline of its own."""
    houses = []
    for side in range(4):
        heading = side * np.pi / 2
        forwards = np.array([np.cos(heading), np.sin(heading)])
        outwards = np.array([forwards[1], -forwards[0]])
        along, across = (loop.length, loop.width) if side % 2 == 0 else (loop.width, loop.length)
        for middle in np.arange(-along / 2 - 6.0, along / 2 + 7.0, 14.0):
            if rng.random() < 0.35:
                continue
            spot = forwards * (middle + rng.uniform(-2, 2)) + outwards * (
                across / 2 + 26.0 + rng.uniform(-1, 2)
            )
            color = _quarter_color((side + 0.5 + middle / along) / 4.0, rng)
            house = _house(spot, heading + np.pi, rng.uniform(8, 13), 9.0, "panels", color, rng)
            houses.append(replace(house, height=float(rng.uniform(11.0, 21.0))))
    return houses


def _street_trees(loop: Loop, rng: np.random.Generator) -> list[Tree]:
    trees = []
    for side in (-1.0, 1.0):
        way = float(rng.uniform(2.0, 8.0))
        while way < loop.perimeter - 4.0:
            spot, _ = loop.at(way, side * (ROAD_HALF_WIDTH_M + 0.9))
            if side > 0 or float(loop.straightness(way, 2.0)[0]) == 1.0:
                trees.append(_tree(spot[0], rng, taller=1.0))
            way += float(rng.choice([8.0, 11.0, 17.0, 26.0]) + rng.uniform(-1.5, 1.5))
    return trees


def _tree(spot: Array, rng: np.random.Generator, taller: float) -> Tree:
    height = float(rng.uniform(4.5, 7.5)) * taller
    conifer = bool(rng.random() < 0.22)
    radius = height * float(rng.uniform(0.22, 0.27))
    return Tree(
        float(spot[0]),
        float(spot[1]),
        height,
        radius,
        float(rng.random()),
        conifer,
        int(rng.integers(1 << 30)),
    )


def _furniture(loop: Loop, rng: np.random.Generator) -> list[Furniture]:
    things = []
    kinds = ("sign", "postbox", "bench", "kiosk", "hoarding", "sign")
    colors: tuple[Color, ...] = (
        (0.8, 0.1, 0.1),
        (0.1, 0.3, 0.7),
        (0.9, 0.8, 0.1),
        (0.1, 0.5, 0.3),
        (0.95, 0.95, 0.95),
    )
    for side in (-1.0, 1.0):
        for number, way in enumerate(np.arange(4.0, loop.perimeter - 4.0, 5.5)):
            lamp = number % 4 == (0 if side > 0 else 2)
            kind = "lamp" if lamp else str(rng.choice(kinds))
            color = colors[int(rng.integers(len(colors)))]
            keep = rng.random() < 0.4
            if not (lamp or keep):
                continue
            point, heading = loop.at(
                way + rng.uniform(-1.0, 1.0), side * (ROAD_HALF_WIDTH_M + (0.5 if lamp else 2.2))
            )
            facing = float(heading[0]) + (np.pi if side > 0 else 0.0)
            things.append(Furniture(kind, float(point[0, 0]), float(point[0, 1]), facing, color))
    return things


def _shuffled_cycle(values: Sequence[Item], rng: np.random.Generator) -> Iterator[Item]:
    """Yield the values in random order, over and over, each round shuffled anew."""
    while True:
        for index in rng.permutation(len(values)):
            yield values[int(index)]
