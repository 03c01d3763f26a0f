"""Matches between two posed images: each other's nearest, distinct, on each other's epipolar lines."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array, Pose, skew

Indices = npt.NDArray[np.int32]

_BLOCK = 256  # rows whose similarities stay in the processor's cache
_RANSAC_CONFIDENCE = 0.999
_RANSAC_THRESHOLD_PX = 1.5
_LEAST_MATCHES_FOR_RANSAC = 20


@dataclass(frozen=True, eq=False)
class View:
    """Where the features of a posed image lie.

    Attributes:
        points: float64 [N, 2], on the image plane at depth 1, without distortion.
        focal_length: pixels.
        pose: camera-to-world.
    """

    points: Array
    focal_length: float
    pose: Pose


def mutual_matches(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], ratio: float
) -> tuple[Indices, npt.NDArray[np.float32]]:
    """Match descriptors that are each other's nearest.

    Args:
        first: unit descriptors [N, 128].
        second: unit descriptors [K, 128].
        ratio: a match's distance is at most this share of that to the second nearest (Lowe, IJCV 2004).

    Returns:
        pairs of indices [M, 2] and their similarities (cosines) [M].
    """
    count, columns = len(first), np.arange(len(second))
    if count < 2 or len(second) < 2:
        return np.zeros((0, 2), np.int32), np.zeros(0, np.float32)
    nearest = np.zeros(count, np.int32)
    similarity, runner_up = np.zeros(count, np.float32), np.zeros(count, np.float32)
    nearest_back = np.zeros(len(second), np.int32)
    similarity_back = np.full(len(second), -2.0, np.float32)
    for start in range(0, count, _BLOCK):
        block = first[start : start + _BLOCK] @ second.T
        rows = np.arange(len(block))
        best = block.argmax(axis=1)
        nearest[start : start + _BLOCK], similarity[start : start + _BLOCK] = best, block[rows, best]
        best_back = block.argmax(axis=0)
        values = block[best_back, columns]
        is_better = values > similarity_back
        similarity_back[is_better] = values[is_better]
        nearest_back[is_better] = best_back[is_better] + start
        block[rows, best] = -2.0
        runner_up[start : start + _BLOCK] = block.max(axis=1)
    # Squared distances of unit vectors.
    is_distinct = 1.0 - similarity <= ratio**2 * (1.0 - runner_up)
    chosen = np.flatnonzero(is_distinct & (nearest_back[nearest] == np.arange(count)))
    return np.stack([chosen, nearest[chosen]], axis=1).astype(np.int32), similarity[chosen]


def epipolar_distances(first: View, second: View, matches: Indices) -> Array:
    """Return how far matches [M, 2] lie from the epipolar geometry of the given poses [M], pixels.

    Sampson's distance (Hartley and Zisserman, Multiple view geometry, 11.4.3).
    """
    to_second = second.pose.inverse() @ first.pose
    essential = skew(to_second.position) @ to_second.rotation()
    a = np.column_stack([first.points[matches[:, 0]], np.ones(len(matches))])
    b = np.column_stack([second.points[matches[:, 1]], np.ones(len(matches))])
    line_in_second, line_in_first = a @ essential.T, b @ essential
    algebraic = np.abs(np.sum(b * line_in_second, axis=1))
    gradient = np.hypot(
        np.linalg.norm(line_in_second[:, :2], axis=1), np.linalg.norm(line_in_first[:, :2], axis=1)
    )
    return 0.5 * (first.focal_length + second.focal_length) * algebraic / np.maximum(gradient, 1e-12)


def consistent_matches(first: View, second: View, matches: Indices) -> Indices:
    """Return those of matches [M, 2] that some epipolar geometry explains, whatever the given poses say."""
    if len(matches) < _LEAST_MATCHES_FOR_RANSAC:
        return matches[:0]
    _, mask = cv2.findEssentialMat(
        first.points[matches[:, 0]],
        second.points[matches[:, 1]],
        np.eye(3),
        cv2.USAC_MAGSAC,
        _RANSAC_CONFIDENCE,
        _RANSAC_THRESHOLD_PX / first.focal_length,
    )
    return matches[:0] if mask is None else matches[np.asarray(mask).ravel() > 0]
