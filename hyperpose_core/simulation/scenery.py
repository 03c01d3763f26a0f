"""Turns a town on one day into lit triangles and textures: everything that a renderer needs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.simulation.conditions import Color, Condition
from hyperpose_core.simulation.facades import paint_facade, paint_poster
from hyperpose_core.simulation.ground import paint_ground
from hyperpose_core.simulation.lighting import Lighting
from hyperpose_core.simulation.materials import paint_leaves, paint_roof
from hyperpose_core.simulation.mesh import PLAIN, MeshBuilder, Surface
from hyperpose_core.simulation.sky import paint_sky
from hyperpose_core.simulation.town import Building, Car, Furniture, Town, Tree

Array = npt.NDArray[np.float64]
Texture = npt.NDArray[np.uint8]

_TILE_PIXELS = 512
_TYRE: Color = (0.10, 0.10, 0.11)
_PANE: Color = (0.16, 0.19, 0.23)
_METAL: Color = (0.28, 0.30, 0.31)


@dataclass(frozen=True, eq=False)
class Scenery:
    """What can be seen on one day.

    Attributes:
        surfaces: triangles of the town, in the town frame.
        colors: their corners' colours in 0..1, light included, one array [N, 3] a surface.
        textures: images by name, RGB uint8, row 0 on top.
        sky: panorama, as `paint_sky` gives it.
    """

    surfaces: tuple[Surface, ...]
    colors: tuple[Array, ...]
    textures: dict[str, Texture]
    sky: Texture


def build_scenery(town: Town, condition: Condition, run_seed: int, texture_scale: float) -> Scenery:
    """Build a town with its parked cars in the light and season of a condition."""
    lighting = Lighting(town, condition)
    builder = MeshBuilder()
    textures = {
        PLAIN: np.full((8, 8, 3), 255, dtype=np.uint8),
        "roof": paint_roof(),
        "leaf": paint_leaves(town.seed),
    }
    for number, building in enumerate(town.buildings):
        name = f"facade/{number}"
        textures[name] = paint_facade(building, condition, texture_scale)
        _add_building(builder, name, building)
    for tree in town.trees:
        _add_tree(builder, tree, condition)
    for car in town.cars:
        _add_car(builder, car)
    for number, thing in enumerate(town.furniture):
        name = f"poster/{number}"
        if thing.kind == "hoarding":
            textures[name] = paint_poster(town.seed * 1000 + number)
        _add_furniture(builder, name, thing)
    surfaces = list(builder.surfaces)
    colors = lighting.colors(surfaces)
    for surface, image in _ground(town, paint_ground(town, condition, lighting, run_seed, texture_scale)):
        surfaces.append(surface)
        colors.append(surface.albedo)
        textures[surface.texture] = image
    return Scenery(tuple(surfaces), tuple(colors), textures, paint_sky(town.seed, condition, run_seed))


def _add_building(builder: MeshBuilder, texture: str, building: Building) -> None:
    forwards = np.array([np.cos(building.heading), np.sin(building.heading), 0.0])
    left = np.array([-forwards[1], forwards[0], 0.0])
    center = np.array([building.x, building.y, 0.0])
    up = np.array([0.0, 0.0, building.height])
    for along, outwards, width, reach in (
        (forwards, -left, building.width, building.depth),
        (left, forwards, building.depth, building.width),
        (-forwards, left, building.width, building.depth),
        (-left, -forwards, building.depth, building.width),
    ):
        origin = center - along * width / 2 + outwards * reach / 2
        builder.add_panel(texture, origin, along * width, up, (width / building.width, 1.0))
    _add_roof(builder, texture, building, center + up, forwards, left)
    if building.landmark == "chimney":
        builder.add_cylinder(center, 1.5, 27.0, (0.66, 0.36, 0.28), top=0.6, sides=10)
        builder.add_cylinder(center + [0, 0, 24.0], 1.15, 1.2, (0.92, 0.92, 0.90), sides=10)
    elif building.landmark == "office":
        builder.add_box(center + up, (3.0, 3.0, 2.0), building.heading, (0.4, 0.42, 0.44))
        builder.add_cylinder(center + up, 0.12, 8.0, (0.85, 0.2, 0.15))
    elif building.landmark == "church":
        builder.add_box(center + up, (3.4, 3.4, 7.0), building.heading, building.wall)
        builder.add_box(
            center + up + [0, 0, 7.0], (3.6, 3.6, 8.0), building.heading, building.roof_color, top=0.0
        )


def _add_roof(
    builder: MeshBuilder, texture: str, building: Building, top: Array, forwards: Array, left: Array
) -> None:
    width, depth, peak = building.width, building.depth, np.array([0.0, 0.0, building.roof_height])
    if building.roof == "flat":
        builder.add_box(top, (width, depth, 0.5), building.heading, (0.55, 0.55, 0.56))
        return
    if building.roof == "pyramid":
        size = (width + 0.5, depth + 0.5, building.roof_height)
        builder.add_box(top, size, building.heading, building.roof_color, "roof", top=0.02)
        return
    half, eaves = forwards * (width / 2 + 0.15), left * (depth / 2 + 0.35)
    ridge = top + peak
    builder.add_polygon(
        "roof", [top - half - eaves, top + half - eaves, ridge + half, ridge - half], building.roof_color
    )
    builder.add_polygon(
        "roof", [top + half + eaves, top - half + eaves, ridge - half, ridge + half], building.roof_color
    )
    for sign in (1.0, -1.0):
        end = top + sign * forwards * width / 2
        gable = [end - sign * left * depth / 2, end + sign * left * depth / 2, end + peak]
        builder.add_polygon(PLAIN, gable, [value * 0.85 for value in building.wall])
    if building.seed % 3:
        stack = top + forwards * width * 0.3 + peak * 0.45
        builder.add_box(
            stack, (0.8, 0.8, 0.6 * building.roof_height + 1.0), building.heading, (0.55, 0.34, 0.27)
        )


def _add_tree(builder: MeshBuilder, tree: Tree, condition: Condition) -> None:
    rng = np.random.default_rng([tree.seed, 31])
    foot = np.array([tree.x, tree.y, 0.0])
    trunk = tree.height * (0.2 if tree.conifer else 0.45)
    builder.add_cylinder(foot, 0.06 + tree.height * 0.022, trunk + 0.4, (0.36, 0.27, 0.20), top=0.7)
    if tree.conifer:
        for layer in range(3):
            base = trunk * 0.6 + layer * (tree.height - trunk) * 0.28
            height = (tree.height - trunk) * 0.52
            color = (0.16, 0.30 + 0.06 * layer, 0.19)
            center = foot + [0.0, 0.0, base]
            builder.add_cylinder(
                center, tree.crown_radius * (1.15 - 0.28 * layer), height, color, 0.05, 8, "leaf"
            )
        return
    color = condition.leaves[int(tree.kind * len(condition.leaves))]
    radius = tree.crown_radius * (1.0 if condition.snow == 0 else 0.85)
    for number in range(4):
        angle = 2 * np.pi * (number / 3 + tree.kind)
        reach = 0.0 if number == 3 else 0.5 * radius
        height = tree.height - radius * (0.75 if number == 3 else 1.25)
        center = foot + [np.cos(angle) * reach, np.sin(angle) * reach, height]
        size = float(radius * rng.uniform(0.62, 0.82))
        tone = rng.uniform(0.88, 1.08)
        builder.add_blob("leaf", center, (size, size, size * 0.95), [value * tone for value in color], rng)


def _add_car(builder: MeshBuilder, car: Car) -> None:
    forwards = np.array([np.cos(car.heading), np.sin(car.heading), 0.0])
    left = np.array([-forwards[1], forwards[0], 0.0])
    foot = np.array([car.x, car.y, 0.0])
    length, height = (4.9, 1.05) if car.van else (4.2, 0.55)
    builder.add_box(foot + [0, 0, 0.3], (length, 1.75, height), car.heading, car.color, top=0.97)
    shoulder = 0.3 + height
    back = foot - forwards * (0.25 if not car.van else 0.35) + [0, 0, shoulder]
    cabin = (length * (0.62 if not car.van else 0.82), 1.66, 0.6 if not car.van else 0.75)
    builder.add_box(back, cabin, car.heading, _PANE, top=0.72 if not car.van else 0.9)
    roof = (cabin[0] * (0.73 if not car.van else 0.9), 1.22 if not car.van else 1.5, 0.07)
    builder.add_box(back + [0, 0, cabin[2]], roof, car.heading, car.color)
    for place in (-0.31, 0.31):
        builder.add_box(foot + forwards * place * length, (0.62, 1.79, 0.6), car.heading, _TYRE, top=0.9)
    for sign, color in ((1.0, (0.95, 0.95, 0.85)), (-1.0, (0.75, 0.10, 0.08))):
        for side in (-0.62, 0.62):
            spot = foot + sign * forwards * (length / 2 - 0.03) + left * side + [0, 0, 0.58]
            builder.add_box(spot, (0.1, 0.34, 0.16), car.heading, color)
    plate = (0.95, 0.85, 0.2)
    builder.add_box(
        foot - forwards * (length / 2 - 0.02) + [0, 0, 0.42], (0.08, 0.5, 0.12), car.heading, plate
    )


def _add_furniture(builder: MeshBuilder, poster: str, thing: Furniture) -> None:
    foot = np.array([thing.x, thing.y, 0.0])
    forwards = np.array([np.cos(thing.heading), np.sin(thing.heading), 0.0])
    left = np.array([-forwards[1], forwards[0], 0.0])
    if thing.kind == "lamp":
        builder.add_cylinder(foot, 0.09, 6.0, _METAL, top=0.7)
        builder.add_box(foot - left * 0.7 + [0, 0, 5.95], (0.25, 1.5, 0.14), thing.heading, _METAL)
    elif thing.kind == "sign":
        builder.add_cylinder(foot, 0.05, 2.9, _METAL)
        builder.add_box(foot + [0, 0, 2.1], (0.75, 0.75, 0.75), thing.heading + np.pi / 4, thing.color)
    elif thing.kind == "postbox":
        builder.add_cylinder(foot, 0.3, 1.5, (0.78, 0.08, 0.08), sides=8)
    elif thing.kind == "bench":
        builder.add_box(foot, (1.8, 0.5, 0.45), thing.heading, (0.45, 0.30, 0.18))
        builder.add_box(foot + left * 0.25, (1.8, 0.08, 0.95), thing.heading, (0.45, 0.30, 0.18))
    elif thing.kind == "kiosk":
        builder.add_box(foot, (2.2, 1.5, 2.4), thing.heading, thing.color)
        builder.add_box(foot + [0, 0, 2.4], (2.6, 1.9, 0.9), thing.heading, _METAL, top=0.1)
    else:
        for side in (-1.0, 1.0):
            builder.add_cylinder(foot + forwards * side, 0.06, 1.0, _METAL)
        builder.add_box(foot + [0, 0, 0.8], (2.9, 0.14, 1.6), thing.heading, thing.color)
        for sign in (1.0, -1.0):
            corner = foot - sign * (forwards * 1.35 + left * 0.09) + [0, 0, 0.9]
            builder.add_panel(poster, corner, sign * forwards * 2.7, (0.0, 0.0, 1.4))


def _ground(town: Town, image: Texture) -> list[tuple[Surface, Texture]]:
    """Cut the painted ground into tiles, and surround it with a plain of its mean colour."""
    rows, columns = image.shape[:2]
    density = columns / (2 * town.half_x)
    builder, tiles = MeshBuilder(), {}
    # Neighbours share a texel, or the renderer leaves cracks between them.
    for top in range(0, rows - 1, _TILE_PIXELS - 1):
        for left in range(0, columns - 1, _TILE_PIXELS - 1):
            part = image[top : top + _TILE_PIXELS, left : left + _TILE_PIXELS]
            height, width = part.shape[:2]
            missing = (0, _TILE_PIXELS - height, 0, _TILE_PIXELS - width)
            name = f"ground/{top}/{left}"
            tiles[name] = np.asarray(cv2.copyMakeBorder(part, *missing, cv2.BORDER_REPLICATE), dtype=np.uint8)
            west, south = left / density - town.half_x, town.half_y - (top + height) / density
            east, north = west + width / density, south + height / density
            u, v = width / _TILE_PIXELS, 1.0 - height / _TILE_PIXELS
            corners = [[west, south, 0.0], [east, south, 0.0], [east, north, 0.0], [west, north, 0.0]]
            builder.add(name, corners, [[0, v], [u, v], [u, 1], [0, 1]], [[0, 1, 2], [0, 2, 3]])
    color = image[:: max(1, rows - 1)].reshape(-1, 3).mean(axis=0) / 255.0
    far, x, y = 600.0, town.half_x, town.half_y
    for west, south, east, north in (
        (-far, y, far, far),
        (-far, -far, far, -y),
        (-far, -y, -x, y),
        (x, -y, far, y),
    ):
        corners = [[west, south, 0.0], [east, south, 0.0], [east, north, 0.0], [west, north, 0.0]]
        builder.add("plain/ground", corners, np.zeros((4, 2)), [[0, 1, 2], [0, 2, 3]], color)
    tiles["plain/ground"] = np.full((8, 8, 3), 255, dtype=np.uint8)
    return [(surface, tiles[surface.texture]) for surface in builder.surfaces]
