"""A network's answers, refined by the landmark map of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hyperpose_core.checkpoint.file import Checkpoint
from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.images import RgbImage
from hyperpose_core.inference.estimator import PoseEstimate
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.refinement import Prior, Refinement
from hyperpose_core.landmarks.refiner import Refiner
from hyperpose_core.landmarks.settings import RefinerSettings
from hyperpose_core.refinement.checkpoint_map import camera_of_images, load_map
from hyperpose_core.refinement.prior import prior_of


class MapRefiner:
    """The map of a checkpoint, ready to refine what its network says; threads may share it.

    Attributes:
        map: the landmark map.
    """

    def __init__(
        self,
        content: LandmarkMap,
        checkpoint: Checkpoint,
        camera: CameraModel | None = None,
        settings: RefinerSettings | None = None,
    ) -> None:
        """Prepare a map.

        Args:
            content: the checkpoint's map, as `load_map` gives it.
            checkpoint: what the network was built from.
            camera: of the images, where it is known; else the checkpoint's or the map's of their size.
            settings: how images are localised.

        Raises:
            HyperPoseError: the map is empty or its calibration is damaged.
        """
        self.map = content
        self._cameras = (camera, checkpoint.camera)
        self._scene = checkpoint.scenes[0] if len(checkpoint.scenes) == 1 else None
        self._refiner = Refiner(content, settings)

    @classmethod
    def load(
        cls, path: Path, checkpoint: Checkpoint, camera: CameraModel | None, tell: Callable[[str], object]
    ) -> MapRefiner:
        """Read the map of a checkpoint; for the arguments see `load_map` and the constructor.

        Raises:
            HyperPoseError: the file is missing, damaged or not this checkpoint's map.
        """
        return cls(load_map(path, checkpoint, tell), checkpoint, camera)

    def refine(
        self,
        image: RgbImage,
        estimate: PoseEstimate,
        fallbacks: Sequence[Prior] = (),
        camera: CameraModel | None = None,
    ) -> Refinement:
        """Refine a network's answer to an image, RGB uint8 [H, W, 3], as it was read.

        Args:
            image: the image.
            estimate: what the network says of it.
            fallbacks: further guesses of where it was taken.
            camera: the image's own, where it is known.

        Raises:
            HyperPoseError: no intrinsics are known for images of this size.
        """
        height, width = image.shape[:2]
        camera = camera_of_images(height, width, (camera, *self._cameras), self.map)
        return self._refiner.refine(image, camera, prior_of(estimate, self._scene), fallbacks)
