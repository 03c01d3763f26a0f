"""From matches between pairs of images to tracks: which features of many images are one point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def build_tracks(
    matches: Indices, similarities: npt.NDArray[np.float32], images: npt.NDArray[np.int32]
) -> Indices:
    """Join matched features to tracks that have at most one feature an image.

    The most similar are joined first; a match that would bring two features of an image together is left out,
    so that a few wrong matches cannot chain all tracks to one.

    Args:
        matches: pairs of features [E, 2], which are numbered from 0 through all images.
        similarities: of the pairs [E]; larger is better.
        images: each feature's image [F].

    Returns:
        each feature's track [F], numbered from 0; -1 for features without one.
    """
    parents = list(range(len(images)))
    members: dict[int, set[int]] = {}
    image_of = images.tolist()
    for a, b in matches[np.argsort(-similarities, kind="stable")].tolist():
        while parents[a] != a:
            parents[a] = a = parents[parents[a]]
        while parents[b] != b:
            parents[b] = b = parents[parents[b]]
        if a == b:
            continue
        seen_a, seen_b = members.get(a) or {image_of[a]}, members.get(b) or {image_of[b]}
        if not seen_a.isdisjoint(seen_b):
            continue
        if len(seen_a) < len(seen_b):
            a, b, seen_a, seen_b = b, a, seen_b, seen_a
        parents[b] = a
        seen_a |= seen_b
        members[a] = seen_a
        members.pop(b, None)
    return _numbered(np.array(parents, dtype=np.int64))


def _numbered(parents: Indices) -> Indices:
    """Replace parents by numbers of the trees with two nodes or more, -1 elsewhere."""
    roots = parents
    while (roots[roots] != roots).any():
        roots = roots[roots]
    counts = np.bincount(roots, minlength=len(roots))
    is_root = (roots == np.arange(len(roots))) & (counts > 1)
    numbers = np.where(is_root, np.cumsum(is_root) - 1, -1)
    return np.asarray(numbers[roots], dtype=np.int64)
