"""What stands in a block of streets, as data."""

from __future__ import annotations

from dataclasses import dataclass

from hyperpose_core.simulation.conditions import Color
from hyperpose_core.simulation.loop import Loop

ROAD_HALF_WIDTH_M = 5.0
PAVEMENT_WIDTH_M = 3.4
CORNER_RADIUS_M = 10.0
FLOOR_M = 3.1

STYLES = ("brick", "stucco", "stone", "timber", "panels", "glass", "deco", "warehouse")
LANDMARKS = ("church", "clock", "office", "chimney")

_MARGIN_M = 42.0


@dataclass(frozen=True)
class Building:
    """A house: a box with a roof. Metres and radians in the town frame.

    Attributes:
        x, y: middle of its ground plan.
        heading: direction along its front, the front being to the right of it.
        width: along the front.
        depth: across the front.
        height: of the walls.
        roof: "flat", "gable" or "pyramid".
        roof_height: above the walls.
        style: one of STYLES.
        wall: colour of the walls.
        roof_color: colour of the roof.
        seed: of its facade.
        landmark: one of LANDMARKS, or empty.
    """

    x: float
    y: float
    heading: float
    width: float
    depth: float
    height: float
    roof: str
    roof_height: float
    style: str
    wall: Color
    roof_color: Color
    seed: int
    landmark: str = ""


@dataclass(frozen=True)
class Tree:
    """A tree: metres in the town frame; `kind` 0..1 picks its colour, `conifer` its shape."""

    x: float
    y: float
    height: float
    crown_radius: float
    kind: float
    conifer: bool
    seed: int


@dataclass(frozen=True)
class Car:
    """A parked car: metres and radians in the town frame; `van` makes it taller."""

    x: float
    y: float
    heading: float
    color: Color
    van: bool


@dataclass(frozen=True)
class Furniture:
    """A thing on the pavement: `kind` is "lamp", "sign", "postbox", "bench", "kiosk" or "hoarding"."""

    kind: str
    x: float
    y: float
    heading: float
    color: Color


@dataclass(frozen=True)
class Town:
    """A block of streets around the origin of the town frame (x east, y north, z up, metres)."""

    seed: int
    loop: Loop
    buildings: tuple[Building, ...]
    trees: tuple[Tree, ...]
    cars: tuple[Car, ...]
    furniture: tuple[Furniture, ...]

    @property
    def half_x(self) -> float:
        """Half of the painted ground's size along x, metres."""
        return self.loop.length / 2 + _MARGIN_M

    @property
    def half_y(self) -> float:
        """Half of the painted ground's size along y, metres."""
        return self.loop.width / 2 + _MARGIN_M
