"""Images in, poses out: the one way that every program runs a trained network.

An exported file is run without PyTorch, which is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint
from hyperpose_core.errors import named
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.images import NOTICEABLE_SQUASH, RgbImage
from hyperpose_core.inference.engines.engine import EXPORTED_SUFFIX, PRECISIONS, Engine, check_choice
from hyperpose_core.large_imports import import_large
from hyperpose_core.uncertainty.feature_distance import Predictions

if TYPE_CHECKING:
    from hyperpose_core.inference.engines.engine import Images
    from hyperpose_core.inference.rotation_averaging import RotatedViews


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """What the network says of one image.

    Attributes:
        pose: the camera's optical frame in the local world frame, or None where the output is not finite.
        covariance: float64 [6, 6], order x, y, z, rot x, rot y, rot z, metres and radians, world frame.
        scene: the scene that the network chose; None for a single-scene network.
        scene_probability: the probability it gave that scene.
        scene_index: the chosen scene's place in the checkpoint's list; 0 for a single-scene network.
        features: float32 [F], the network's summary of the image, by which images that look alike are found;
            None where it gives none.
    """

    pose: Pose | None
    covariance: Array
    scene: str | None = None
    scene_probability: float | None = None
    scene_index: int = 0
    features: npt.NDArray[np.float32] | None = None


class PoseEstimator:
    """A trained network ready to be asked, safe to share between threads.

    Attributes:
        checkpoint: what the network was built from, without its tensors.
        engine: what runs the network.
        device: where it runs.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        rotation_deg: float = 0.0,
        engine: str | Engine = "auto",
        precision: str = "auto",
        threads: int = 0,
    ) -> None:
        """Build the network of a checkpoint on a device.

        Args:
            checkpoint: what to build.
            device: "auto", "cpu", "cuda" or "cuda:N".
            rotation_deg: average the predictions for seven views of each image, virtually rotated by so many
                degrees, which takes seven times as long; 0 uses the image alone.
            engine: how to run the network, one of `engines.ENGINE_NAMES`; or one that does already, whose
                device and precision then hold.
            precision: of its arithmetic, one of `engines.PRECISIONS`; "auto" is float32.
            threads: of the CPU for one inference; 0 takes PyTorch's number.

        Raises:
            HyperPoseError: the device, the engine or the precision is unknown or not to be had here, the
                tensors don't fit the architecture, or the turn is impossible.
        """
        if isinstance(engine, str):
            import_large("hyperpose_core.inference.build_engine")
            from hyperpose_core.inference.build_engine import build_engine, select_device

            size = known_input_size(checkpoint)
            engine = build_engine(engine, checkpoint, select_device(device), precision, size, threads)
        # The engine has them in its own order, which may be 570 MB.
        self.checkpoint = replace(checkpoint, state={})
        self.engine = engine
        self.device = engine.device
        self._views = _turned_views(rotation_deg, checkpoint) if rotation_deg else None

    @classmethod
    def load(
        cls,
        path: Path | str,
        device: str = "auto",
        rotation_deg: float = 0.0,
        engine: str = "auto",
        precision: str = "auto",
        is_tried: bool = False,
        threads: int = 0,
    ) -> PoseEstimator:
        """Build from a checkpoint file, or from one that `hyperpose export` made of it (.onnx).

        The other arguments are the constructor's. An exported file has its engine in it, and no other can be
        asked for; with `is_tried` a process of its own reads it first, so that whatever is in it leaves this
        process as it is. Nothing of it needs PyTorch but turned views.

        Raises:
            HyperPoseError: the file or another argument is wrong; the message names it.
        """
        with named(path):
            if is_exported(Path(path)):
                return cls._load_exported(
                    Path(path), device, rotation_deg, engine, precision, is_tried, threads
                )
            return cls(load_checkpoint(Path(path)), device, rotation_deg, engine, precision, threads)

    @classmethod
    def _load_exported(
        cls,
        path: Path,
        device: str,
        rotation_deg: float,
        engine: str,
        precision: str,
        is_tried: bool,
        threads: int,
    ) -> PoseEstimator:
        # OpenVINO takes a tenth of a second to import, which only this needs.
        from hyperpose_core.export.onnx_engine import load_exported

        check_choice("engine of an exported file", engine, ("auto", "exported"))
        check_choice("precision", precision, PRECISIONS)
        checkpoint, exported = load_exported(path, device, precision, is_tried, threads)
        return cls(checkpoint, rotation_deg=rotation_deg, engine=exported)

    def estimate(self, images: Sequence[RgbImage]) -> list[PoseEstimate]:
        """Estimate the poses of RGB uint8 images [H, W, 3]."""
        return self.infer_each([self.preprocess(image) for image in images])

    def preprocess(self, image: RgbImage) -> Images:
        """Turn one RGB uint8 image [H, W, 3] into the network's input [3, h, w], on the CPU.

        That is a tensor in float32; an array where the engine takes those; uint8, a quarter to copy, where
        the engine normalises it on its device.
        """
        preprocessing = self.checkpoint.preprocessing
        if self.engine.takes_arrays and self._views is None:
            return preprocessing.array(image)
        if self.engine.takes_bytes and self._views is None:
            return preprocessing.cropped(preprocessing.resized(image))
        return preprocessing(image)

    def infer_each(self, inputs: Sequence[Images]) -> list[PoseEstimate]:
        """Run the network on preprocessed inputs [3, h, w]: once on all of them, or once a size."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, entry in enumerate(inputs):
            by_size.setdefault(tuple(entry.shape), []).append(index)
        estimates: dict[int, PoseEstimate] = {}
        for indices in by_size.values():
            batch = _stacked([inputs[index] for index in indices])
            estimates.update(zip(indices, self.infer(batch), strict=True))
        return [estimates[index] for index in range(len(inputs))]

    def infer(self, inputs: Images) -> list[PoseEstimate]:
        """Run the network on preprocessed inputs [N, 3, h, w] and read its outputs as poses."""
        predictions, probabilities = self.predict(inputs)
        covariances = self.checkpoint.uncertainty.covariances(predictions)
        return [
            self._estimate(
                predictions,
                index,
                covariances[index],
                None if probabilities is None else probabilities[index],
            )
            for index in range(len(covariances))
        ]

    def predict(self, inputs: Images) -> tuple[Predictions, Array | None]:
        """Run the network on preprocessed inputs [N, 3, h, w].

        Returns:
            its predictions, which may hold non-finite values, and the probabilities of the scenes
            [N, S]; None for a single-scene network.
        """
        if self._views is not None:
            inputs = self._views.views(inputs)
        output = self.engine(inputs)
        positions, orientations = output.position.astype(np.float64), output.orientation.astype(np.float64)
        logarithms, features = output.scene_log_probabilities, output.features
        scenes = None if logarithms is None else np.exp(logarithms.astype(np.float64))
        features = np.empty((len(positions), 0), np.float32) if features is None else features
        chosen = np.zeros(len(positions), dtype=np.int64) if scenes is None else scenes.argmax(axis=1)
        positions = self.checkpoint.normalisation.denormalize(positions, chosen)
        if self.checkpoint.orientation_convention == "world_to_camera":
            orientations = orientations * np.array([1.0, -1.0, -1.0, -1.0])
        if self._views is not None:
            positions, orientations = self._views.average(positions, orientations, chosen)
            scenes = None if scenes is None else self._views.of_images(scenes)
            chosen, features = self._views.of_images(chosen), self._views.of_images(features)
        with np.errstate(invalid="ignore", divide="ignore"):
            orientations = orientations / np.linalg.norm(orientations, axis=1, keepdims=True)
        return Predictions(features, positions, orientations, chosen), scenes

    def squash_note(self, height: int, width: int) -> str:
        """Say where images of a size are bent to the proportions of others, that were trained on; else ""."""
        trained = _trained_size(self.checkpoint)
        if trained is None or isinstance(self.checkpoint.preprocessing.resize, int):
            return ""
        ratio = (width * trained[0]) / (height * trained[1])
        if max(ratio, 1 / ratio) <= NOTICEABLE_SQUASH:
            return ""
        return (
            f"images of {width}x{height} pixels are squashed: the network was trained on "
            f"{trained[1]}x{trained[0]}, poses are off; crop them to these proportions, or turn them if they "
            "are on their side"
        )

    def warm_up(self, height: int, width: int, images: int = 1) -> None:
        """Run on black images of the given size, so that the first real ones are not slower.

        Args:
            height: pixels.
            width: pixels.
            images: how many will be asked about together at most; each number of them is tried, since a
                graph, or a compiled kernel, is for one number alone.
        """
        for count in range(1, images + 1):
            self.estimate([np.zeros((height, width, 3), dtype=np.uint8)] * count)

    def _estimate(
        self, predictions: Predictions, index: int, covariance: Array, probabilities: Array | None
    ) -> PoseEstimate:
        try:
            pose = Pose(predictions.positions[index], predictions.orientations[index])
        except ValueError:
            pose = None
        features = predictions.features[index] if predictions.features.shape[1] else None
        if probabilities is None:
            return PoseEstimate(pose, covariance, features=features)
        chosen = int(np.argmax(probabilities))
        scene, probability = self.checkpoint.scenes[chosen], float(probabilities[chosen])
        return PoseEstimate(pose, covariance, scene, probability, chosen, features)


def _trained_size(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Return (height, width) of the images that the network was trained on, where the checkpoint tells it."""
    if checkpoint.camera is not None:
        return checkpoint.camera.height, checkpoint.camera.width
    size = checkpoint.training.get("image_size")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(type(side) is int and side > 0 for side in size)
    ):
        return None
    return size[0], size[1]


def import_what_runs(path: Path) -> None:
    """Import what runs the network of a file: PyTorch, which takes seconds, or OpenVINO.

    Raises:
        HyperPoseError: it is not installed.
    """
    if is_exported(path):
        import_large("hyperpose_core.export.onnx_engine")
    else:
        import_large("hyperpose_core.inference.build_engine")


def is_exported(path: Path) -> bool:
    """Tell whether a file is one of `hyperpose export`, by its name."""
    return path.suffix.lower() == EXPORTED_SUFFIX


def _turned_views(rotation_deg: float, checkpoint: Checkpoint) -> RotatedViews:
    import_large("hyperpose_core.inference.rotation_averaging")
    from hyperpose_core.inference.rotation_averaging import RotatedViews

    return RotatedViews(rotation_deg, checkpoint.camera, checkpoint.preprocessing)


def _stacked(inputs: Sequence[Images]) -> Images:
    """Put inputs of one size, all arrays or all tensors, together."""
    if isinstance(inputs[0], np.ndarray):
        return np.stack(inputs)  # type: ignore[arg-type]
    import torch

    return torch.stack(inputs)  # type: ignore[arg-type]


def known_input_size(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Give (height, width) of the network's input where the checkpoint tells it."""
    preprocessing, camera = checkpoint.preprocessing, checkpoint.camera
    if camera is not None:
        return preprocessing.input_size(camera.height, camera.width)
    if preprocessing.crop is not None:
        return preprocessing.crop, preprocessing.crop
    return None if isinstance(preprocessing.resize, int) else preprocessing.resize
