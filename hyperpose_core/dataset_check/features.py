"""Features of images and matches between them, found without knowing any pose or camera.

Matches are those of `landmarks.view_matching` that fit one fundamental matrix (MAGSAC++, Barath et al., CVPR
2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.features import extract_features
from hyperpose_core.landmarks.matching import unit_descriptors
from hyperpose_core.landmarks.view_matching import mutual_matches

FEWEST_MATCHES = 25
"""So many matches must fit one fundamental matrix before two images are taken to show the same place."""

_LONGEST_SIDE = 640
_FEATURES = 1000
_COARSE_FEATURES = 300
_RATIO = 0.8
_MOST_MATCHES = 120
_RANSAC_PX = 1.5
_RANSAC_CONFIDENCE = 0.999
_RANSAC_ITERATIONS = 2000


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one image, strongest first.

    Attributes:
        points: float64 [N, 2], pixels of the image as it was read.
        descriptors: float32 [N, 128], of unit norm.
        size: the image's (width, height), pixels.
    """

    points: Array
    descriptors: npt.NDArray[np.float32]
    size: tuple[int, int]

    @property
    def side(self) -> int:
        """The image's longer side, pixels."""
        return max(self.size)


def find_features(image: RgbImage) -> Features:
    """Find the features of an RGB image, which is reduced to 640 pixels at most."""
    found = extract_features(image, longest_side=_LONGEST_SIDE, count=_FEATURES)
    height, width = image.shape[:2]
    return Features(found.points.astype(np.float64), unit_descriptors(found.descriptors), (width, height))


def count_similar(first: Features, second: Features) -> int:
    """Count the features that two images seem to share, from their strongest ones only."""
    strongest = slice(_COARSE_FEATURES)
    return len(mutual_matches(first.descriptors[strongest], second.descriptors[strongest], _RATIO)[0])


def match_features(first: Features, second: Features) -> tuple[Array, Array] | None:
    """Match two images.

    Returns:
        the matches' points in either image, float64 [M, 2] each; None where there are fewer than
        `FEWEST_MATCHES`.
    """
    rows = mutual_matches(first.descriptors, second.descriptors, _RATIO)[0]
    if len(rows) < FEWEST_MATCHES:
        return None
    points, others = first.points[rows[:, 0]], second.points[rows[:, 1]]
    inliers = _on_epipolar_lines(
        points * (_LONGEST_SIDE / max(first.side, _LONGEST_SIDE)),
        others * (_LONGEST_SIDE / max(second.side, _LONGEST_SIDE)),
    )
    kept = np.flatnonzero(inliers)
    if len(kept) < FEWEST_MATCHES:
        return None
    # Rows are ordered by strength; every n-th keeps weak ones, too, which cover more of the image.
    kept = kept[np.linspace(0, len(kept) - 1, min(len(kept), _MOST_MATCHES)).astype(int)]
    return points[kept], others[kept]


def _on_epipolar_lines(points: Array, others: Array) -> npt.NDArray[np.bool_]:
    """Tell which matches fit one fundamental matrix, bool [M]."""
    try:
        _, inliers = cv2.findFundamentalMat(
            points, others, cv2.USAC_MAGSAC, _RANSAC_PX, _RANSAC_CONFIDENCE, _RANSAC_ITERATIONS
        )
    except cv2.error:  # some matches that lie badly, as those of nearly the same image
        return np.zeros(len(points), dtype=bool)
    return np.zeros(len(points), dtype=bool) if inliers is None else inliers.ravel() > 0
