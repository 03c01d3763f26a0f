"""Images as the network knows them: rectified by their sensor_msgs/CameraInfo, in a field of view that fits.

A network learns a camera's lens together with its world. Images of a lens that bends lines are rectified
before they are looked at, unless the training images were bent, too: rectified ones would be strange to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry.calibration import (
    KNOWN_MODELS,
    Calibration,
    is_same_lens,
    names_rectified_images,
    read_calibration,
    rectification_maps,
)
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import RgbImage
from hyperpose_ros.common.conversions import BadImageError
from hyperpose_ros.common.throttled_warnings import ThrottledWarnings
from hyperpose_ros.images.cameras import Camera

DROPPED_NO_CAMERA_INFO = "no_camera_info"
DROPPED_UNUSABLE_CAMERA_INFO = "unusable_camera_info"
REFUSED_CAMERA_INFO_SIZE = "camera_info_size"


class CameraCalibrations:
    """Listens to each camera's CameraInfo and makes its images what the network was trained on.

    `camera_info` is looked for in the namespace of the images, as image_transport does, unless it is
    remapped. The latest one counts. Until one has come, images are dropped: poses of bent images would be
    silently wrong.
    """

    def __init__(
        self,
        node: Node,
        cameras: Sequence[Camera],
        margin_deg: Callable[[], float],
        warnings: ThrottledWarnings,
    ) -> None:
        """Prepare, without subscribing yet.

        Args:
            node: the node that subscribes.
            cameras: the cameras, whose places in this list stand for them.
            margin_deg: by how many degrees the field of view may differ from training, now.
            warnings: where it is told what does not fit.
        """
        self._node = node
        self._lenses = [_Lens(*_topics(node, camera), margin_deg, warnings) for camera in cameras]
        self._subscriptions: list[Subscription] = []

    def activate(self) -> None:
        """Subscribe."""
        # Served by any publisher, and so small that none is lost.
        quality = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        self._subscriptions = [
            self._node.create_subscription(CameraInfo, lens.info_topic, lens.take, quality)
            for lens in self._lenses
        ]

    def deactivate(self) -> None:
        """Unsubscribe; what is known of the cameras stays."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def problem(self, camera: int) -> tuple[str, str] | None:
        """Return why a camera's images cannot be used, as one word and a sentence; None where they can."""
        return self._lenses[camera].problem()

    def problems(self) -> tuple[str, ...]:
        """Say of each camera whose images cannot be used why; nothing while nobody is subscribed."""
        found = (lens.problem() for lens in self._lenses) if self._subscriptions else ()
        return tuple(problem[1] for problem in found if problem is not None)

    def rectify(self, camera: int, image: RgbImage, checkpoint: Checkpoint) -> RgbImage:
        """Return a camera's RGB image [H, W, 3] as a checkpoint's network knows images.

        Raises:
            BadImageError: the image's size is not the CameraInfo's.
        """
        return self._lenses[camera].rectify(image, checkpoint)

    def rectified_camera(self, camera: int) -> CameraModel | None:
        """Return the intrinsics of the image that `rectify` returned last; None for an unknown lens."""
        return self._lenses[camera].rectified


class _Lens:
    """One camera's calibration, taken in the executor's thread and used in the worker's."""

    def __init__(
        self,
        image_topic: str,
        info_topic: str,
        margin_deg: Callable[[], float],
        warnings: ThrottledWarnings,
    ) -> None:
        self.info_topic = info_topic
        self._image_topic = image_topic
        self._margin_deg = margin_deg
        self._warnings = warnings
        self._calibration: Calibration | None = None
        self._fault = ""
        self._prepared_for: tuple[Calibration, Checkpoint] | None = None
        self._maps: tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]] | None = None
        self.rectified: CameraModel | None = None

    def take(self, info: CameraInfo) -> None:
        try:
            calibration = read_calibration(info)
        except HyperPoseError as error:
            self._fault = f"{self.info_topic}: {error}; calibrate the camera or set use_camera_info to false"
            return
        self._fault = ""
        # The same object while nothing changes: comparing by identity is all that an image costs.
        if calibration != self._calibration:
            self._calibration = calibration

    def problem(self) -> tuple[str, str] | None:
        if self._fault:
            return DROPPED_UNUSABLE_CAMERA_INFO, self._fault
        if self._calibration is None:
            return (
                DROPPED_NO_CAMERA_INFO,
                f"no camera_info on {self.info_topic} yet, images are dropped: publish it, remap camera_info "
                "to where it is, or set use_camera_info to false",
            )
        return None

    def rectify(self, image: RgbImage, checkpoint: Checkpoint) -> RgbImage:
        calibration = self._calibration
        if calibration is None:
            return image
        height, width = calibration.camera.height, calibration.camera.width
        if image.shape[:2] != (height, width):
            raise BadImageError(
                REFUSED_CAMERA_INFO_SIZE,
                f"the image is {image.shape[1]}x{image.shape[0]}, {self.info_topic} is for {width}x{height}: "
                "what resizes images must adapt camera_info, too",
            )
        known = self._prepared_for
        if known is None or known[0] is not calibration or known[1] is not checkpoint:
            self._prepare(calibration, checkpoint)
            self._prepared_for = (calibration, checkpoint)
        if self._maps is None:
            return image
        return np.asarray(cv2.remap(image, *self._maps, cv2.INTER_LINEAR), dtype=np.uint8)

    def _prepare(self, calibration: Calibration, checkpoint: Checkpoint) -> None:
        """Decide what is done to the images, and say what does not fit."""
        is_rectified = names_rectified_images(self._image_topic)
        trained = checkpoint.camera
        self._maps, self.rectified = None, None
        if not is_rectified and not calibration.is_known:
            self._warnings.warn(
                "distortion_model",
                f"{self.info_topic}: the distortion model {calibration.camera.distortion_model!r} is not "
                f"known ({', '.join(KNOWN_MODELS)} are): images are used as they are; rectify them before",
            )
            return
        if trained is not None and trained.distortion:
            if is_rectified or not is_same_lens(calibration, trained):
                self._warnings.warn(
                    "other_lens",
                    f"{self._image_topic}: the network was trained on images with the distortion "
                    f"{list(trained.distortion)} of another lens: these are used as they are, poses are off",
                )
            camera = calibration.camera
        elif calibration.camera.distortion and not is_rectified:
            self._maps = rectification_maps(calibration)
            camera = calibration.rectified
        else:
            camera = calibration.rectified if is_rectified else calibration.camera
        self.rectified = camera
        self._compare_views(camera, checkpoint)

    def _compare_views(self, camera: CameraModel, checkpoint: Checkpoint) -> None:
        trained, preprocessing = checkpoint.camera, checkpoint.preprocessing
        if trained is None:
            return
        ours = preprocessing.input_camera(camera).field_of_view_deg()
        theirs = preprocessing.input_camera(trained).field_of_view_deg()
        margin = self._margin_deg()
        if any(abs(our - their) > margin for our, their in zip(ours, theirs, strict=True)):
            self._warnings.warn(
                f"field_of_view {self._image_topic}",
                f"{self._image_topic}: the network sees {ours[0]:.1f}x{ours[1]:.1f} degrees of these images "
                f"(horizontal x vertical) and saw {theirs[0]:.1f}x{theirs[1]:.1f} in training, more than "
                f"field_of_view_margin_deg ({margin:g}) apart: poses are off",
            )


def _topics(node: Node, camera: Camera) -> tuple[str, str]:
    """Return the full names of a camera's image and camera_info topics."""
    image = node.resolve_topic_name(camera.topic)
    info = node.resolve_topic_name(camera.info_topic)
    if info == node.resolve_topic_name(camera.info_topic, only_expand=True):
        info = node.resolve_topic_name(f"{image.rpartition('/')[0]}/camera_info")
    return image, info
