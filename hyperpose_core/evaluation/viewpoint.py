"""The world's vertical, and what a plan view and a compass need from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperpose_core.evaluation.comparison import Comparison
from hyperpose_core.geometry.poses import quaternion_to_matrix

_SNAP_DEGREES = 35.0
_AXIS_NAMES = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class PlanView:
    """A view of the world from straight above.

    Attributes:
        up: (3,) unit vector of the world's vertical.
        axes: [2, 3] horizontal unit vectors, to the right and to the top of the picture; right x top = up.
        labels: what the two axes are called, such as ("x", "y").
    """

    up: NDArray[np.float64]
    axes: NDArray[np.float64]
    labels: tuple[str, str]

    def project(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Horizontal coordinates [N, 2] m of world positions [N, 3] m."""
        return positions @ self.axes.T


def estimate_up(orientations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of the world's vertical, as far as upright cameras tell it.

    It is the mean direction of the top of the images, moved to the nearest axis of the world when one is
    within 35 degrees: a camera held looking down a little all the time would tilt the mean.

    Args:
        orientations: [N, 4] unit quaternions w, x, y, z, camera optical frame to world.

    Returns:
        (3,) unit vector.
    """
    mean = -_camera_axes(orientations, 1).mean(axis=0)
    length = np.linalg.norm(mean)
    if length < 1e-6:
        return np.array([0.0, 0.0, 1.0])
    mean = mean / length
    axis = int(np.argmax(np.abs(mean)))
    if abs(mean[axis]) < np.cos(np.radians(_SNAP_DEGREES)):
        return mean
    snapped = np.zeros(3)
    snapped[axis] = np.sign(mean[axis])
    return snapped


def plan_view(comparison: Comparison, rows: NDArray[np.intp]) -> PlanView:
    """Plan view for some rows of a comparison: along its `up`, or along what its true cameras tell."""
    if comparison.up is not None:
        up = comparison.up / np.linalg.norm(comparison.up)
    else:
        up = estimate_up(comparison.true_orientations[rows])
    axis = int(np.argmax(np.abs(up)))
    if abs(up[axis]) > 1.0 - 1e-9:
        first, second = (axis + 1) % 3, (axis + 2) % 3
        if up[axis] < 0.0:
            first, second = second, first
        if (first, second) == (2, 0):
            # With y up a plan reads better as x to the right; z then points to the bottom.
            return PlanView(up, np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]), ("x", "-z"))
        return PlanView(up, np.eye(3)[[first, second]], (_AXIS_NAMES[first], _AXIS_NAMES[second]))
    sideways = np.eye(3)[int(np.argmin(np.abs(up)))]
    right = sideways - (sideways @ up) * up
    right = right / np.linalg.norm(right)
    return PlanView(up, np.stack([right, np.cross(up, right)]), ("horizontal, right", "horizontal, top"))


def headings_deg(comparison: Comparison, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Heading [len(rows)] of the true cameras about the vertical.

    Degrees in [0, 360), counter-clockwise seen from above, from the axis of the plan that points to the
    right.
    """
    view = plan_view(comparison, rows)
    horizontal = view.project(_camera_axes(comparison.true_orientations[rows], 2))
    return np.mod(np.degrees(np.arctan2(horizontal[:, 1], horizontal[:, 0])), 360.0)


def _camera_axes(orientations: NDArray[np.float64], column: int) -> NDArray[np.float64]:
    return np.array([quaternion_to_matrix(orientation)[:, column] for orientation in orientations])
