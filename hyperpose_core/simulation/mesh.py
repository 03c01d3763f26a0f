"""Triangles with texture coordinates, gathered by texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Vector = tuple[float, float, float]

PLAIN = "plain"


@dataclass(frozen=True, eq=False)
class Surface:
    """A patch of triangles of one texture, in the town frame (x east, y north, z up).

    Attributes:
        texture: name of its texture.
        positions: corners [N, 3], metres.
        normals: unit normals [N, 3].
        texture_coordinates: [N, 2]; (0, 0) is the texture's lower left corner.
        albedo: colours [N, 3] in 0..1 that the texture is multiplied with.
        triangles: indices [M, 3], counter-clockwise seen from outside.
        shaded: whether shadows fall on it.
    """

    texture: str
    positions: Array
    normals: Array
    texture_coordinates: Array
    albedo: Array
    triangles: npt.NDArray[np.int32]
    shaded: bool = True


class MeshBuilder:
    """Gathers surfaces; what it makes of boxes, walls, roofs and blobs is in `surfaces`."""

    def __init__(self) -> None:
        """Start empty."""
        self.surfaces: list[Surface] = []

    def add(
        self,
        texture: str,
        positions: npt.ArrayLike,
        texture_coordinates: npt.ArrayLike,
        triangles: npt.ArrayLike,
        albedo: npt.ArrayLike = (1.0, 1.0, 1.0),
        normals: npt.ArrayLike | None = None,
        shaded: bool = True,
    ) -> None:
        """Add triangles; without normals the first triangle's normal stands for all corners."""
        corners = np.asarray(positions, dtype=np.float64)
        indices = np.asarray(triangles, dtype=np.int32)
        if normals is None:
            a, b, c = corners[indices[0]]
            flat = np.cross(b - a, c - a)
            normals = flat / np.linalg.norm(flat)
        self.surfaces.append(
            Surface(
                texture,
                corners,
                np.broadcast_to(np.asarray(normals, dtype=np.float64), corners.shape),
                np.asarray(texture_coordinates, dtype=np.float64),
                np.broadcast_to(np.asarray(albedo, dtype=np.float64), corners.shape),
                indices,
                shaded,
            )
        )

    def add_panel(
        self,
        texture: str,
        origin: npt.ArrayLike,
        along: npt.ArrayLike,
        up: npt.ArrayLike,
        repeat: tuple[float, float] = (1.0, 1.0),
        albedo: npt.ArrayLike = (1.0, 1.0, 1.0),
        cell: float = 2.5,
    ) -> None:
        """Add a parallelogram, seen from the side that along x up points to.

        Args:
            texture: name of the texture.
            origin: lower left corner, metres.
            along: its lower edge, metres.
            up: its left edge, metres.
            repeat: how often the texture fits along each edge.
            albedo: colour.
            cell: the panel is cut into cells of about this size, metres, so that light can vary over it.
        """
        start, first, second = (np.asarray(vector, dtype=np.float64) for vector in (origin, along, up))
        columns = max(1, round(float(np.linalg.norm(first)) / cell))
        rows = max(1, round(float(np.linalg.norm(second)) / cell))
        u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
        u, v = u.reshape(-1, 1), v.reshape(-1, 1)
        corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).reshape(-1, 1)
        quads = corner + np.array([0, 1, columns + 2, 0, columns + 2, columns + 1])
        coordinates = np.hstack([u * repeat[0], v * repeat[1]])
        self.add(texture, start + u * first + v * second, coordinates, quads.reshape(-1, 3), albedo)

    def add_polygon(
        self, texture: str, corners: npt.ArrayLike, albedo: npt.ArrayLike, repeat: float = 0.25
    ) -> None:
        """Add a flat convex polygon, counter-clockwise seen from outside, `repeat` textures a metre."""
        points = np.asarray(corners, dtype=np.float64)
        first = points[1] - points[0]
        first = first / np.linalg.norm(first)
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        second = np.cross(normal / np.linalg.norm(normal), first)
        coordinates = np.stack([(points - points[0]) @ first, (points - points[0]) @ second], axis=1) * repeat
        fan = [[0, k, k + 1] for k in range(1, len(points) - 1)]
        self.add(texture, points, coordinates, fan, albedo)

    def add_box(
        self,
        center: npt.ArrayLike,
        size: Vector,
        heading: float = 0.0,
        albedo: npt.ArrayLike = (1.0, 1.0, 1.0),
        texture: str = PLAIN,
        top: float = 1.0,
    ) -> None:
        """Add a box without its bottom.

        Args:
            center: middle of its bottom face, metres.
            size: along its heading, across it, and height, metres.
            heading: radians, counter-clockwise from x.
            albedo: colour.
            texture: name of the texture.
            top: size of the top face relative to the bottom; 0 makes a pyramid.
        """
        bottom = _rectangle(np.asarray(center, dtype=np.float64), size, heading, 1.0, 0.0)
        upper = _rectangle(np.asarray(center, dtype=np.float64), size, heading, max(top, 1e-3), size[2])
        for k in range(4):
            after = (k + 1) % 4
            self.add_polygon(texture, [bottom[k], bottom[after], upper[after], upper[k]], albedo)
        self.add_polygon(texture, upper, albedo)

    def add_blob(
        self,
        texture: str,
        center: npt.ArrayLike,
        radii: Vector,
        albedo: npt.ArrayLike,
        rng: np.random.Generator,
    ) -> None:
        """Add a lumpy ellipsoid, such as the crown of a tree."""
        rings, segments = 6, 9
        polar, azimuth = np.meshgrid(
            np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, segments + 1)
        )
        lumps = rng.uniform(0.78, 1.12, polar.shape)
        lumps[-1] = lumps[0]
        lumps[:, [0, -1]] = 1.0
        unit = np.stack(
            [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1
        )
        points = np.asarray(center, dtype=np.float64) + unit * lumps[..., None] * np.asarray(radii)
        corner = (np.arange(segments)[:, None] * (rings + 1) + np.arange(rings)).reshape(-1, 1)
        quads = corner + np.array([0, 1, rings + 2, 0, rings + 2, rings + 1])
        coordinates = np.stack([azimuth / np.pi * 2.0, polar / np.pi * 2.0], axis=-1).reshape(-1, 2)
        self.add(
            texture,
            points.reshape(-1, 3),
            coordinates,
            quads.reshape(-1, 3),
            albedo,
            unit.reshape(-1, 3),
            False,
        )

    def add_cylinder(
        self,
        base: npt.ArrayLike,
        radius: float,
        height: float,
        albedo: npt.ArrayLike,
        top: float = 1.0,
        sides: int = 6,
        texture: str = PLAIN,
    ) -> None:
        """Add an upright cylinder without its bottom; `top` is the upper radius relative to the lower."""
        foot = np.asarray(base, dtype=np.float64)
        angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        circle = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides)], axis=1) * radius
        head = foot + circle * max(top, 1e-3) + np.array([0.0, 0.0, height])
        for k in range(sides):
            after = (k + 1) % sides
            self.add_polygon(texture, [foot + circle[k], foot + circle[after], head[after], head[k]], albedo)
        self.add_polygon(texture, head, albedo)


def _rectangle(center: Array, size: Vector, heading: float, scale: float, height: float) -> Array:
    forwards = np.array([np.cos(heading), np.sin(heading), 0.0]) * size[0] / 2 * scale
    left = np.array([-np.sin(heading), np.cos(heading), 0.0]) * size[1] / 2 * scale
    middle = center + np.array([0.0, 0.0, height])
    return np.stack(
        [
            middle - forwards - left,
            middle + forwards - left,
            middle + forwards + left,
            middle - forwards + left,
        ]
    )
