"""A reconstruction from above and from the side: cameras over points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperpose_core.evaluation.plot_style import GROUPS, new_figure, style_axes
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.reconstruction.model import Model

_MOST_POINTS = 40_000
_SHOWN = (0.02, 0.98)  # quantiles of the points within the picture
_ARROW = 0.03  # of the picture's width


def plan_figure(model: Model, sources: Mapping[str, str], unit: str) -> Figure:
    """Draw the model from above and from the side; z is up.

    Args:
        model: where it is written.
        sources: of the images, by their names.
        unit: of the axes: "m", or what it is where that is not known.
    """
    figure = new_figure(9.0, 11.0)
    above, aside = figure.subplots(2, 1, height_ratios=(2.2, 1.0))
    _draw(above, model, sources, (0, 1), unit, "from above")
    _draw(aside, model, sources, (0, 2), unit, "from the side")
    above.legend(loc="best", frameon=False, fontsize=9)
    return figure


def _draw(
    axes: Axes, model: Model, sources: Mapping[str, str], plane: tuple[int, int], unit: str, title: str
) -> None:
    points = model.points[:: 1 + len(model.points) // _MOST_POINTS][:, plane]
    colours = model.colours[:: 1 + len(model.colours) // _MOST_POINTS] / 255.0
    low, high = _limits(points, model.centres()[:, plane])
    axes.scatter(points[:, 0], points[:, 1], s=1.5, c=colours, linewidths=0, rasterized=True)
    groups: dict[str, list[Pose]] = {}
    for name, pose in model.poses.items():
        groups.setdefault(sources[name], []).append(pose)
    for (source, poses), colour in zip(groups.items(), GROUPS * len(groups), strict=False):
        places = np.array([pose.position for pose in poses])[:, plane]
        ahead = np.array([pose.rotation()[:, 2] for pose in poses])[:, plane]
        axes.quiver(
            *places.T,
            *(ahead * _ARROW * float((high - low).max())).T,
            angles="xy",
            scale_units="xy",
            scale=1.0,
            width=0.0015,
            color=colour,
        )
        axes.scatter(
            places[:, 0],
            places[:, 1],
            s=7,
            color=colour,
            label=f"{source}: {len(poses)} images",
            linewidths=0,
        )
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal")
    axes.set_xlabel(f"{'xyz'[plane[0]]} ({unit})")
    axes.set_ylabel(f"{'xyz'[plane[1]]} ({unit})")
    style_axes(axes, title)


def _limits(points: Array, cameras: Array) -> tuple[Array, Array]:
    """Return corners [2] of a picture that shows all cameras and most points."""
    shown = np.concatenate([np.quantile(points, _SHOWN, axis=0), cameras]) if len(points) else cameras
    low, high = shown.min(axis=0), shown.max(axis=0)
    margin = 0.05 * float((high - low).max())
    return low - margin, high + margin
