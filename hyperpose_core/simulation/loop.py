"""The centre line of a block of streets: a rectangle with round corners, driven counter-clockwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Loop:
    """A closed centre line around the town's origin, in the town frame (x east, y north, metres).

    Attributes:
        length: side along x, metres.
        width: side along y, metres.
        radius: of the corners, metres.
    """

    length: float
    width: float
    radius: float

    @property
    def perimeter(self) -> float:
        """Length of one lap, metres."""
        return float(self._segments().sum())

    @property
    def extent(self) -> float:
        """The longer side, metres."""
        return max(self.length, self.width)

    def at(self, distance: npt.ArrayLike, offset: npt.ArrayLike = 0.0) -> tuple[Array, Array]:
        """Return points [N, 2] and headings [N] (radians, counter-clockwise from x) along the line.

        Args:
            distance: way along the centre line from the start of the south side, metres [N]; it wraps around.
            offset: sideways distance from the centre line, metres, positive to the right, which is outwards.
        """
        segments = self._segments()
        ends = np.cumsum(segments)
        way = np.mod(np.atleast_1d(np.asarray(distance, dtype=np.float64)), ends[-1])
        index = np.minimum(np.searchsorted(ends, way, side="right"), len(ends) - 1)
        along = way - np.concatenate([[0.0], ends[:-1]])[index]
        side, is_arc = index // 2, index % 2 == 1
        heading = side * np.pi / 2 + np.where(is_arc, along / self.radius, 0.0)
        outwards = np.stack([np.sin(heading), -np.cos(heading)], axis=1)
        forwards = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        half_x, half_y = self.length / 2 - self.radius, self.width / 2 - self.radius
        start_corner = np.array([[-half_x, -half_y], [half_x, -half_y], [half_x, half_y], [-half_x, half_y]])
        corner = np.where(is_arc[:, None], start_corner[(side + 1) % 4], start_corner[side])
        reach = self.radius + np.broadcast_to(np.asarray(offset, dtype=np.float64), way.shape)
        points = corner + outwards * reach[:, None] + forwards * np.where(is_arc, 0.0, along)[:, None]
        return points, heading

    def offset_of(self, points: Array) -> Array:
        """Return the signed sideways distances [...] of points [..., 2], positive outside of the loop."""
        half = np.array([self.length / 2 - self.radius, self.width / 2 - self.radius])
        excess = np.abs(points) - half
        outside = np.linalg.norm(np.maximum(excess, 0.0), axis=-1)
        inside = np.minimum(excess.max(axis=-1), 0.0)
        return np.asarray(outside + inside - self.radius)

    def straightness(self, distance: npt.ArrayLike, reach: float = 8.0) -> Array:
        """Return 1 on the straights and down to 0 in the corners [N], changing over `reach` metres."""
        ahead = np.linspace(-reach, reach, 17)
        way = np.atleast_1d(np.asarray(distance, dtype=np.float64))[:, None] + ahead
        ends = np.cumsum(self._segments())
        index = np.searchsorted(ends, np.mod(way, ends[-1]), side="right")
        return np.asarray(np.mean(index % 2 == 0, axis=1))

    def _segments(self) -> Array:
        straight_x, straight_y = self.length - 2 * self.radius, self.width - 2 * self.radius
        arc = self.radius * np.pi / 2
        return np.array([straight_x, arc, straight_y, arc] * 2)
