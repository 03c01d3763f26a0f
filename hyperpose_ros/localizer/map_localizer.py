"""What a landmark map says of a set of frames that the network has answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import move_covariance, quaternion_to_rotation_vector, relative_quaternion
from hyperpose_core.images import RgbImage
from hyperpose_core.inference.estimator import PoseEstimate
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.refinement import Prior, Refinement, Source
from hyperpose_core.refinement.checkpoint_map import camera_of_images
from hyperpose_core.refinement.prior import prior_of
from hyperpose_ros.common.conversions import BadImageError
from hyperpose_ros.common.fix import Fix, PoseWithCovariance
from hyperpose_ros.fusion.locator import Locator
from hyperpose_ros.fusion.motion_gate import chi_squared_6_cdf
from hyperpose_ros.fusion.validity import PoseValidator, ValidationResult
from hyperpose_ros.images.decoding import DecodedFrame, whole_image
from hyperpose_ros.localizer.loaded_map import LoadedMap
from hyperpose_ros.localizer.network_localizer import Localization
from hyperpose_ros.tf.plan import FramePlan

_LENS_MODELS = ("plumb_bob", "rational_polynomial")
_CONFIRMED = 0.999  # share of the network's errors that its covariance must hold


@dataclass(frozen=True, eq=False)
class RefinedFrame:
    """A frame and what the map says of it.

    Attributes:
        decoded: the frame.
        estimate: the network's answer.
        refinement: the map's; None where it could not be asked.
        failure: why not; empty where it was asked.
    """

    decoded: DecodedFrame
    estimate: PoseEstimate
    refinement: Refinement | None = None
    failure: str = ""

    @property
    def verified(self) -> bool:
        """Whether the map confirms a pose."""
        return self.refinement is not None and self.refinement.verified


@dataclass(frozen=True)
class NetworkError:
    """How far the network's pose is from the one that the map has verified.

    Attributes:
        metres: of the position.
        degrees: of the orientation.
        is_expected: whether the covariances of both allow for it: the map confirms the network's pose.
    """

    metres: float
    degrees: float
    is_expected: bool


class MapLocalizer:
    """Localizes sets of frames in the map that goes with the network that has answered them."""

    def __init__(
        self,
        plan: FramePlan,
        locator: Locator,
        validator: PoseValidator,
        uses_camera_info: bool,
        is_searching: Callable[[], bool],
    ) -> None:
        """Build from its parts.

        Args:
            plan: the robot's frames.
            locator: what makes a fix of poses.
            validator: of fixes; it also propagates the last verified pose.
            uses_camera_info: whether the images' intrinsics come from camera_info, or from the checkpoint.
            is_searching: tells whether earlier poses say nothing of where the robot is now.
        """
        self._plan = plan
        self._locator = locator
        self._validator = validator
        self._uses_camera_info = uses_camera_info
        self._is_searching = is_searching

    def refine(self, localization: Localization, loaded_map: LoadedMap) -> tuple[RefinedFrame, ...]:
        """Ask the map about every frame of a set; never raises for one of them."""
        pairs = zip(localization.frames, localization.estimates, strict=True)
        return tuple(
            self._refine(RefinedFrame(decoded, estimate), localization, loaded_map)
            for decoded, estimate in pairs
        )

    def fix(self, frames: Sequence[RefinedFrame]) -> Fix:
        """Place what the map has verified in the robot's map.

        Args:
            frames: some of a set, all of them verified, at least one.
        """
        images = [entry.decoded.frame for entry in frames]
        return self._locator.fix(images, [_verified(entry) for entry in frames])

    def validate(self, fix: Fix, leads: bool, starts_anew: bool) -> ValidationResult:
        """Validate what `fix` gave; the arguments are those of `PoseValidator.validate_verified`."""
        return self._validator.validate_verified(fix, leads, starts_anew)

    def _refine(self, entry: RefinedFrame, localization: Localization, loaded_map: LoadedMap) -> RefinedFrame:
        try:
            image = whole_image(entry.decoded)
            trained = localization.loaded.estimator.checkpoint.camera
            camera = self._camera(entry.decoded, image, trained, loaded_map.refiner.map)
            prior = prior_of(entry.estimate, loaded_map.scene)
            fallbacks = self._fallbacks(entry.decoded, prior)
            refinement = loaded_map.refiner.refine(image, camera, prior, fallbacks)
        except (HyperPoseError, BadImageError) as error:
            return replace(entry, failure=str(error))
        except Exception as error:  # one image must not end the thread
            return replace(entry, failure=f"{type(error).__name__}: {error}")
        return replace(entry, refinement=refinement)

    def _camera(
        self, decoded: DecodedFrame, image: RgbImage, trained: CameraModel | None, content: LandmarkMap
    ) -> CameraModel:
        """Return the intrinsics of a frame's whole image.

        Raises:
            HyperPoseError: they are not known, or the lens is of a model that the refiner does not know.
        """
        camera = decoded.camera if self._uses_camera_info else trained
        if camera is None:
            source = "camera_info's lens" if self._uses_camera_info else "the checkpoint's camera"
            raise HyperPoseError(f"the image's intrinsics are not known, since {source} is not")
        if camera.distortion and camera.distortion_model not in _LENS_MODELS:
            raise HyperPoseError(
                f"images of {camera.distortion_model} lenses cannot be refined: rectify them"
            )
        height, width = image.shape[:2]
        return camera_of_images(height, width, (camera,), content)

    def _fallbacks(self, decoded: DecodedFrame, prior: Prior) -> tuple[Prior, ...]:
        """Return where the last verified pose, carried on by odometry, has the camera; else nothing.

        A robot that is searched for may have been carried: the map would confirm a wrong pose sooner where it
        agrees with a guess that is out of date.
        """
        if self._is_searching():
            return ()
        frame = decoded.frame
        extrinsics = self._plan.extrinsics_of(frame.camera, frame.message.header.frame_id)
        body = None if extrinsics is None else self._validator.predict(frame.stamp_ns)
        if body is None or extrinsics is None:
            return ()
        camera = body.pose @ extrinsics
        covariance = move_covariance(body.covariance, camera.position - body.pose.position)
        in_world = self._plan.to_world(PoseWithCovariance(camera, covariance))
        carried_on = replace(
            prior,
            pose=in_world.pose,
            covariance=in_world.covariance,
            network_features=None,
            source=Source.LAST_VERIFIED,
        )
        return (carried_on,)


def network_error(entry: RefinedFrame) -> NetworkError | None:
    """Return how far the network's pose of a frame is from the map's; None where it is not verified."""
    refinement, estimated = entry.refinement, entry.estimate.pose
    if refinement is None or not refinement.verified or estimated is None:
        return None
    found, covariance = refinement.pose, refinement.covariance
    if found is None or covariance is None:
        return None
    turn = quaternion_to_rotation_vector(relative_quaternion(found.orientation, estimated.orientation))
    move = estimated.position - found.position
    residual = np.concatenate([move, turn])
    square = float(residual @ np.linalg.solve(covariance + entry.estimate.covariance, residual))
    return NetworkError(
        float(np.linalg.norm(move)),
        float(np.degrees(np.linalg.norm(turn))),
        chi_squared_6_cdf(square) <= _CONFIRMED,
    )


def _verified(entry: RefinedFrame) -> PoseEstimate:
    """Return a verified answer in the form of a network's."""
    refinement = entry.refinement
    if refinement is None or refinement.covariance is None:
        raise ValueError("the frame is not verified")
    return PoseEstimate(refinement.pose, refinement.covariance)
