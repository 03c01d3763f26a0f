"""One try to localise an image: from some of the map's images to a pose and what is found again from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.camera_pose import (
    FEWEST_MATCHES,
    FittedPose,
    fit_pose,
    ransac_pose,
    residual_variances,
)
from hyperpose_core.landmarks.candidates import CandidateFinder, VisibleLandmarks
from hyperpose_core.landmarks.features import extract_features
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.matching import (
    FloatArray,
    IndexArray,
    Matches,
    match_descriptors,
    match_near,
    unit_descriptors,
)
from hyperpose_core.landmarks.projection import undistorted
from hyperpose_core.landmarks.refinement import Reason
from hyperpose_core.landmarks.settings import RefinerSettings

# Landmarks nearer to each other than this share of the viewing distance are one thing for the ratio test.
_SAME_PLACE = 0.02
# Residuals beyond so many standard deviations are no inliers: 99% of a two-dimensional normal lie within.
_INLIER_DEVIATIONS = 3.0
# Where landmarks are sought on purpose in the wrong place, pixels of a 640 pixels wide image.
_CHANCE_SHIFTS = ((23.0, 11.0), (-11.0, 23.0), (-13.0, -22.0))


class Stopwatch:
    """Adds up seconds by stage."""

    def __init__(self) -> None:
        """Start."""
        self.seconds: dict[str, float] = {}
        self._begin = self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last lap to a stage."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def total(self) -> Mapping[str, float]:
        """Return the seconds by stage, and in all as "total"."""
        return {**self.seconds, "total": time.perf_counter() - self._begin}


@dataclass(frozen=True, eq=False)
class QueryFeatures:
    """Local features of the image to localise, N of them.

    Attributes:
        pixels: float32 [N, 2], in the image as it was read.
        points: float64 [N, 2], without distortion.
        descriptors: float32 [N, 128], of unit norm.
    """

    pixels: npt.NDArray[np.float32]
    points: Array
    descriptors: FloatArray

    @classmethod
    def of(cls, image: RgbImage, camera: CameraModel, settings: RefinerSettings) -> QueryFeatures:
        """Find them in an RGB uint8 image [H, W, 3]."""
        found = extract_features(image, longest_side=settings.longest_side, count=settings.features)
        return cls(found.points, undistorted(found.points, camera), unit_descriptors(found.descriptors))

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False)
class Localisation:
    """A pose, and what speaks for it.

    Attributes:
        fitted: the pose and how the landmarks found again fit it.
        features: int64 [K], places of the features that were taken for landmarks.
        landmarks: int64 [K], the landmarks, places in the map.
        inliers: bool [K], which of them fit.
        inlier_ratio: share of the matches by descriptor alone that agreed with the first pose.
        visible: what should be seen from the pose.
        found: bool [V], which of it is there, by its strict look and place.
        chance: how many would be found in a wrong place.
    """

    fitted: FittedPose
    features: IndexArray
    landmarks: IndexArray
    inliers: npt.NDArray[np.bool_]
    inlier_ratio: float
    visible: VisibleLandmarks
    found: npt.NDArray[np.bool_]
    chance: float


@dataclass(frozen=True, eq=False)
class Region:
    """Where a camera probably is, to leave out what it cannot see.

    Attributes:
        pose: camera-to-world.
        deviation_m: standard deviation of the position along one axis.
        deviation_rad: of the rotation about one axis.
    """

    pose: Pose
    deviation_m: float
    deviation_rad: float


@dataclass(frozen=True, eq=False)
class Localiser:
    """Localises images in a map.

    Attributes:
        content: the map.
        settings: how.
        finder: of the same map.
    """

    content: LandmarkMap
    settings: RefinerSettings
    finder: CandidateFinder

    def localise(
        self,
        features: QueryFeatures,
        images: IndexArray,
        region: Region | None,
        camera: CameraModel,
        watch: Stopwatch,
    ) -> Localisation | Reason:
        """Try with the landmarks that some of the map's images saw.

        Args:
            features: the image's.
            images: places of the map's images.
            region: leaves out what cannot be seen from there; None to leave out nothing.
            camera: the image's.
            watch: gets the time of each stage.
        """
        candidates = self._candidates(images, region, camera)
        watch.lap("candidates")
        if len(candidates) < FEWEST_MATCHES:
            return Reason.NO_LANDMARKS
        matches = self._match(features, candidates)
        watch.lap("matching")
        if len(matches) < FEWEST_MATCHES:
            return Reason.NO_MATCHES
        first = ransac_pose(
            features.points[matches.features],
            self._positions(candidates[matches.landmarks]),
            camera,
            threshold=self.settings.ransac_threshold * _unit(camera),
            iterations=self.settings.ransac_iterations,
        )
        watch.lap("pose")
        if first is None:
            return Reason.NO_POSE
        answer = self._confirm(features, first[0], float(first[1].mean()), camera)
        watch.lap("confirmation")
        return Reason.NO_POSE if answer is None else answer

    def _candidates(self, images: IndexArray, region: Region | None, camera: CameraModel) -> IndexArray:
        landmarks = self.finder.landmarks_of(images)
        if region is not None:
            lever = region.deviation_rad + region.deviation_m / self.finder.viewing_distance
            margin = 3.0 * lever * max(camera.fx, camera.fy)
            landmarks = self.finder.visible(landmarks, region.pose, camera, margin=margin, slack=2.0).indices
        return landmarks[: self.settings.candidates]

    def _match(self, features: QueryFeatures, candidates: IndexArray) -> Matches:
        return match_descriptors(
            features.descriptors,
            self._descriptors(candidates),
            self._positions(candidates),
            ratio=self.settings.ratio,
            same_place=_SAME_PLACE * self.finder.viewing_distance,
        )

    def _confirm(
        self, features: QueryFeatures, first: Pose, inlier_ratio: float, camera: CameraModel
    ) -> Localisation | None:
        """Find again what a first pose says must be seen, twice, and fit the pose to it."""
        settings, unit = self.settings, _unit(camera)
        near = self.finder.images_near(first, np.zeros((6, 6)), None, settings.confirming_images)
        wanted = self.finder.landmarks_of(near)
        wanted = self.finder.visible(wanted, first, camera, margin=settings.first_radius * unit).indices
        wanted = np.sort(wanted[: settings.confirming_landmarks])
        descriptors = self._descriptors(wanted)
        fit = self._fit(features, wanted, descriptors, first, camera, settings.first_radius * unit)
        if fit is not None:
            fit = self._fit(features, wanted, descriptors, fit[0].pose, camera, settings.last_radius * unit)
        if fit is None:
            return None
        fitted, matches = fit
        inliers = fitted.squares < _INLIER_DEVIATIONS**2
        if inliers.sum() < FEWEST_MATCHES:
            return None
        visible = self.finder.visible(wanted, fitted.pose, camera)
        of_visible = descriptors[np.searchsorted(wanted, visible.indices)]
        found, chance = self._repetition(features, of_visible, visible, unit)
        return Localisation(
            fitted,
            matches.features,
            wanted[matches.landmarks],
            inliers,
            inlier_ratio,
            visible,
            found,
            chance,
        )

    def _fit(
        self,
        features: QueryFeatures,
        wanted: IndexArray,
        descriptors: FloatArray,
        pose: Pose,
        camera: CameraModel,
        radius: float,
    ) -> tuple[FittedPose, Matches] | None:
        """Find landmarks near where a pose puts them and fit the pose to them; matches are in `wanted`."""
        there = self.finder.visible(wanted, pose, camera, slack=2.0)
        rows = np.searchsorted(wanted, there.indices)
        matches = match_near(
            features.descriptors,
            features.points,
            descriptors[rows],
            there.pixels,
            radius=radius,
            least_similarity=self.settings.least_similarity,
        )
        if len(matches) < FEWEST_MATCHES:
            return None
        matches = Matches(matches.features, rows[matches.landmarks])
        points, seen = features.points[matches.features], wanted[matches.landmarks]
        positions, covariances = self._positions(seen), self.content.landmarks.covariance_matrices(seen)
        deviation = self.settings.pixel_deviation * _unit(camera)
        variances = residual_variances(pose, positions, covariances, camera, deviation)
        fitted = fit_pose(pose, points, positions, variances, camera)
        return None if fitted is None else (fitted, matches)

    def _repetition(
        self, features: QueryFeatures, descriptors: FloatArray, visible: VisibleLandmarks, unit: float
    ) -> tuple[npt.NDArray[np.bool_], float]:
        """Say what should be seen and is, and how much would be seen by chance."""

        def sought(projections: Array, landmarks: FloatArray) -> IndexArray:
            return match_near(
                features.descriptors,
                features.points,
                landmarks,
                projections,
                radius=self.settings.last_radius * unit,
                least_similarity=self.settings.confirming_similarity,
            ).landmarks

        found = np.zeros(len(visible.indices), dtype=bool)
        found[sought(visible.pixels, descriptors)] = True
        elsewhere = [visible.pixels + np.multiply(shift, unit) for shift in _CHANCE_SHIFTS]
        by_chance = [len(sought(pixels, descriptors)) for pixels in elsewhere]
        return found, float(np.mean(by_chance))

    def _descriptors(self, landmarks: IndexArray) -> FloatArray:
        return unit_descriptors(self.content.landmarks.descriptors[landmarks])

    def _positions(self, landmarks: IndexArray) -> Array:
        return self.content.landmarks.positions[landmarks].astype(np.float64)


def _unit(camera: CameraModel) -> float:
    """Return the pixels that one pixel of the settings is: those are of a 640 pixels wide image."""
    return max(camera.width, camera.height) / 640.0
