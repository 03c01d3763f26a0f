"""Refines a rough pose to centimetres with a landmark map, and says whether the map confirms it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import RgbImage
from hyperpose_core.landmarks.appearance import AppearanceIndex
from hyperpose_core.landmarks.camera_pose import FEWEST_MATCHES
from hyperpose_core.landmarks.candidates import CandidateFinder
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.localisation import Localisation, Localiser, QueryFeatures, Region, Stopwatch
from hyperpose_core.landmarks.matching import IndexArray
from hyperpose_core.landmarks.pose_covariance import CovarianceModel
from hyperpose_core.landmarks.refinement import Prior, Reason, Refinement, Source
from hyperpose_core.landmarks.settings import RefinerSettings
from hyperpose_core.landmarks.verification import Evidence, spread, weigh
from hyperpose_core.landmarks.verification_constants import GENERAL_MODEL


@dataclass(frozen=True, eq=False)
class Attempt:
    """One source tried.

    Attributes:
        source: what led to the landmarks.
        outcome: the pose and what speaks for it, or why there is none.
        evidence: None without a pose.
        score: natural logarithm of the odds; minus infinity without a pose.
    """

    source: Source
    outcome: Localisation | Reason
    evidence: Evidence | None = None
    score: float = -np.inf


class Refiner:
    """A map ready to be asked, safe to share between threads.

    Attributes:
        map: the map.
        settings: how images are localised in it.
        verification: what verifies a pose.
        covariance: how far a verified pose may be off.
    """

    def __init__(self, map: LandmarkMap, settings: RefinerSettings | None = None) -> None:
        """Prepare a map; its calibration is used where it has one.

        Raises:
            HyperPoseError: the map holds no landmarks, or its calibration is damaged.
        """
        if not len(map.landmarks) or not len(map.images):
            raise HyperPoseError("the landmark map is empty: nothing can be localised in it")
        self.map = map
        self.settings = settings or RefinerSettings()
        self.verification = GENERAL_MODEL
        self._finder = CandidateFinder(map)
        self.covariance = CovarianceModel.of_map(map, self._finder.viewing_distance)
        self._localiser = Localiser(map, self.settings, self._finder)
        self._appearance = AppearanceIndex(map)

    def refine(
        self,
        image: RgbImage,
        camera: CameraModel,
        prior: Prior | None = None,
        fallbacks: Sequence[Prior] = (),
    ) -> Refinement:
        """Localise one image.

        Sources of landmarks are tried in turn until one gives a verified pose: the map images near the prior,
        those whose network features are most like the prior's, those near the fallbacks, and those that look
        most alike.

        Args:
            image: RGB uint8 [H, W, 3].
            camera: its intrinsics.
            prior: where it was probably taken; None where nothing is known.
            fallbacks: further guesses, such as the last verified pose carried on by odometry.

        Returns:
            the first verified answer; else the one with the best score, or only a reason.

        Raises:
            HyperPoseError: the image is no RGB image or not of the camera's size.
        """
        _check_image(image, camera)
        watch = Stopwatch()
        features = QueryFeatures.of(image, camera, self.settings)
        watch.lap("features")
        attempts: list[Attempt] = []
        if len(features) < FEWEST_MATCHES:
            return Refinement(None, None, False, Reason.NO_FEATURES, seconds=watch.total())
        for attempt in self.attempts(features, camera, prior, fallbacks, watch):
            attempts.append(attempt)
            if attempt.score >= self.verification.threshold:
                break
        if not attempts:
            return Refinement(None, None, False, Reason.UNKNOWN_SCENE, seconds=watch.total())
        return self._answer(attempts, features, camera, watch)

    def attempts(
        self,
        features: QueryFeatures,
        camera: CameraModel,
        prior: Prior | None,
        fallbacks: Sequence[Prior],
        watch: Stopwatch,
    ) -> Iterator[Attempt]:
        """Try one source after the other, whatever comes of it."""
        guesses = [guess for guess in (prior, *fallbacks) if guess is not None]
        for source, images, guess in self._sources(features, guesses):
            region = _region(guess) if source in (Source.PRIOR, Source.LAST_VERIFIED) else None
            outcome = self._localiser.localise(features, images, region, camera, watch)
            if isinstance(outcome, Reason):
                yield Attempt(source, outcome)
                continue
            evidence = weigh(outcome, camera, guess, self._finder.viewing_distance)
            yield Attempt(source, outcome, evidence, self.verification.score(evidence))

    def _sources(
        self, features: QueryFeatures, guesses: Sequence[Prior]
    ) -> Iterator[tuple[Source, IndexArray, Prior | None]]:
        """Give images of the map to try, what led to them, and the guess that it was."""
        count = self.settings.map_images
        scenes = [self._scene(guess.scene) for guess in guesses]
        if scenes and all(scene == _UNKNOWN for scene in scenes):
            return
        known = [(guess, scene) for guess, scene in zip(guesses, scenes, strict=True) if scene != _UNKNOWN]
        for guess, scene in known:
            if guess.pose is not None:
                yield (
                    guess.source,
                    self._finder.images_near(guess.pose, guess.covariance, scene, count),
                    guess,
                )
            if guess.network_features is not None and self.map.images.network_features is not None:
                yield Source.NETWORK_FEATURES, self._alike(guess.network_features, scene), guess
        scene = known[0][1] if known else None
        alike = self._appearance.nearest(features.descriptors, scene, count * self.settings.appearance_tries)
        for start in range(0, len(alike), count):
            yield Source.APPEARANCE, alike[start : start + count], known[0][0] if known else None

    def _scene(self, name: str | None) -> int | None:
        if name is None:
            return None
        return self.map.scenes.index(name) if name in self.map.scenes else _UNKNOWN

    def _alike(self, network_features: npt.NDArray[np.floating], scene: int | None) -> IndexArray:
        """Return the map images whose network features are most like an image's."""
        images = self.map.images
        assert images.network_features is not None
        if len(network_features) != images.network_features.shape[1]:
            raise HyperPoseError(
                f"the map's network features have {images.network_features.shape[1]} numbers, the prior's "
                f"{len(network_features)}: they are not of the same network"
            )
        known = np.flatnonzero((images.scenes == scene) | (scene is None))
        similarity = images.network_features[known].astype(np.float32) @ network_features.astype(np.float32)
        return known[np.argsort(-similarity, kind="stable")[: self.settings.map_images]]

    def _answer(
        self,
        attempts: Sequence[Attempt],
        features: QueryFeatures,
        camera: CameraModel,
        watch: Stopwatch,
    ) -> Refinement:
        best = max(attempts, key=lambda attempt: attempt.score)
        if isinstance(best.outcome, Reason):
            reason = attempts[0].outcome
            assert isinstance(reason, Reason)
            return Refinement(None, None, False, reason, attempts=len(attempts), seconds=watch.total())
        found = best.outcome
        covariance = self.covariance.of(found.fitted)
        verified = best.score >= self.verification.threshold
        return Refinement(
            pose=found.fitted.pose,
            covariance=covariance,
            verified=verified,
            reason=None if verified else Reason.NOT_CONFIRMED,
            score=best.score,
            source=best.source,
            inliers=int(found.inliers.sum()),
            inlier_pixels=features.pixels[found.features[found.inliers]].astype(np.float64),
            inlier_landmarks=found.landmarks[found.inliers],
            inlier_ratio=found.inlier_ratio,
            spread=spread(found, camera),
            attempts=len(attempts),
            seconds=watch.total(),
        )


_UNKNOWN = -1


def _region(guess: Prior | None) -> Region | None:
    if guess is None or guess.pose is None or guess.covariance is None:
        return None
    variances = np.diag(guess.covariance)
    return Region(guess.pose, float(np.sqrt(variances[:3].mean())), float(np.sqrt(variances[3:].mean())))


def _check_image(image: RgbImage, camera: CameraModel) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise HyperPoseError(f"an image is RGB uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise HyperPoseError(
            f"the image is {width}x{height} pixels, its camera {camera.width}x{camera.height}: intrinsics "
            "belong to one size of image"
        )
