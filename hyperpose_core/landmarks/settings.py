"""How an image is localised in a landmark map: what costs time, and what counts as a match."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RefinerSettings:
    """Settings of the refiner. Pixels are those of an image that is 640 pixels along its longer side.

    Attributes:
        longest_side: features are found in the image reduced to so many pixels along its longer side.
        features: at most so many, the strongest.
        map_images: the landmarks of so many map images are tried at once.
        candidates: at most so many landmarks are tried at once, those that the most of the images saw.
        ratio: a match's squared distance, as a share of the second nearest's, is at most this.
        ransac_threshold: largest reprojection error of a match that agrees with a pose, pixels.
        ransac_iterations: at most so many hypotheses.
        confirming_images: what so many map images near a pose saw is sought from it.
        confirming_landmarks: at most so many of these.
        first_radius: how near to its place a landmark is sought, from the first pose, pixels.
        last_radius: the same from the fitted pose.
        least_similarity: smallest cosine of the descriptors of what is found there.
        confirming_similarity: the same for what counts as found again in the verification.
        pixel_deviation: standard deviation of where a feature is seen, pixels.
        appearance_tries: how many times the images that look alike are tried, each time the next ones.
    """

    longest_side: int = 360
    features: int = 800
    map_images: int = 5
    candidates: int = 1000
    ratio: float = 0.75
    ransac_threshold: float = 6.0
    ransac_iterations: int = 1000
    confirming_images: int = 4
    confirming_landmarks: int = 1500
    first_radius: float = 10.0
    last_radius: float = 5.0
    least_similarity: float = 0.85
    confirming_similarity: float = 0.9
    pixel_deviation: float = 1.5
    appearance_tries: int = 2
