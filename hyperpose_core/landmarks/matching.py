"""Which features of an image are which landmarks: by descriptor alone, or near where a pose puts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]

_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of features and landmarks, M of them; no feature and no landmark is in two pairs.

    Attributes:
        features: int64 [M], places among the image's features.
        landmarks: int64 [M], places among the landmarks that were asked for.
    """

    features: IndexArray
    landmarks: IndexArray

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Matches:
        """Keep some of the pairs."""
        return Matches(self.features[chosen], self.landmarks[chosen])


def unit_descriptors(descriptors: npt.NDArray[np.uint8]) -> FloatArray:
    """Turn descriptors in bytes [N, 128] to float32 vectors of unit norm."""
    values = descriptors.astype(np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", values, values))
    return np.asarray(values / np.maximum(norms, _TINY)[:, np.newaxis])


def match_descriptors(
    features: FloatArray, landmarks: FloatArray, positions: Array, *, ratio: float, same_place: float
) -> Matches:
    """Match by descriptor: the nearest either way, and clearly nearer than the second (Lowe, IJCV 2004).

    A landmark that was reconstructed twice would always fail against itself: a second nearest that lies where
    the nearest does is no rival.

    Args:
        features: unit descriptors [N, 128].
        landmarks: unit descriptors [K, 128].
        positions: of the landmarks, [K, 3], metres.
        ratio: largest squared distance, as a share of that to the second nearest.
        same_place: metres; landmarks nearer to each other than that are one thing.
    """
    if len(features) == 0 or len(landmarks) < 2:
        return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64))
    similarity = features @ landmarks.T
    rows = np.arange(len(features))
    nearest = similarity.argmax(axis=1)
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -np.inf
    second = similarity.argmax(axis=1)
    runner_up = similarity[rows, second]
    similarity[rows, nearest] = best
    # Squared distances of unit vectors are 2 - 2 cos.
    is_clear = 1.0 - best < ratio * (1.0 - runner_up)
    apart = np.linalg.norm(positions[nearest] - positions[second], axis=1)
    is_clear |= (apart < same_place) & (best > runner_up)
    chosen = np.flatnonzero(is_clear)
    is_mutual = similarity[:, nearest[chosen]].max(axis=0) <= best[chosen]
    return _one_to_one(chosen[is_mutual], nearest[chosen[is_mutual]], best[chosen[is_mutual]])


def match_near(
    features: FloatArray,
    points: Array,
    landmarks: FloatArray,
    projections: Array,
    *,
    radius: float,
    least_similarity: float,
) -> Matches:
    """Match landmarks to the features that lie where a pose puts them.

    Args:
        features: unit descriptors [N, 128].
        points: of the features, [N, 2], pixels.
        landmarks: unit descriptors [K, 128].
        projections: of the landmarks, [K, 2], pixels.
        radius: largest distance of a feature from the projection, pixels.
        least_similarity: smallest cosine of the descriptors.
    """
    near, places = pairs_within(points, projections, radius)
    similarity = np.einsum("ij,ij->i", features[near], landmarks[places])
    alike = similarity >= least_similarity
    return _one_to_one(near[alike], places[alike], similarity[alike])


def pairs_within(points: Array, centres: Array, radius: float) -> tuple[IndexArray, IndexArray]:
    """Find all pairs of points [N, 2] and centres [K, 2] at most `radius` apart.

    Returns:
        places among the points [P], places among the centres [P].
    """
    if not len(points) or not len(centres):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    corner = points.min(axis=0)
    cells = np.floor((points - corner) / radius).astype(np.int64) + 2
    columns, lines = cells.max(axis=0) + 3
    keys = cells[:, 1] * columns + cells[:, 0]
    order = np.argsort(keys, kind="stable")
    firsts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=columns * lines))])
    # Centres beyond the outermost cells fall into empty ones beside these.
    wanted = np.clip(np.floor((centres - corner) / radius) + 2, 1, (columns - 2, lines - 2)).astype(np.int64)
    middle = (wanted[:, 1:] + (-1, 0, 1)) * columns + wanted[:, :1]
    # Three cells side by side are one range of the sorted points.
    starts = firsts[middle.ravel() - 1]
    lengths = firsts[middle.ravel() + 2] - starts
    owners = np.repeat(np.repeat(np.arange(len(centres)), 3), lengths)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found = order[np.repeat(starts, lengths) + within]
    near = np.square(points[found] - centres[owners]).sum(axis=1) <= radius**2
    return found[near], owners[near]


def _one_to_one(features: IndexArray, landmarks: IndexArray, similarity: FloatArray) -> Matches:
    """Keep of each feature's and each landmark's pairs the most alike one."""
    order = np.argsort(-similarity, kind="stable")
    features, landmarks = features[order], landmarks[order]
    # The first of each landmark's pairs, then the first of each feature's among these.
    kept = np.sort(np.unique(landmarks, return_index=True)[1])
    kept = kept[np.sort(np.unique(features[kept], return_index=True)[1])]
    return Matches(features[kept], landmarks[kept])
