"""Draws a map: its landmarks and the cameras that saw them, from above and from the side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperpose_core.evaluation.plot_style import FAILURE, GROUPS, INK, new_figure, style_axes
from hyperpose_core.geometry.alignment import upward
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.landmarks.landmark_map import LandmarkMap

Indices = npt.NDArray[np.int64]

_SHOWN_SHARE = 0.98  # of the landmarks; a few lie far out
_MOST_DOTS = 60_000
_WIDTH_INCHES = 7.0


def map_figure(content: LandmarkMap, queries: tuple[Pose, ...] = ()) -> Figure:
    """Draw one row a scene: from above on the left, from the side on the right.

    Args:
        content: the map.
        queries: camera-to-world poses to mark, such as that of a localised image; drawn in every scene.
    """
    figure = new_figure(2 * _WIDTH_INCHES, 5.0 * len(content.scenes))
    grid = figure.subplots(len(content.scenes), 2, squeeze=False)
    for scene, (above, side) in enumerate(grid):
        landmarks = content.landmarks.positions[content.landmarks.scenes == scene]
        images = np.flatnonzero(content.images.scenes == scene)
        axes = _axes_of_view(content, images)
        name = content.scenes[scene]
        _draw(above, landmarks, content, images, axes[:, [0, 1]], f"{name}: from above", queries)
        _draw(side, landmarks, content, images, axes[:, [0, 2]], f"{name}: from the side", queries)
    return figure


def _axes_of_view(content: LandmarkMap, images: Indices) -> Array:
    """Return unit vectors as columns: along the scene's longest horizontal extent, across, and up."""
    poses = [content.images.pose(int(index)) for index in images]
    up = np.array(content.world.up) if content.world.up is not None else upward(poses)
    up = up / max(float(np.linalg.norm(up)), 1e-9)
    levers = content.images.positions[images] - content.images.positions[images].mean(axis=0)
    level = levers - np.outer(levers @ up, up)
    along = np.linalg.svd(level, full_matrices=False)[2][0] if len(level) else np.eye(3)[0]
    along = along - (along @ up) * up
    if np.linalg.norm(along) < 1e-6:
        along = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    along = along / np.linalg.norm(along)
    return np.column_stack([along, np.cross(up, along), up])


def _draw(
    axes: Axes,
    landmarks: Array,
    content: LandmarkMap,
    images: Indices,
    plane: Array,
    title: str,
    queries: tuple[Pose, ...],
) -> None:
    dots = landmarks[:: 1 + len(landmarks) // _MOST_DOTS] @ plane
    cameras = content.images.positions[images] @ plane
    directions = np.array([content.images.pose(int(index)).rotation()[:, 2] for index in images]) @ plane
    axes.scatter(
        dots[:, 0],
        dots[:, 1],
        s=1.0,
        color=INK,
        alpha=0.35,
        linewidths=0,
        label=f"{len(landmarks):,} landmarks",
    )
    axes.quiver(
        *cameras.T, *directions.T, color=GROUPS[0], width=0.002, scale=40, label=f"{len(images)} cameras"
    )
    for query in queries:
        position, direction = query.position @ plane, query.rotation()[:, 2] @ plane
        axes.quiver(*position, *direction, color=FAILURE, width=0.005, scale=20, label="query")
    shown = np.concatenate([_quantiles(dots), cameras])
    low, high = shown.min(axis=0), shown.max(axis=0)
    margin = 0.05 * float(np.max(high - low)) + 1e-3
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    axes.set_aspect("equal")
    axes.set_xlabel("metres")
    style_axes(axes, title)
    axes.legend(loc="upper right", fontsize=8, framealpha=0.9)


def _quantiles(points: Array) -> Array:
    if not len(points):
        return np.zeros((0, 2))
    rest = (1.0 - _SHOWN_SHARE) / 2.0
    return np.quantile(points, [rest, 1.0 - rest], axis=0)
