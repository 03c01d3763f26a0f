"""Which images are worth matching: those whose views overlap as their poses say, and some that look alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array, Pose

Pairs = npt.NDArray[np.int32]

_POOL = 60
"""Partners are taken evenly from so many nearest positions: near ones bind, far ones triangulate."""
_LEAST_BASELINE_M = 0.002  # a standing camera sees everything again and triangulates nothing


def pairs_by_pose(
    poses: Sequence[Pose], scenes: npt.NDArray[np.int16], count: int, angle_deg: float
) -> Pairs:
    """Pair each image with others taken near it in nearly its direction.

    Args:
        poses: camera-to-world, M of them.
        scenes: each image's scene [M]; pairs are within a scene.
        count: partners that each image chooses.
        angle_deg: largest angle between two viewing directions.

    Returns:
        pairs [P, 2] of indices, the smaller first, sorted, each once.
    """
    positions = np.array([pose.position for pose in poses]).reshape(-1, 3)
    directions = np.array([pose.rotation()[:, 2] for pose in poses]).reshape(-1, 3)
    chosen: list[tuple[int, int]] = []
    for index in range(len(poses)):
        candidates = np.flatnonzero(
            (scenes == scenes[index]) & (directions @ directions[index] > np.cos(np.radians(angle_deg)))
        )
        distances = np.linalg.norm(positions[candidates] - positions[index], axis=1)
        candidates, distances = (values[distances > _LEAST_BASELINE_M] for values in (candidates, distances))
        nearest = candidates[np.argsort(distances, kind="stable")[:_POOL]]
        places = np.unique(np.linspace(0, max(len(nearest) - 1, 0), count).round().astype(int))
        chosen += [(index, int(other)) for other in nearest[places[: len(nearest)]]]
    return unique_pairs(chosen)


def pairs_by_appearance(
    signatures: npt.NDArray[np.float32], scenes: npt.NDArray[np.int16], count: int
) -> Pairs:
    """Pair each image with those of its scene that look most like it.

    Args:
        signatures: float32 [M, D], of unit norm; the more alike two images, the larger their product.
        scenes: each image's scene [M].
        count: partners that each image chooses.
    """
    chosen: list[tuple[int, int]] = []
    for index in range(len(signatures)):
        alike = signatures @ signatures[index]
        alike[(scenes != scenes[index]) | (np.arange(len(alike)) == index)] = -np.inf
        best = np.argsort(-alike, kind="stable")[:count]
        chosen += [(index, int(other)) for other in best if np.isfinite(alike[other])]
    return unique_pairs(chosen)


def unique_pairs(pairs: Sequence[tuple[int, int]] | Array | Pairs) -> Pairs:
    """Sort the ends of pairs and the pairs, and keep each once."""
    ends = np.sort(np.asarray(pairs, dtype=np.int32).reshape(-1, 2), axis=1)
    return np.unique(ends, axis=0)
