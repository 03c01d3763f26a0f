"""Where a robot was carried to, and how soon it was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.simulated_robot import Drive
from hyperpose_core.evaluation.plot_style import (
    ERROR_COLOURS,
    FAILURE,
    GROUPS,
    MUTED,
    new_figure,
    save_figure,
    style_axes,
)


class Found(Protocol):
    """What is drawn of a kidnap: see `kidnap.Outcome`."""

    kind: str
    position: tuple[float, float]
    found_s: float | None


def draw_kidnaps(path: Path, outcomes: Sequence[Found], drives: Sequence[Drive], longest_s: float) -> None:
    """Draw the places, coloured by the time that it took, beside the share found by then.

    Args:
        path: the PNG file.
        outcomes: what came of the kidnaps.
        drives: the runs that they happened on.
        longest_s: how long it may take.
    """
    figure = new_figure(11.0, 4.6)
    places, times = figure.subplots(1, 2)
    for drive in drives:
        line = np.array([body.position[:2] for body in drive.bodies])
        places.plot(*line.T, color=MUTED, linewidth=0.8)
    found = [entry for entry in outcomes if entry.found_s is not None]
    missed = np.array([entry.position for entry in outcomes if entry.found_s is None]).reshape(-1, 2)
    points = places.scatter(
        *np.array([entry.position for entry in found]).reshape(-1, 2).T,
        c=[entry.found_s for entry in found],
        cmap=ERROR_COLOURS,
        vmin=0.0,
        vmax=longest_s,
        zorder=3,
    )
    places.scatter(*missed.T, marker="x", color=FAILURE, zorder=3)
    places.set_aspect("equal")
    places.set_xlabel("x (m)")
    places.set_ylabel("y (m)")
    figure.colorbar(points, ax=places, label="seconds until it was found")
    style_axes(places, "Where the robot found itself")
    for colour, kind in zip(GROUPS, dict.fromkeys(entry.kind for entry in outcomes), strict=False):
        of_kind = [entry for entry in outcomes if entry.kind == kind]
        seconds = np.sort([np.inf if entry.found_s is None else entry.found_s for entry in of_kind])
        share = np.arange(1, len(seconds) + 1) / len(seconds)
        times.step([0.0, *seconds], [0.0, *share], where="post", color=colour, label=kind)
    times.axvline(longest_s, color=MUTED, linewidth=1.2)
    times.set_xlim(0.0, longest_s + 0.5)
    times.set_ylim(0.0, 1.02)
    times.set_xlabel("seconds since the first image")
    times.set_ylabel("share found")
    times.legend(frameon=False, loc="lower right")
    style_axes(times, "How soon others were told")
    save_figure(figure, path, 120)
