"""What the refiner is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.poses import Array, Pose


class Source(str, Enum):
    """What led to the landmarks that an answer rests on."""

    PRIOR = "prior"
    NETWORK_FEATURES = "network features"
    LAST_VERIFIED = "last verified pose"
    APPEARANCE = "appearance"


class Reason(str, Enum):
    """Why an answer is not verified."""

    NO_FEATURES = "the image has too few features"
    UNKNOWN_SCENE = "the map does not have the scene"
    NO_LANDMARKS = "the map has no landmarks there"
    NO_MATCHES = "too few features match landmarks"
    NO_POSE = "no pose agrees with enough matches"
    NOT_CONFIRMED = "too little of what the map says should be there is there"


@dataclass(frozen=True, eq=False)
class Prior:
    """Where an image was probably taken; every part may be missing.

    Attributes:
        pose: camera-to-world, local world frame.
        covariance: [6, 6], x, y, z, rot x, rot y, rot z, metres and radians, world frame.
        scene: name of the scene; None to search all.
        network_features: [D], the network's features of the image, to be compared with those in the map.
        source: `LAST_VERIFIED` where the pose is an earlier answer carried on by odometry.
    """

    pose: Pose | None = None
    covariance: Array | None = None
    scene: str | None = None
    network_features: npt.NDArray[np.floating] | None = None
    source: Source = Source.PRIOR


@dataclass(frozen=True, eq=False)
class Refinement:
    """What the map says of one image.

    Attributes:
        pose: camera-to-world, local world frame; None where no pose was found.
        covariance: [6, 6], x, y, z, rot x, rot y, rot z, metres and radians, world frame; None without
            a pose.
        verified: whether the map confirms the pose.
        reason: why not; None where verified.
        score: natural logarithm of the odds that the pose is true: verified from the refiner's threshold on.
        source: what led to the landmarks; None without a pose.
        inliers: how many landmarks were found again where the pose puts them.
        inlier_pixels: [inliers, 2], where in the image as it was read.
        inlier_landmarks: int64 [inliers], which, as places in the map.
        inlier_ratio: share of the matches by descriptor that agree with the pose.
        spread: share of the image's cells, of those where landmarks should be, in which some were found.
        attempts: how many sources were tried.
        seconds: time by stage: features, candidates, matching, pose, confirmation, total.
    """

    pose: Pose | None
    covariance: Array | None
    verified: bool
    reason: Reason | None
    score: float = -np.inf
    source: Source | None = None
    inliers: int = 0
    inlier_pixels: Array = field(default_factory=lambda: np.zeros((0, 2)))
    inlier_landmarks: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    inlier_ratio: float = 0.0
    spread: float = 0.0
    attempts: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
